package sampler

import (
	"context"
	"fmt"
	"math"

	"cps/noise"
)

// scaleStep is the smallest factor of data too wide or too narrow that CheckModel reports.
const scaleStep = 1.5

// shiftStep is the smallest shift of the data that CheckModel reports, in standard
// deviations of their elements. The shift of FLUX's autoencoder is .04 of them, and that of
// Stable Diffusion 3 .09. A trained model has a smaller error of its own.
const shiftStep = .03

// A mend is a change of the clean samples x, to factor·(x + shift).
type mend struct{ factor, shift float64 }

var unmended = mend{factor: 1}

// String returns the data that m makes.
func (m mend) String() string {
	switch {
	case m.shift == 0:
		return fmt.Sprintf("data times %.2g", m.factor)
	case m.factor == 1:
		return fmt.Sprintf("data shifted by %.2g", m.shift)
	}
	return fmt.Sprintf("data shifted by %.2g, then times %.2g", m.shift, m.factor)
}

// fail returns the error for data that m mends.
func (m mend) fail() error {
	by, is := m.factor, "narrow"
	if m.factor < 1 {
		by, is = 1/m.factor, "wide"
	}
	above := "above"
	if m.shift > 0 {
		above = "below"
	}
	switch {
	case m.shift == 0:
		return fail(ErrScale, "sampler: the clean samples are about %.2g times as %s as the data that the model knows: is the factor of the autoencoder missing?", by, is)
	case m.factor == 1:
		return fail(ErrScale, "sampler: the clean samples are about %.2g %s the data that the model knows: is the shift of the autoencoder missing?", math.Abs(m.shift), above)
	}
	return fail(ErrScale, "sampler: the clean samples are about %.2g %s the data that the model knows, and %.2g times as %s: are the shift and the factor of the autoencoder missing, or is the range another, such as [0, 1] for [-1, 1]?", math.Abs(m.shift), above, by, is)
}

// mended returns the loss of the model on mended data, in units of its loss own on the
// data as they are. base is that of the best multiple of the latent there. A shift leaves
// the width of the data, so it compares losses. A factor compares their ratios to those of
// the best multiple of the latent. The model fits if its loss is not above that one.
func (f *fit[B]) mended(ctx context.Context, m mend, own, base float64) (loss float64, fits bool, err error) {
	loss, before := own, own/base
	for _, m := range [...]mend{{1, m.shift}, m} {
		if m == unmended {
			continue
		}
		all, linear, err := f.compare(ctx, m, []Convention{f.own})
		if err != nil {
			return 0, false, err
		}
		if len(all) == 0 { // the loss is beyond float64
			return 0, false, nil
		}
		base, _ := meanErr(linear)
		if after := all[0].Loss / base; m.factor != 1 {
			loss *= after / before
		} else {
			loss, before = all[0].Loss, after
		}
		fits = !above(all[0].each, linear)
	}
	return loss, fits, nil
}

// makeOnes fills the buffer of ones. A [Memory] knows no constants, but a draw of known
// value times its inverse is one.
func (f *fit[B]) makeOnes() {
	var none B
	ones, n := f.buffers[3], f.b.Len()
	var draw [1]float64
	id := noise.ID{}
	for draw[0] < .5 {
		id.Sample++
		noise.Normal(draw[:], f.b.Key, id, 0)
	}
	if n == 0 {
		return
	}
	f.m.Step(f.m.Slice(ones, 0, 1), none, none, Batch{Dim: 1, Key: f.b.Key, Rows: []Row{{Affine: Affine{Eps: 1 / draw[0]}, ID: id}}}, nil)
	for have := 1; have < n; have *= 2 {
		more := min(have, n-have)
		f.m.Step(f.m.Slice(ones, have, have+more), f.m.Slice(ones, 0, more), none, Batch{Dim: more, Rows: []Row{{Affine: Affine{X: 1}}}}, nil)
	}
}

// data returns the clean samples plus the shift of m.
func (f *fit[B]) data(m mend) B {
	if m.shift == 0 {
		return f.clean
	}
	if f.shift != m.shift {
		f.m.Step(f.buffers[4], f.clean, f.buffers[3], f.with(Affine{X: 1, V: m.shift}, 0), nil)
		f.shift = m.shift
	}
	return f.buffers[4]
}

// calibrate returns the change of the data for which the model is calibrated, or in unsure
// why the data do not tell. A factor alone or a shift alone is preferred to both.
func (f *fit[B]) calibrate(ctx context.Context) (m mend, unsure string, err error) {
	if len(f.wide) == 0 {
		return unmended, "no point of the schedule has as much noise as signal, so the scale and the shift of the data stay open", nil
	}
	if err = f.moments(); err != nil {
		return m, "", err
	}
	at, err := f.gauge(ctx, unmended, 0)
	if err != nil {
		return m, "", err
	}
	factor, unsure, err := f.scale(ctx, 0, times)
	m = mend{factor: factor}
	if err != nil || !f.off(at, 1) {
		return m, unsure, err
	}
	if factor != 1 {
		now, err := f.gauge(ctx, m, 0)
		if err != nil || !f.off(now, factor) {
			return m, unsure, err
		}
	}
	shift, found, err := f.findShift(ctx, unmended)
	switch {
	case err != nil:
		return m, "", err
	case !found:
		if unsure != "" {
			unsure += "; "
		}
		return m, unsure + fmt.Sprintf("the mean of x0 - x̂0 is %.2g ± %.1g, and no shift of the data mends that", at.shift, at.shiftErr), nil
	case math.Abs(shift) < shiftStep*f.spread:
		return m, unsure, nil
	}
	// Where the mean is mended, the width is that about the mean. The two still depend on
	// each other a little.
	m = mend{1, shift}
	for range 3 {
		mean := m.factor * (f.mean + m.shift)
		k, _, err := f.scale(ctx, mean, func(k float64) mend { return mend{k, mean/k - f.mean} })
		if err != nil || k == 1 {
			return mend{1, shift}, "", err
		}
		m = mend{k, mean/k - f.mean}
		if m.shift, found, err = f.findShift(ctx, m); err != nil || !found {
			return m, "", err
		}
		if math.Abs(m.factor*(f.mean+m.shift)-mean) < shiftStep*m.factor*f.spread {
			break
		}
	}
	return m, "", nil
}

// times is the mend of a factor alone.
func times(factor float64) mend { return mend{factor: factor} }

// moments measures the mean and the standard deviation of the elements of the clean
// samples.
func (f *fit[B]) moments() error {
	var none B
	squares := f.squares(f.clean, none, none, Affine{})
	less := f.squares(f.clean, f.buffers[3], none, Affine{X: 1})
	if err := f.m.Sync(); err != nil {
		return fmt.Errorf("sampler: device: %w", err)
	}
	n := float64(f.b.Len())
	var square float64
	for row, sq := range squares {
		square += sq / n
		f.mean += (sq - less[row] + float64(f.b.Dim)) / 2 / n
	}
	f.spread = math.Sqrt(max(0, square-f.mean*f.mean))
	return nil
}

// off reports whether the data times a factor are shifted, by what g says.
func (f *fit[B]) off(g gauge, factor float64) bool {
	return math.Abs(g.shift) > max(manyErrors*g.shiftErr, shiftStep/3*factor*f.spread)
}

// findShift returns the shift of the data, before the factor of m, at which the mean of
// x0 - x̂0 vanishes. It begins at m and takes the secant method, since that mean rises with
// the shift.
func (f *fit[B]) findShift(ctx context.Context, m mend) (shift float64, found bool, err error) {
	g, err := f.gauge(ctx, m, 0)
	next := m.shift - g.shift/m.factor
	far := 100 * (f.spread + math.Abs(next-m.shift))
	for range 10 {
		if err != nil {
			return 0, false, err
		}
		if math.Abs(g.shift) <= max(g.shiftErr/2, shiftStep/30*m.factor*f.spread) {
			return m.shift, true, nil
		}
		if !(math.Abs(next) <= far) {
			return 0, false, nil
		}
		before, last := m.shift, g
		m.shift = next
		if g, err = f.gauge(ctx, m, 0); err != nil {
			return 0, false, err
		}
		slope := (g.shift - last.shift) / (m.shift - before)
		if !(slope > .01*m.factor) {
			return 0, false, nil
		}
		most := 4 * math.Abs(m.shift-before)
		next = m.shift + max(-most, min(-g.shift/slope, most))
	}
	return 0, false, nil
}

// scale returns 1 if the data are as wide as the model knows them. Else it returns the
// factor that mends them, or in unsure why the data do not tell. by makes the data
// times a factor. Their width is that about center.
func (f *fit[B]) scale(ctx context.Context, center float64, by func(factor float64) mend) (factor float64, unsure string, err error) {
	low, err := f.gauge(ctx, by(1/scaleStep), center)
	if err != nil {
		return 0, "", err
	}
	high, err := f.gauge(ctx, by(scaleStep), center)
	switch {
	case err != nil:
		return 0, "", err
	case low.scale > manyErrors*low.scaleErr:
		factor, err = f.factor(ctx, 1/scaleStep, center, by)
		return factor, "", err
	case high.scale < -manyErrors*high.scaleErr:
		factor, err = f.factor(ctx, scaleStep, center, by)
		return factor, "", err
	case low.scale < -manyErrors*low.scaleErr && high.scale > manyErrors*high.scaleErr:
		return 1, "", nil
	}
	return 1, "the model does not tell data from data 1.5 times as wide or narrow: take more samples", nil
}

// factor returns the factor of the data at which the model is calibrated. It searches
// beyond first, where the model is not, to within a hundredth and up to 1.5⁹.
func (f *fit[B]) factor(ctx context.Context, first, center float64, by func(factor float64) mend) (float64, error) {
	sign := math.Copysign(1, 1-first) // of the calibration before it crosses 0
	near, far := first, first
	for range 8 {
		far = near * first
		g, err := f.gauge(ctx, by(far), center)
		if err != nil {
			return 0, err
		}
		if !(g.scale*sign > 0) {
			break
		}
		near = far
	}
	for range 4 {
		mid := math.Sqrt(near * far)
		g, err := f.gauge(ctx, by(mid), center)
		if err != nil {
			return 0, err
		}
		if g.scale*sign > 0 {
			near = mid
		} else {
			far = mid
		}
	}
	return math.Sqrt(near * far), nil
}

// A gauge says how far a model is from being calibrated, with standard errors.
type gauge struct {
	scale, scaleErr float64 // mean over samples of ⟨x0 - x̂0, x̂0 - center⟩ per element
	shift, shiftErr float64 // mean over samples of x0 - x̂0 per element
}

// gauge measures the model on mended data.
func (f *fit[B]) gauge(ctx context.Context, m mend, center float64) (g gauge, err error) {
	var none B
	x, v, target, ones := f.buffers[0], f.buffers[1], f.buffers[2], f.buffers[3]
	scales, shifts := make([]float64, len(f.units)), make([]float64, len(f.units))
	for _, p := range f.wide {
		f.latents(p, m)
		f.m.Step(target, f.data(m), none, f.with(Affine{X: m.factor}, p.step), nil)
		if err := f.asked(ctx, p); err != nil {
			return g, err
		}
		f.m.Step(v, x, v, f.with(Coeffs{X0: 1}.Affine(f.own.Prediction, p.Point), p.step), nil) // x̂0
		data := f.squares(target, none, none, Affine{})
		predicted := f.squares(v, none, none, Affine{})
		apart := f.squares(target, none, v, Affine{V: 1})
		less := f.squares(target, ones, v, Affine{X: 1, V: 1}) // ‖x0 - x̂0 - 1‖²
		if err := f.m.Sync(); err != nil {
			return g, fmt.Errorf("sampler: device: %w", err)
		}
		for row := range data {
			data[row] = (data[row] - predicted[row] - apart[row]) / 2
			less[row] = (apart[row] - less[row] + float64(f.b.Dim)) / 2
		}
		if err := f.finite(p, data); err != nil {
			return g, err
		}
		f.add(scales, data, len(f.wide))
		f.add(shifts, less, len(f.wide))
	}
	for u := range scales {
		scales[u] -= center * shifts[u]
	}
	g.scale, g.scaleErr = meanErr(scales)
	g.shift, g.shiftErr = meanErr(shifts)
	return g, nil
}
