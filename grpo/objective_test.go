package grpo

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/diff/fd"
	"pgregory.net/rapid"
)

// transitions are the inputs of a loss.
type transitions struct{ logp, old, adv, kl, scale []float64 }

func drawTransitions(t *rapid.T) transitions {
	n := rapid.IntRange(1, 8).Draw(t, "n")
	list := func(label string, lo, hi float64) []float64 { return some(t, label, n, lo, hi) }
	x := transitions{
		old:   list("old", -3, 3),
		adv:   list("adv", -2, 2),
		kl:    list("kl", 0, 0.2),
		scale: list("scale", 0.1, 2),
	}
	for i, d := range list("d", -0.5, 0.5) {
		x.logp = append(x.logp, x.old[i]+d)
	}
	return x
}

func drawObjective(t *rapid.T) Objective {
	bound := rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(1e-4, 0.6))
	return Objective{ClipLow: bound.Draw(t, "low"), ClipHigh: bound.Draw(t, "high")}
}

// kinked reports whether a log-ratio is so near a bound that a difference quotient
// sees the kink.
func (o Objective) kinked(x float64) bool {
	r := math.Exp(x)
	return math.Abs(r-1-o.ClipHigh) < 1e-3 || math.Abs(1-r-o.ClipLow) < 1e-3
}

// A central difference of step 1e-5 is off by h²f”'/6 = 2e-11·f”' in truth and by
// ulp(f)/h = 2e-16/1e-5·f in rounding. Losses and derivatives here are below 100.
const gradientTol = 1e-8

func gradient(f func(x []float64) float64, at []float64) []float64 {
	return fd.Gradient(nil, f, at, &fd.Settings{Formula: fd.Central, Step: 1e-5})
}

func propObjectiveGradient(t *rapid.T) {
	x, o := drawTransitions(t), drawObjective(t)
	for i := range x.logp {
		if o.kinked(x.logp[i] - x.old[i]) {
			t.Skip("kink")
		}
	}
	grad := make([]float64, len(x.logp))
	must(o.Loss(grad, x.logp, x.old, x.adv))(t)
	near(t, "gradient", grad, gradient(func(logp []float64) float64 {
		return must(o.Loss(nil, logp, x.old, x.adv))(t).Loss
	}, x.logp), gradientTol)
}

func TestObjectiveGradient(t *testing.T) { rapid.Check(t, propObjectiveGradient) }

// Loss and statistics are what their formulas say, word for word.
func propObjective(t *rapid.T) {
	x, o := drawTransitions(t), drawObjective(t)
	n := len(x.logp)
	grad := make([]float64, n)
	s := must(o.Loss(grad, x.logp, x.old, x.adv))(t)

	low, high := -inf, inf
	if o.ClipLow > 0 {
		low = 1 - o.ClipLow
	}
	if o.ClipHigh > 0 {
		high = 1 + o.ClipHigh
	}
	var want Stats
	for i := range x.logp {
		d := x.logp[i] - x.old[i]
		r := math.Exp(d)
		a := x.adv[i]
		want.Loss += max(-a*r, -a*max(low, min(r, high)))
		want.MeanRatio += r
		want.ApproxKL += 0.5 * d * d
		want.Deviation = max(want.Deviation, math.Abs(r-1))
		above, below := r > high, r < low
		if above {
			want.ClipAbove++
		}
		if below {
			want.ClipBelow++
		}
		if above || below {
			want.ClipFraction++
		}
		if above && a > 0 || below && a < 0 {
			want.Stopped++
			if grad[i] != 0 {
				t.Errorf("gradient %d is %v where clipped", i, grad[i])
			}
		} else if g := -a * r / float64(n); grad[i] != g {
			t.Errorf("gradient %d is %v, want %v exactly", i, grad[i], g)
		}
	}
	got := []float64{s.Loss, s.Policy, s.MeanRatio, s.ApproxKL, s.Deviation, s.ClipAbove, s.ClipBelow, s.ClipFraction, s.Stopped, s.KL}
	sums := []float64{want.Loss, want.Loss, want.MeanRatio, want.ApproxKL, want.Deviation * float64(n),
		want.ClipAbove, want.ClipBelow, want.ClipFraction, want.Stopped, 0}
	for i := range sums {
		sums[i] /= float64(n)
	}
	near(t, "statistics", got, sums, 1e-14) // sums of 8 terms below 4
}

func TestObjective(t *testing.T) { rapid.Check(t, propObjective) }

// On policy the ratio is 1 and nothing is clipped, however tight the bounds.
func propOnPolicy(t *rapid.T) {
	n := rapid.IntRange(1, 8).Draw(t, "n")
	logp := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), n, n).Draw(t, "logp")
	adv := some(t, "adv", n, -5, 5)
	zeros, ones := make([]float64, n), slices.Repeat([]float64{0.3}, n)
	var mean float64
	for _, a := range adv {
		mean -= a
	}
	mean /= float64(n)
	grad := make([]float64, n)
	for name, loss := range map[string]func() (Stats, error){
		"plain":   func() (Stats, error) { return Objective{}.Loss(grad, logp, logp, adv) },
		"clipped": func() (Stats, error) { return Objective{1e-300, 1e-300}.Loss(grad, logp, logp, adv) },
		"DPPO":    func() (Stats, error) { return DPPO{1e-300}.Loss(grad, logp, logp, adv, zeros) },
		"Guard":   func() (Stats, error) { return Guard{1e-300, 1e-300}.Loss(grad, logp, logp, adv, zeros, ones) },
	} {
		s := must(loss())(t)
		if want := (Stats{Loss: mean, Policy: mean, MeanRatio: 1}); s != want {
			t.Errorf("%s: %+v, want %+v", name, s, want)
		}
		scale := 1.0
		if name == "Guard" {
			scale = 0.3
		}
		for i, a := range adv {
			if want := scale * (-a / float64(n)); grad[i] != want {
				t.Errorf("%s: gradient %d is %v, want %v", name, i, grad[i], want)
			}
		}
	}
}

func TestOnPolicy(t *testing.T) { rapid.Check(t, propOnPolicy) }

func TestObjectiveByHand(t *testing.T) {
	logp := []float64{math.Log(2), math.Log(2), math.Log(0.5), math.Log(0.5), 0}
	old := make([]float64, 5)
	adv := []float64{1, -1, 1, -1, 3}
	grad := make([]float64, 5)
	s := must(Objective{ClipLow: 0.25, ClipHigh: 0.5}.Loss(grad, logp, old, adv))(t)
	near(t, "gradient", grad, []float64{0, 0.4, -0.1, 0, -0.6}, eps)
	near(t, "loss", []float64{s.Loss}, []float64{(-1.5 + 2 - 0.5 + 0.75 - 3) / 5}, eps)
	near(t, "fractions", []float64{s.ClipFraction, s.ClipAbove, s.ClipBelow, s.Stopped}, []float64{0.8, 0.4, 0.4, 0.4}, eps)
	near(t, "ratios", []float64{s.MeanRatio, s.Deviation}, []float64{6.0 / 5, 1}, eps)

	// One bound alone.
	s = must(Objective{ClipHigh: 0.5}.Loss(grad, logp, old, adv))(t)
	near(t, "upper bound alone", []float64{s.ClipAbove, s.ClipBelow, s.Stopped}, []float64{0.4, 0, 0.2}, eps)
	s = must(Objective{ClipLow: 0.25}.Loss(grad, logp, old, adv))(t)
	near(t, "lower bound alone", []float64{s.ClipAbove, s.ClipBelow, s.Stopped}, []float64{0, 0.4, 0.2}, eps)
}

// The gradient may take the place of any input.
func TestLossAliasing(t *testing.T) {
	x := transitions{[]float64{0.1, -0.2}, []float64{0, 0.1}, []float64{1, -1}, []float64{0.1, 0.2}, []float64{0.5, 2}}
	clones := func() [5][]float64 {
		return [5][]float64{slices.Clone(x.logp), slices.Clone(x.old), slices.Clone(x.adv), slices.Clone(x.kl), slices.Clone(x.scale)}
	}
	for name, loss := range map[string]func(grad []float64, in [5][]float64) (Stats, error){
		"Objective": func(g []float64, in [5][]float64) (Stats, error) {
			return Objective{0.2, 0.2}.Loss(g, in[0], in[1], in[2])
		},
		"DPPO": func(g []float64, in [5][]float64) (Stats, error) {
			return DPPO{0.15}.Loss(g, in[0], in[1], in[2], in[3])
		},
		"Guard": func(g []float64, in [5][]float64) (Stats, error) {
			return Guard{0.2, 0.2}.Loss(g, in[0], in[1], in[2], in[3], in[4])
		},
	} {
		want := make([]float64, 2)
		stats := must(loss(want, clones()))(t)
		for i := range 5 {
			in := clones()
			got := must(loss(in[i], in))(t)
			if got != stats {
				t.Errorf("%s into input %d: %+v, want %+v", name, i, got, stats)
			}
			if name == "Objective" && i > 2 || name == "DPPO" && i > 3 {
				continue
			}
			same(t, name, in[i], want)
		}
		if got := must(loss(nil, clones()))(t); got != stats {
			t.Errorf("%s without gradient: %+v, want %+v", name, got, stats)
		}
	}
}

func TestPenalize(t *testing.T) {
	logp, old, adv := []float64{0.1, 0}, []float64{0, 0.2}, []float64{1, -1}
	kl := []float64{0.5, 0.25}
	loss := func(kl []float64) float64 {
		s := must(Objective{}.Loss(nil, logp, old, adv))(t)
		must(s.Penalize(0.04, kl))(t)
		return s.Loss
	}
	s := must(Objective{}.Loss(nil, logp, old, adv))(t)
	policy := s.Policy
	weight := must(s.Penalize(0.04, kl))(t)
	if s.KL != 0.375 || s.Loss != policy+0.04*0.375 || s.Policy != policy {
		t.Errorf("statistics are %+v", s)
	}
	near(t, "weight", []float64{weight, weight}, gradient(loss, kl), gradientTol)
	// Doing it again replaces the penalty.
	must(s.Penalize(0, kl))(t)
	if s.Loss != policy {
		t.Errorf("loss without penalty is %v, want %v", s.Loss, policy)
	}
}

func TestLossErrors(t *testing.T) {
	ok := []float64{1, 2}
	bad := func(x float64) []float64 { return []float64{1, x} }
	objective := func(o Objective, logp, old, adv []float64) error {
		_, err := o.Loss(make([]float64, len(logp)), logp, old, adv)
		return err
	}
	guard := func(o Guard, kl, scale []float64) error {
		_, err := o.Loss(make([]float64, 2), ok, ok, ok, kl, scale)
		return err
	}
	dppo := func(o DPPO, logp, kl []float64) error {
		_, err := o.Loss(make([]float64, 2), logp, ok, ok, kl)
		return err
	}
	penalize := func(beta float64, kl ...float64) error {
		s := Stats{Policy: 1, Loss: 1}
		_, err := s.Penalize(beta, kl)
		if s != (Stats{Policy: 1, Loss: 1}) {
			t.Errorf("statistics changed beside the error %v", err)
		}
		return err
	}
	for _, tc := range []struct {
		err, kind error
		text      string
	}{
		{objective(Objective{}, nil, nil, nil), ErrEmpty, "grpo: batch: empty"},
		{objective(Objective{}, bad(nan), ok, ok), ErrNotFinite, "grpo: log p of sample 1 is NaN: not a finite number"},
		{objective(Objective{}, bad(-inf), ok, ok), ErrNotFinite, "grpo: log p of sample 1 is -Inf: not a finite number"},
		{objective(Objective{}, ok, bad(inf), ok), ErrNotFinite, "grpo: old log p of sample 1 is +Inf: not a finite number"},
		{objective(Objective{}, ok, ok, bad(nan)), ErrNotFinite, "grpo: advantage of sample 1 is NaN: not a finite number"},
		{objective(Objective{}, bad(712), ok, ok), ErrOverflow, "grpo: ratio of sample 1, exp(710): overflows float64"},
		{objective(Objective{0.2, 0.2}, bad(712), ok, ok), ErrOverflow, "grpo: ratio of sample 1, exp(710): overflows float64"},
		{objective(Objective{}, bad(-1e200), ok, ok), ErrOverflow, "grpo: squared log-ratio -1e+200 of sample 1: overflows float64"},
		{objective(Objective{}, bad(-1e308), bad(1e308), ok), ErrOverflow, "grpo: squared log-ratio -Inf of sample 1: overflows float64"},
		{objective(Objective{}, bad(700), ok, bad(1e9)), ErrOverflow, "grpo: loss of sample 1: overflows float64"},
		{objective(Objective{}, []float64{709, 709}, []float64{0, 0}, []float64{2, 2}), ErrOverflow, "grpo: mean over samples: overflows float64"},
		{objective(Objective{ClipLow: -0.1}, ok, ok, ok), ErrSetting, "grpo: Objective.ClipLow -0.1 is not at least 0: setting out of range"},
		{objective(Objective{ClipHigh: nan}, ok, ok, ok), ErrSetting, "grpo: Objective.ClipHigh NaN is not at least 0: setting out of range"},

		{guard(Guard{ClipHigh: -1}, ok, ok), ErrSetting, "grpo: Objective.ClipHigh -1 is not at least 0: setting out of range"},
		{guard(Guard{}, bad(-0.5), ok), ErrSetting, "grpo: divergence of sample 1 is -0.5, below 0: setting out of range"},
		{guard(Guard{}, bad(nan), ok), ErrNotFinite, "grpo: divergence of sample 1 is NaN: not a finite number"},
		{guard(Guard{}, ok, bad(0)), ErrSetting, "grpo: scale of sample 1 is 0, not above 0 and finite: setting out of range"},
		{guard(Guard{}, ok, bad(inf)), ErrSetting, "grpo: scale of sample 1 is +Inf, not above 0 and finite: setting out of range"},
		{guard(Guard{}, bad(1000), ok), ErrOverflow, "grpo: ratio of sample 1, exp(2000): overflows float64"},

		{dppo(DPPO{}, ok, ok), ErrSetting, "grpo: DPPO.MaxKL 0 is not above 0: setting out of range"},
		{dppo(DPPO{nan}, ok, ok), ErrSetting, "grpo: DPPO.MaxKL NaN is not above 0: setting out of range"},
		{dppo(DPPO{1}, bad(nan), ok), ErrNotFinite, "grpo: log p of sample 1 is NaN: not a finite number"},
		{dppo(DPPO{1}, bad(712), ok), ErrOverflow, "grpo: ratio of sample 1, exp(710): overflows float64"},
		{dppo(DPPO{1}, ok, bad(inf)), ErrNotFinite, "grpo: divergence of sample 1 is +Inf: not a finite number"},

		{penalize(1), ErrEmpty, "grpo: divergences: empty"},
		{penalize(-1, 1), ErrSetting, "grpo: KL weight -1 is not at least 0 and finite: setting out of range"},
		{penalize(nan, 1), ErrSetting, "grpo: KL weight NaN is not at least 0 and finite: setting out of range"},
		{penalize(1, 1, nan), ErrNotFinite, "grpo: divergence of sample 1 is NaN: not a finite number"},
		{penalize(1, -1), ErrSetting, "grpo: divergence of sample 0 is -1, below 0: setting out of range"},
		{penalize(10, 1e308), ErrOverflow, "grpo: KL penalty: overflows float64"},
	} {
		if tc.err == nil {
			t.Errorf("no error, want %q", tc.text)
			continue
		}
		wantError(t, tc.err, tc.kind, tc.text)
	}
}

func TestLossPanics(t *testing.T) {
	two, three := make([]float64, 2), make([]float64, 3)
	wantPanic(t, "grpo: length of grad is 3, not that of logp, 2", func() { Objective{}.Loss(three, two, two, two) })
	wantPanic(t, "grpo: length of old is 3, not that of logp, 2", func() { Objective{}.Loss(two, two, three, two) })
	wantPanic(t, "grpo: length of adv is 3, not that of logp, 2", func() { Objective{}.Loss(nil, two, two, three) })
	wantPanic(t, "grpo: length of kl is 3, not that of logp, 2", func() { DPPO{1}.Loss(two, two, two, two, three) })
	wantPanic(t, "grpo: length of scale is 3, not that of logp, 2", func() { Guard{}.Loss(two, two, two, two, two, three) })
	wantPanic(t, "grpo: length of kl is 0, not that of logp, 2", func() { Guard{}.Loss(two, two, two, two, nil, two) })
}

func TestLossDoesNotAllocate(t *testing.T) {
	x, g, s := []float64{0.1, 0.2}, make([]float64, 2), Stats{}
	wantNoAllocs(t, "Objective.Loss", func() { Objective{0.1, 0.1}.Loss(g, x, x, x) })
	wantNoAllocs(t, "Guard.Loss", func() { Guard{0.1, 0.1}.Loss(g, x, x, x, x, x) })
	wantNoAllocs(t, "DPPO.Loss", func() { DPPO{0.1}.Loss(g, x, x, x, x) })
	wantNoAllocs(t, "Penalize", func() { s.Penalize(0.1, x) })
}

// Whatever the numbers, there is an error or statistics and gradients that are finite.
func propLossFinite(t *rapid.T) {
	n := rapid.IntRange(1, 4).Draw(t, "n")
	list := func(label string) []float64 { return rapid.SliceOfN(rapid.Float64(), n, n).Draw(t, label) }
	logp, old, adv, kl, scale := list("logp"), list("old"), list("adv"), list("kl"), list("scale")
	grad := make([]float64, n)
	for name, loss := range map[string]func() (Stats, error){
		"Objective": func() (Stats, error) { return Objective{0.1, 0.2}.Loss(grad, logp, old, adv) },
		"plain":     func() (Stats, error) { return Objective{}.Loss(grad, logp, old, adv) },
		"Guard":     func() (Stats, error) { return Guard{0.1, 0.2}.Loss(grad, logp, old, adv, kl, scale) },
		"DPPO":      func() (Stats, error) { return DPPO{0.1}.Loss(grad, logp, old, adv, kl) },
	} {
		s, err := loss()
		if err != nil {
			if s != (Stats{}) {
				t.Errorf("%s: statistics beside the error %v", name, err)
			}
			continue
		}
		for _, x := range append([]float64{s.Loss, s.Policy, s.ApproxKL, s.MeanRatio, s.Deviation}, grad...) {
			if !finite(x) {
				t.Errorf("%s: %+v, gradient %v", name, s, grad)
			}
		}
	}
}

func TestLossFinite(t *testing.T)   { rapid.Check(t, propLossFinite) }
func FuzzLoss(f *testing.F)         { f.Fuzz(rapid.MakeFuzz(propLossFinite)) }
func FuzzObjective(f *testing.F)    { f.Fuzz(rapid.MakeFuzz(propObjective)) }
func FuzzLossGradient(f *testing.F) { f.Fuzz(rapid.MakeFuzz(propObjectiveGradient)) }

// At the bound itself, where the loss has a kink, the gradient is that inside.
func TestGradientAtTheBound(t *testing.T) {
	for _, c := range []struct{ ratio, adv float64 }{{0.75, -1}, {1.25, 1}} {
		x := math.Log(c.ratio)
		for range 4 { // to the log-ratio whose exponential is the ratio to the bit
			if math.Exp(x) < c.ratio {
				x = math.Nextafter(x, 1)
			} else if math.Exp(x) > c.ratio {
				x = math.Nextafter(x, -1)
			}
		}
		if math.Exp(x) != c.ratio {
			t.Fatalf("no float64 has the exponential %v", c.ratio)
		}
		grad := make([]float64, 1)
		stats, err := Objective{ClipLow: 0.25, ClipHigh: 0.25}.Loss(grad, []float64{x}, []float64{0}, []float64{c.adv})
		if err != nil || grad[0] != -c.adv*c.ratio || stats.ClipFraction != 0 {
			t.Errorf("ratio %v: gradient %v, %+v, %v", c.ratio, grad[0], stats, err)
		}
	}
}
