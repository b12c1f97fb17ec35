package sampler

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"cps/noise"
	"cps/schedule"
)

// A Convention is what a model predicts, and how it counts time.
type Convention struct {
	Prediction Prediction
	Clock      Clock
}

// String returns a Convention as its fields are written in a [Config].
func (c Convention) String() string {
	s := fmt.Sprintf("%v with Clock{Scale: %v", c.Prediction, c.Clock.scale())
	if c.Clock.Reversed {
		s += ", Reversed: true"
	}
	if c.Clock.Rounding != NoRounding {
		s += fmt.Sprintf(", Rounding: %v", c.Clock.Rounding)
	}
	return s + "}"
}

// A ConventionLoss is the loss of a model, if it follows the convention: the mean square
// of an element of the velocity that its output then means, less x1 - x0.
type ConventionLoss struct {
	Convention
	Loss   float64
	More   float64 // than the configured convention's loss, mean over samples
	StdErr float64 // of More: losses are compared sample by sample
}

// minFit is the number of samples that standard errors are taken of at least.
const minFit = 16

// manyErrors is the number of standard errors that decides.
const manyErrors = 5

// scaleStep is the factor by which data are too wide or too narrow for a model.
const scaleStep = 1.5

// CheckModel compares a model with what c says of it, on clean samples of its training
// data: rows of b in the buffer clean, in the units in which the model samples, such as
// latents times the factor of their autoencoder. A trainer calls it once at start-up with
// some 64 samples or more. It finds what every other check passes, for a wrong convention
// samples and trains without complaint:
//
//   - A Prediction or Clock that is another (ErrConvention): the error names the one that
//     fits. The others are all predictions, with the clock reversed or not, and with Scale
//     as it is or a thousand times larger (smaller, from 1000 on). Conventions that a model
//     does not mind, to a thousandth of every sample's loss, count as one. [FindInputs] tells
//     whether it reads its time at all.
//   - Data more than 1.5 times too wide or too narrow for the model (ErrScale), as
//     without the factor of the autoencoder. What says so is that a
//     model's x̂0 is the mean of x0, given the latent: ⟨x0, x̂0⟩ = ‖x̂0‖², and more, or
//     less, if data are wider, or narrower, than the model knows them.
//   - That the data do not tell (ErrUndecided), and why: too few samples, or a model that
//     fits no convention better than a multiple of the latent does, as an untrained one.
//
// The model is asked about Signal·x0 + Noise·ε at up to eight points of the schedule with
// a time away from ½, and a signal and a noise of .1 at least. ε is drawn under a key
// derived from b.Key, not under b.Key itself. "Another" and "too wide" mean: by five
// standard errors over the samples, which are 16 at least (ErrConfig). A model may refuse
// another clock's times by an error, but should not panic there; times up to 1000 occur.
// Rows of the calls are those of b, so conditions are found as in a rollout; a model with
// guidance is no mean of x0, and must be checked without.
//
// The losses returned are in ascending order, all that are finite. They are there beside
// ErrConvention, ErrScale and ErrUndecided. Other errors are those of [New], of the model
// and of the memory; an output that is not finite is a [NonFiniteError].
func CheckModel[B any](ctx context.Context, m Memory[B], c Config, b Batch, clean B, model Model[B]) ([]ConventionLoss, error) {
	f, err := newFit(m, c, b, clean, model)
	if err != nil {
		return nil, err
	}
	losses, err := f.check(ctx)
	for i := range f.buffers {
		if e := m.Free(f.buffers[i]); e != nil && err == nil {
			err = fmt.Errorf("sampler: memory for CheckModel: %w", e)
		}
	}
	return losses, err
}

// A fit is a model beside data.
type fit[B any] struct {
	m       Memory[B]
	b       Batch
	units   []Window // rows of samples
	clean   B
	model   Model[B]
	own     Convention
	points  []fitPoint
	wide    []fitPoint        // for the scale
	buffers []B               // latents, output, and what is compared with it
	samples []uint64          // of the rows
	outputs map[Clock]float64 // sums of squares of outputs, by the clock that was told
	latent  float64           // and of the latents that they are for
	rows    []int
	times   []float64
}

type fitPoint struct {
	schedule.Point
	step int
}

func newFit[B any](m Memory[B], c Config, b Batch, clean B, model Model[B]) (*fit[B], error) {
	if _, err := New(c); err != nil {
		return nil, err
	}
	switch {
	case m == nil:
		return nil, fail(ErrConfig, "sampler: the memory is nil")
	case model == nil:
		return nil, fail(ErrConfig, "sampler: the model is nil")
	}
	n := length(clean)
	if n >= 0 && n != b.Len() {
		return nil, fail(ErrConfig, "sampler: the clean samples have %d elements, for %d rows of %d", n, len(b.Rows), b.Dim)
	}
	f := &fit[B]{m: m, b: b.WithAffine(Affine{}), units: spansOf(b), clean: clean, model: model, own: Convention{c.Prediction, c.Clock}}
	if len(f.units) < minFit {
		return nil, fail(ErrConfig, "sampler: CheckModel takes %d samples at least, here are %d", minFit, len(f.units))
	}
	points, err := c.points()
	if err != nil {
		return nil, fmt.Errorf("sampler: %w", err)
	}
	const slack = 1e-9
	for i, p := range points {
		at := fitPoint{p, i}
		if p.Signal < .1-slack || p.Noise < .1-slack {
			continue
		}
		if p.Noise >= p.Signal-slack {
			f.wide = append(f.wide, at)
		}
		if math.Abs(p.Time-.5) >= .1-slack {
			f.points = append(f.points, at)
		}
	}
	f.points, f.wide = spread(f.points, 8), spread(f.wide, 4)
	if len(f.points) == 0 {
		return nil, fail(ErrConfig, "sampler: no point of the Scheduler has signal and noise of .1 and a time .1 from ½, so CheckModel cannot tell conventions apart: give it a schedule of more steps")
	}
	f.b.Key = b.Key.Derive(0xc4ec)
	for u, w := range f.units {
		for i := w.Start; i < w.End; i++ {
			f.samples = append(f.samples, f.b.Rows[i].Sample)
			f.b.Rows[i].ID = noise.ID{Sample: uint64(u)}
			f.rows = append(f.rows, i)
		}
	}
	for range 3 {
		buffer, err := m.Like(clean, b.Len())
		if err != nil {
			for _, have := range f.buffers {
				m.Free(have) // the first failure is reported
			}
			return nil, fmt.Errorf("sampler: memory for CheckModel: %w", err)
		}
		f.buffers = append(f.buffers, buffer)
	}
	return f, nil
}

// spread returns at most n of p, evenly from the first to the last.
func spread(p []fitPoint, n int) []fitPoint {
	if len(p) <= n {
		return p
	}
	some := make([]fitPoint, n)
	for i := range some {
		some[i] = p[i*(len(p)-1)/(n-1)]
	}
	return some
}

// with returns the batch of f in which all rows take a, and draw the noise of a step.
func (f *fit[B]) with(a Affine, step int) Batch {
	for i := range f.b.Rows {
		f.b.Rows[i].Affine, f.b.Rows[i].Step = a, uint32(step)
	}
	return f.b
}

// squares returns ‖next - X·x - V·v‖² of every row, once the device is in sync.
func (f *fit[B]) squares(next, x, v B, a Affine) []float64 {
	sq := make([]float64, len(f.b.Rows))
	f.m.SumSquares(sq, next, x, v, f.with(a, 0))
	return sq
}

func (f *fit[B]) ask(ctx context.Context, p fitPoint, clock Clock) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sampler: CheckModel stopped: %w", err)
	}
	f.times = f.times[:0]
	for range f.rows {
		f.times = append(f.times, clock.At(p.Time))
	}
	return f.model(ctx, Call[B]{Dim: f.b.Dim, V: f.buffers[1], X: f.buffers[0], Rows: f.rows, Times: f.times})
}

// asked is ask for the configured clock.
func (f *fit[B]) asked(ctx context.Context, p fitPoint) error {
	err := f.ask(ctx, p, f.own.Clock)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("sampler: model at step %d (time %v): %w", p.step, f.times[0], err)
	}
	return err
}

// conventions returns those that are compared, the configured one first.
func (c Convention) conventions() []Convention {
	all := []Convention{c}
	other := c.Clock.scale() * 1000
	if c.Clock.scale() >= 1000 {
		other = c.Clock.scale() / 1000
	}
	for _, scale := range []float64{c.Clock.Scale, other} {
		for _, reversed := range []bool{c.Clock.Reversed, !c.Clock.Reversed} {
			clock := Clock{Scale: scale, Reversed: reversed, Rounding: c.Clock.Rounding}
			if clock.check() != nil {
				clock.Rounding = NoRounding
			}
			for p := range PredictReversedVelocity + 1 {
				if x := (Convention{p, clock}); x != c {
					all = append(all, x)
				}
			}
		}
	}
	return all
}

// scale returns Scale, or what its zero value means.
func (c Clock) scale() float64 {
	if c.Scale == 0 {
		return 1
	}
	return c.Scale
}

// A judged is a loss with what it is the mean of.
type judged struct {
	ConventionLoss
	each []float64 // one a sample
	weak bool      // the output is hardly more than 0, which several conventions can mean
}

func (f *fit[B]) check(ctx context.Context) ([]ConventionLoss, error) {
	all, linear, err := f.compare(ctx, 1, f.own.conventions())
	if err != nil {
		return nil, err
	}
	own := all[0]
	slices.SortStableFunc(all, func(a, b judged) int { return cmp.Compare(a.Loss, b.Loss) })
	losses := make([]ConventionLoss, len(all))
	for k, a := range all {
		losses[k] = a.ConventionLoss
	}
	base, _ := meanErr(linear)
	var best *judged
	for k, a := range all {
		// At times a thousand times off an output can be next to nothing, and then no worse than
		// a multiple of the latent: it must be better.
		fits := !above(a.each, linear) && (a.Clock.scale() == own.Clock.scale() || above(linear, a.each))
		if fits && !a.weak && a.More < -manyErrors*a.StdErr {
			best = &all[k]
			break
		}
	}
	if own.weak {
		if best != nil { // it has an output at other times
			return losses, f.another(own, *best)
		}
		return losses, fail(ErrUndecided, "sampler: the data do not tell whether the model is as configured (%v): its output is hardly more than 0, which several conventions can mean: is it trained?", own.Convention)
	}
	factor, unsure, err := f.scale(ctx)
	if err != nil {
		return losses, err
	}
	if factor != 1 {
		// Data of another scale, too, let other conventions look better: what explains more
		// of the data decides.
		least := own.Loss
		if best != nil {
			least = best.Loss
		}
		loss, fits, err := f.otherScale(ctx, factor)
		switch {
		case err != nil:
			return losses, err
		case !fits || loss >= own.Loss/base:
			unsure = fmt.Sprintf("the model is calibrated for data times %.2g, but fits them no better", factor)
		case loss < least/base:
			by, is := factor, "narrow"
			if factor < 1 {
				by, is = 1/factor, "wide"
			}
			return losses, fail(ErrScale, "sampler: the clean samples are about %.2g times as %s as the data that the model knows: is a factor missing, as that of the autoencoder?", by, is)
		}
	}
	if best != nil {
		return losses, f.another(own, *best)
	}
	var why []string
	if above(own.each, linear) {
		why = append(why, fmt.Sprintf("no convention fits: the loss, %.4g, is above that of a multiple of the latent, %.4g", own.Loss, base))
	}
	for _, a := range all {
		// Times a thousand times off are no near miss.
		if a.Clock.scale() == own.Clock.scale() && a.More <= manyErrors*a.StdErr && !alike(a.each, own.each) {
			why = append(why, fmt.Sprintf("with %v the loss is %.4g, more by %.2g ± %.1g, which calls for more samples", a.Convention, a.Loss, a.More, a.StdErr))
			break
		}
	}
	if unsure != "" {
		why = append(why, unsure)
	}
	if why != nil {
		return losses, fail(ErrUndecided, "sampler: the data do not tell whether the model is as configured (%v): %s", own.Convention, strings.Join(why, "; "))
	}
	return losses, nil
}

// another is the error about a convention that fits better than the configured one.
func (f *fit[B]) another(own, best judged) error {
	return fail(ErrConvention, "sampler: the model is not of the configured convention, %v, whose loss is %.4g: with %v it is %.4g, less by %.2g ± %.1g",
		own.Convention, own.Loss, best.Convention, best.Loss, -best.More, best.StdErr)
}

// compare returns the losses of conventions on the data times a factor, those that are
// finite, and by sample the loss of the best multiple of the latent.
func (f *fit[B]) compare(ctx context.Context, factor float64, conventions []Convention) (all []judged, linear []float64, err error) {
	losses := make([][]float64, len(conventions)) // nil: the model refuses the clock
	for k := range losses {
		losses[k] = make([]float64, len(f.units))
	}
	linear = make([]float64, len(f.units))
	f.outputs, f.latent = map[Clock]float64{}, 0
	for _, p := range f.points {
		if err := f.losses(ctx, p, factor, conventions, losses, linear); err != nil {
			return nil, nil, err
		}
	}
	for k, each := range losses {
		if each == nil {
			continue
		}
		mean, _ := meanErr(each)
		more, e := meanErr(differ(each, losses[0]))
		if finite(mean, more, e) {
			all = append(all, judged{ConventionLoss{conventions[k], mean, more, e}, each, f.outputs[conventions[k].Clock] < 0.01*f.latent})
		}
	}
	return all, linear, nil
}

// above reports whether a loss is above another.
func above(loss, other []float64) bool {
	more, e := meanErr(differ(loss, other))
	return more > manyErrors*e
}

// alike reports whether two losses are the same for every sample, to a thousandth: the
// model minds neither convention, and both fit.
func alike(a, b []float64) bool {
	for i := range a {
		if math.Abs(a[i]-b[i]) > 1e-3*b[i] {
			return false
		}
	}
	return true
}

// otherScale returns the model's loss on the data times a factor, in units of that of a
// multiple of the latent, and whether it is not above that.
func (f *fit[B]) otherScale(ctx context.Context, factor float64) (loss float64, fits bool, err error) {
	all, linear, err := f.compare(ctx, factor, []Convention{f.own})
	if err != nil {
		return 0, false, err
	}
	base, _ := meanErr(linear)
	return all[0].Loss / base, !above(all[0].each, linear), nil
}

// losses adds to every entry of losses, per sample, the loss at a point of the data times
// a factor, and to linear that of the best multiple of the latent.
func (f *fit[B]) losses(ctx context.Context, p fitPoint, factor float64, all []Convention, losses [][]float64, linear []float64) error {
	var none B
	x, v, target := f.buffers[0], f.buffers[1], f.buffers[2]
	f.m.Step(target, none, none, f.with(Affine{Eps: 1}, p.step), nil)
	f.m.Step(x, f.clean, target, f.with(Affine{X: factor * p.Signal, V: p.Noise}, p.step), nil)
	f.m.Step(target, f.clean, target, f.with(Affine{X: -factor, V: 1}, p.step), nil) // x1 - x0
	tt := f.squares(target, none, none, Affine{})
	xx := f.squares(x, none, none, Affine{})
	tx := f.squares(target, x, none, Affine{X: 1})
	vv := map[Clock][]float64{}
	squares := make([][]float64, len(all))
	var clock Clock
	var refused error
	for k, c := range all {
		switch {
		case k == 0: // the first ones have the configured clock
			if err := f.asked(ctx, p); err != nil {
				return err
			}
			vv[c.Clock] = f.squares(v, none, none, Affine{})
		case c.Clock != clock:
			if refused = f.ask(ctx, p, c.Clock); ctx.Err() != nil {
				return fmt.Errorf("sampler: CheckModel stopped: %w", ctx.Err())
			}
			if refused == nil {
				vv[c.Clock] = f.squares(v, none, none, Affine{})
			}
		}
		clock = c.Clock
		if refused == nil && losses[k] != nil {
			squares[k] = f.squares(target, x, v, Coeffs{X0: -1, X1: 1}.Affine(c.Prediction, p.Point))
		}
	}
	if err := f.m.Sync(); err != nil {
		return fmt.Errorf("sampler: device: %w", err)
	}
	if err := f.finite(p, squares[0]); err != nil {
		return err
	}
	for k, sq := range squares {
		if sq == nil {
			losses[k] = nil
			continue
		}
		f.add(losses[k], sq, len(f.points))
	}
	var txSum, xxSum float64
	for clock, sq := range vv {
		for _, x := range sq {
			f.outputs[clock] += x
		}
	}
	for row := range xx {
		f.latent += xx[row]
		txSum += (tt[row] + xx[row] - tx[row]) / 2
		xxSum += xx[row]
	}
	best := txSum / xxSum
	for row := range tt {
		tt[row] += best * (best*xx[row] - (tt[row] + xx[row] - tx[row]))
	}
	f.add(linear, tt, len(f.points))
	return nil
}

// finite returns the error about the first of sq that is not.
func (f *fit[B]) finite(p fitPoint, sq []float64) error {
	for row, sq := range sq {
		if !finite(sq) {
			return &NonFiniteError{Step: p.step, Row: row, Sample: f.samples[row]}
		}
	}
	return nil
}

// add adds to the entry of every sample its mean over elements, and over that many points.
func (f *fit[B]) add(to, sq []float64, points int) {
	for u, w := range f.units {
		for _, x := range sq[w.Start:w.End] {
			to[u] += x / float64((w.End-w.Start)*f.b.Dim*points)
		}
	}
}

// scale returns 1 if the data are as wide as the model knows them, and otherwise what they
// must be multiplied by, or why they do not tell.
func (f *fit[B]) scale(ctx context.Context) (factor float64, unsure string, err error) {
	if len(f.wide) == 0 {
		return 1, "no point has as much noise as signal, which would tell the scale of the data", nil
	}
	low, lowErr, err := f.calibration(ctx, 1/scaleStep)
	if err != nil {
		return 0, "", err
	}
	high, highErr, err := f.calibration(ctx, scaleStep)
	switch {
	case err != nil:
		return 0, "", err
	case low > manyErrors*lowErr:
		factor, err = f.factor(ctx, 1/scaleStep)
		return factor, "", err
	case high < -manyErrors*highErr:
		factor, err = f.factor(ctx, scaleStep)
		return factor, "", err
	case low < -manyErrors*lowErr && high > manyErrors*highErr:
		return 1, "", nil
	}
	return 1, "the model does not tell data from data 1.5 times as wide or narrow, which calls for more samples", nil
}

// factor returns what the data must be multiplied by for the model to be calibrated,
// beyond a first factor at which it is not: to a tenth, and within 1.5⁹.
func (f *fit[B]) factor(ctx context.Context, first float64) (float64, error) {
	sign := math.Copysign(1, 1-first) // of what is to be crossed
	near, far := first, first
	for range 8 {
		far = near * first
		c, _, err := f.calibration(ctx, far)
		if err != nil {
			return 0, err
		}
		if !(c*sign > 0) {
			break
		}
		near = far
	}
	for range 2 {
		mid := math.Sqrt(near * far)
		c, _, err := f.calibration(ctx, mid)
		if err != nil {
			return 0, err
		}
		if c*sign > 0 {
			near = mid
		} else {
			far = mid
		}
	}
	return math.Sqrt(near * far), nil
}

// calibration returns ⟨x0, x̂0⟩ - ‖x̂0‖² of an element, mean over samples, and its
// standard error, for the data times a factor.
func (f *fit[B]) calibration(ctx context.Context, factor float64) (mean, stdErr float64, err error) {
	var none B
	x, v, target := f.buffers[0], f.buffers[1], f.buffers[2]
	each := make([]float64, len(f.units))
	for _, p := range f.wide {
		f.m.Step(target, none, none, f.with(Affine{Eps: 1}, p.step), nil)
		f.m.Step(x, f.clean, target, f.with(Affine{X: factor * p.Signal, V: p.Noise}, p.step), nil)
		f.m.Step(target, f.clean, none, f.with(Affine{X: factor}, p.step), nil)
		if err := f.asked(ctx, p); err != nil {
			return 0, 0, err
		}
		f.m.Step(v, x, v, f.with(Coeffs{X0: 1}.Affine(f.own.Prediction, p.Point), p.step), nil) // x̂0
		data := f.squares(target, none, none, Affine{})
		predicted := f.squares(v, none, none, Affine{})
		apart := f.squares(target, none, v, Affine{V: 1})
		if err := f.m.Sync(); err != nil {
			return 0, 0, fmt.Errorf("sampler: device: %w", err)
		}
		for row := range data {
			data[row] = (data[row] - predicted[row] - apart[row]) / 2
		}
		if err := f.finite(p, data); err != nil {
			return 0, 0, err
		}
		f.add(each, data, len(f.wide))
	}
	mean, stdErr = meanErr(each)
	return mean, stdErr, nil
}

// differ returns a - b.
func differ(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}

// meanErr returns the mean of x and its standard error.
func meanErr(x []float64) (mean, stdErr float64) {
	n := float64(len(x))
	for _, x := range x {
		mean += x / n
	}
	for _, x := range x {
		stdErr += (x - mean) * (x - mean) / (n * (n - 1))
	}
	return mean, math.Sqrt(stdErr)
}
