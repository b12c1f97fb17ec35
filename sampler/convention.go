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

// String returns c as its fields are written in a [Config].
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

// A ConventionLoss is the loss of a model that follows the convention: the mean square of
// an element of v̂ - (x1 - x0). Here v̂ is the velocity that the model's output means
// under the convention.
type ConventionLoss struct {
	Convention
	Loss   float64
	More   float64 // Loss minus that of the configured convention, mean over samples
	StdErr float64 // standard error of More, from the differences sample by sample
}

// minFit is the smallest number of samples for standard errors.
const minFit = 16

// manyErrors is how many standard errors a difference must exceed to decide.
const manyErrors = 5

// CheckModel compares a model with the Prediction and Clock of c, on clean samples of its
// training data. A trainer calls it once at start-up with 64 samples or more. A model with a
// wrong convention samples and trains without any error, and passes every other check.
//
// The rows of b in the buffer clean are the samples. Their units are those in which the
// model samples, such as latents times the factor of their autoencoder. CheckModel finds:
//
//   - Another convention fits (ErrConvention). The error names it. CheckModel tries all
//     predictions, the clock reversed or not, and Scale as it is or 1000 times larger (1000
//     times smaller, from 1000 on). Conventions whose losses agree to a thousandth for every
//     sample count as one. [FindInputs] tells whether the model reads its time at all.
//   - The data are more than 1.5 times too wide or too narrow for the model, or shifted by
//     more than .03 of their standard deviation (ErrScale). The error gives both. The
//     autoencoder's factor or shift may be missing, or the range may be [0, 1] for [-1, 1].
//     The x̂0 of a good model is the mean of x0, given the latent, so ⟨x0, x̂0⟩ = ‖x̂0‖². The
//     left side is larger for data wider than the model knows, and smaller for narrower
//     data. Also, the mean of x0 - x̂0 over samples and elements is 0. A shift that differs
//     by channel is seen by its mean over the channels alone.
//   - The data do not tell (ErrUndecided). The error says why: there are too few samples, or
//     no convention fits better than a constant times the latent does. An untrained model is
//     like that.
//
// Where one of these fails, the error also says whether the output ignores the time. A good
// model without a time passes.
//
// CheckModel asks the model about Signal·x0 + Noise·ε at up to eight points of the
// schedule. Signal and Noise are at least .1 there, and the time is at least .1 from ½, since
// near ½ a reversed clock is nearly the same. ε comes from a key derived from b.Key, so a
// rollout under b.Key does not draw it. Every sample draws noise of its own, also where b
// repeats a sample number; the clean samples should differ. A difference counts if it exceeds
// five standard errors over the samples. There must be at least 16 (ErrConfig).
//
// A model may refuse the times of another clock with an error, but should not panic. Times go
// up to 1000. The calls have the rows of b, so the model finds conditions as in a rollout.
// Check a model without guidance: a guided x̂0 is no mean of x0. Some 50 calls show that a
// model fits, and up to 300 find what is wrong with its data.
//
// CheckModel returns the finite losses in ascending order, also beside ErrConvention,
// ErrScale and ErrUndecided. Other errors are those of [New], of the model and of the
// memory. An output that is not finite is a [NonFiniteError].
func CheckModel[B any](ctx context.Context, m Memory[B], c Config, b Batch, clean B, model Model[B]) ([]ConventionLoss, error) {
	f, err := newFit(m, c, b, clean, model)
	if err != nil {
		return nil, err
	}
	losses, err := f.check(ctx)
	err = f.hint(ctx, err)
	for i := range f.buffers {
		if e := m.Free(f.buffers[i]); e != nil && err == nil {
			err = fmt.Errorf("sampler: memory for CheckModel: %w", e)
		}
	}
	return losses, err
}

// A fit holds a model, its data, and the memory to compare them.
type fit[B any] struct {
	m       Memory[B]
	b       Batch
	units   []Window // the rows of each sample
	clean   B
	model   Model[B]
	own     Convention
	points  []fitPoint
	wide    []fitPoint        // for the check of the scale
	ends    [2]fitPoint       // where a run asks the model first and last
	buffers []B               // latents, output, target of the comparison, ones, shifted samples
	shift   float64           // of the shifted samples
	mean    float64           // of the elements of the clean samples
	spread  float64           // their standard deviation
	samples []uint64          // of each row
	outputs map[Clock]float64 // sums of squares of outputs, by the clock that the model was told
	latent  float64           // sum of squares of the latents
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
		return nil, fail(ErrConfig, "sampler: CheckModel needs at least %d samples, and has %d", minFit, len(f.units))
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
	f.ends = [2]fitPoint{{points[0], 0}, {points[len(points)-2], len(points) - 2}}
	f.points, f.wide = spread(f.points, 8), spread(f.wide, 4)
	if len(f.points) == 0 {
		return nil, fail(ErrConfig, "sampler: CheckModel cannot tell conventions apart: no point of the Scheduler has signal and noise of at least .1 and a time at least .1 from ½: take a schedule of more steps")
	}
	f.b.Key = b.Key.Derive(0xc4ec)
	for u, w := range f.units {
		for i := w.Start; i < w.End; i++ {
			f.samples = append(f.samples, f.b.Rows[i].Sample)
			f.b.Rows[i].ID = noise.ID{Sample: uint64(u)}
			f.rows = append(f.rows, i)
		}
	}
	for range 5 {
		buffer, err := m.Like(clean, b.Len())
		if err != nil {
			for _, have := range f.buffers {
				m.Free(have) // the caller sees the first failure
			}
			return nil, fmt.Errorf("sampler: memory for CheckModel: %w", err)
		}
		f.buffers = append(f.buffers, buffer)
	}
	f.makeOnes()
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

// with returns the batch of f with the weights a and the given noise step in all rows.
func (f *fit[B]) with(a Affine, step int) Batch {
	for i := range f.b.Rows {
		f.b.Rows[i].Affine, f.b.Rows[i].Step = a, uint32(step)
	}
	return f.b
}

// squares returns ‖next - X·x - V·v‖² of every row. The sums are valid after Sync.
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

// asked asks the model with the configured clock.
func (f *fit[B]) asked(ctx context.Context, p fitPoint) error {
	err := f.ask(ctx, p, f.own.Clock)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("sampler: model at step %d (time %v): %w", p.step, f.times[0], err)
	}
	return err
}

// conventions returns the conventions to compare, c first.
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

// scale returns Scale, or 1 for its zero value.
func (c Clock) scale() float64 {
	if c.Scale == 0 {
		return 1
	}
	return c.Scale
}

// A judged is a loss with the losses of the samples.
type judged struct {
	ConventionLoss
	each []float64 // one for each sample
	weak bool      // the output is hardly more than 0, so several conventions can explain it
}

func (f *fit[B]) check(ctx context.Context) ([]ConventionLoss, error) {
	all, linear, err := f.compare(ctx, unmended, f.own.conventions())
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
		// At times a thousand times off, an output can be next to nothing. Its loss is
		// then that of a multiple of the latent, so such a convention must do better.
		fits := !above(a.each, linear) && (a.Clock.scale() == own.Clock.scale() || above(linear, a.each))
		if fits && !a.weak && a.More < -manyErrors*a.StdErr {
			best = &all[k]
			break
		}
	}
	if own.weak {
		if best != nil { // the model has an output at other times
			return losses, f.another(own, *best)
		}
		return losses, fail(ErrUndecided, "sampler: the data do not tell whether the model is as configured (%v): its output is hardly more than 0, which fits several conventions: is it trained?", own.Convention)
	}
	m, unsure, err := f.calibrate(ctx)
	if err != nil {
		return losses, err
	}
	if m != unmended {
		// Wrong data, too, make other conventions look better. The explanation with the
		// smaller loss wins.
		least := own.Loss
		if best != nil {
			least = best.Loss
		}
		loss, fits, err := f.mended(ctx, m, own.Loss, base)
		switch {
		case err != nil:
			return losses, err
		case !fits || loss >= own.Loss:
			if unsure != "" {
				unsure += "; "
			}
			unsure += fmt.Sprintf("the model is calibrated for %v, but fits them no better", m)
		case loss < least:
			return losses, m.fail()
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
		// A clock a thousand times off is no near miss.
		if a.Clock.scale() == own.Clock.scale() && a.More <= manyErrors*a.StdErr && !alike(a.each, own.each) {
			why = append(why, fmt.Sprintf("with %v the loss is %.4g, only %.2g ± %.1g more: take more samples", a.Convention, a.Loss, a.More, a.StdErr))
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

// another returns the error for a convention that fits better than the configured one.
func (f *fit[B]) another(own, best judged) error {
	return fail(ErrConvention, "sampler: the model is not of the configured convention, %v, whose loss is %.4g: with %v it is %.4g, less by %.2g ± %.1g",
		own.Convention, own.Loss, best.Convention, best.Loss, -best.More, best.StdErr)
}

// compare returns the finite losses of the conventions on mended data. linear is each
// sample's loss of the best multiple of the latent.
func (f *fit[B]) compare(ctx context.Context, m mend, conventions []Convention) (all []judged, linear []float64, err error) {
	losses := make([][]float64, len(conventions)) // nil: the model refuses the clock
	for k := range losses {
		losses[k] = make([]float64, len(f.units))
	}
	linear = make([]float64, len(f.units))
	f.outputs, f.latent = map[Clock]float64{}, 0
	for _, p := range f.points {
		if err := f.losses(ctx, p, m, conventions, losses, linear); err != nil {
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

// above reports whether a loss is above another by more than manyErrors standard errors.
func above(loss, other []float64) bool {
	more, e := meanErr(differ(loss, other))
	return more > manyErrors*e
}

// alike reports whether two losses agree to a thousandth for every sample. The model then
// does not care which convention it is, and both fit.
func alike(a, b []float64) bool {
	for i := range a {
		if math.Abs(a[i]-b[i]) > 1e-3*b[i] {
			return false
		}
	}
	return true
}

// losses adds each sample's losses at the point p, for mended data, to losses. It adds
// those of the best multiple of the latent to linear.
func (f *fit[B]) losses(ctx context.Context, p fitPoint, m mend, all []Convention, losses [][]float64, linear []float64) error {
	var none B
	x, v, target := f.buffers[0], f.buffers[1], f.buffers[2]
	f.latents(p, m)
	f.m.Step(target, f.data(m), target, f.with(Affine{X: -m.factor, V: 1}, p.step), nil) // x1 - x0
	tt := f.squares(target, none, none, Affine{})
	xx := f.squares(x, none, none, Affine{})
	tx := f.squares(target, x, none, Affine{X: 1})
	vv := map[Clock][]float64{}
	squares := make([][]float64, len(all))
	var clock Clock
	var refused error
	for k, c := range all {
		switch {
		case k == 0: // the configured clock is first
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

// latents makes the latents of mended data at the point p. It leaves their noise in the
// buffer of the target.
func (f *fit[B]) latents(p fitPoint, m mend) {
	var none B
	x, target := f.buffers[0], f.buffers[2]
	f.m.Step(target, none, none, f.with(Affine{Eps: 1}, p.step), nil)
	f.m.Step(x, f.data(m), target, f.with(Affine{X: m.factor * p.Signal, V: p.Noise}, p.step), nil)
}

// hint adds to an error of the comparison that the output ignores the time, if it does.
func (f *fit[B]) hint(ctx context.Context, err error) error {
	bad, ok := err.(*fault)
	if !ok {
		return err
	}
	blind, e := f.blind(ctx)
	switch {
	case e != nil:
		return e
	case blind:
		return fail(bad.kind, "%s; the model's output does not depend on its time, which explains this, unless the model is meant to have none", bad.text)
	}
	return err
}

// blind reports whether the model gives the same output for the first and the last time
// of a run. An output of 0 tells nothing.
func (f *fit[B]) blind(ctx context.Context) (bool, error) {
	var none B
	v, first := f.buffers[1], f.buffers[2]
	if f.own.Clock.At(f.ends[0].Time) == f.own.Clock.At(f.ends[1].Time) {
		return false, nil
	}
	f.latents(f.points[0], unmended)
	if err := f.asked(ctx, f.ends[0]); err != nil {
		return false, err
	}
	f.m.Step(first, v, none, f.with(Affine{X: 1}, 0), nil)
	if err := f.asked(ctx, f.ends[1]); err != nil {
		return false, err
	}
	sizes := f.squares(v, none, none, Affine{})
	apart := f.squares(v, first, none, Affine{X: 1})
	if err := f.m.Sync(); err != nil {
		return false, fmt.Errorf("sampler: device: %w", err)
	}
	some := false
	for row, d := range apart {
		if d != 0 {
			return false, nil
		}
		some = some || sizes[row] != 0
	}
	return some, nil
}

// finite returns a NonFiniteError for the first of sq that is not finite.
func (f *fit[B]) finite(p fitPoint, sq []float64) error {
	for row, sq := range sq {
		if !finite(sq) {
			return &NonFiniteError{Step: p.step, Row: row, Sample: f.samples[row]}
		}
	}
	return nil
}

// add adds each sample's mean of sq over its elements, divided by points, to the entry of
// to.
func (f *fit[B]) add(to, sq []float64, points int) {
	for u, w := range f.units {
		for _, x := range sq[w.Start:w.End] {
			to[u] += x / float64((w.End-w.Start)*f.b.Dim*points)
		}
	}
}

// differ returns a - b.
func differ(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}

// meanErr returns the mean of x and its standard error. x has at least two elements.
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
