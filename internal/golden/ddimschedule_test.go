package golden

import (
	"errors"
	"math"
	"slices"

	"cps/schedule"
)

// vp returns the training schedule of the case and its betas.
func (c ddimStep) vp(t tester) (*schedule.VP, []float64) {
	n := c.Config.TrainSteps
	var betas []float64
	switch {
	case c.Config.TrainedBetas != nil:
		betas = narrow(c.Config.TrainedBetas)
	case c.Config.BetaSchedule == "linear":
		betas = schedule.LinearBetas(n, c.Config.BetaStart, c.Config.BetaEnd)
	case c.Config.BetaSchedule == "scaled_linear":
		betas = schedule.ScaledLinearBetas(n, c.Config.BetaStart, c.Config.BetaEnd)
	case c.Config.BetaSchedule == "squaredcos_cap_v2":
		betas = schedule.CosineBetas(n)
	default:
		t.Fatalf("no judge knows beta_schedule %q", c.Config.BetaSchedule)
	}
	v, err := schedule.NewVP(betas)
	if err == nil && c.Config.ZeroSNR {
		v, err = v.ZeroSNR()
	}
	if err != nil {
		t.Fatal(err)
	}
	return v, betas
}

// timesteps returns the timesteps of the run, highest first.
func (c ddimStep) timesteps(t tester, v *schedule.VP) []int {
	switch c.Config.Spacing {
	case "leading":
		return v.Leading(c.Steps, c.Config.Offset)
	case "trailing":
		return v.Trailing(c.Steps)
	case "linspace":
		return v.Linspace(c.Steps)
	}
	t.Fatalf("no judge knows timestep_spacing %q", c.Config.Spacing)
	return nil
}

// points returns the run through the timesteps. A last step that ends where it starts is left
// out, after a check that the library refuses it.
func (c ddimStep) points(t tester, v *schedule.VP, steps []int) schedule.Points {
	final := schedule.Point{Signal: 1}
	if !c.Config.AlphaToOne {
		final = v.Point(0)
	}
	p, err := v.Points(steps, final)
	if last := len(steps) - 1; !c.Config.AlphaToOne && steps[last] == 0 {
		t.differs(goesNowhere)
		if !errors.Is(err, schedule.ErrOrder) {
			t.Errorf("Points with a step from timestep 0 to itself: %v, want %v", err, schedule.ErrOrder)
		}
		if last == 0 {
			return schedule.Points{final, final}
		}
		p, err = v.Points(steps[:last], final)
		p = append(p, final)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// runSchedule compares the levels that the step runs between.
func (c ddimStep) runSchedule(t tester) {
	v, betas := c.vp(t)
	steps := c.timesteps(t, v)
	if want := c.Timestep - c.Config.TrainSteps/c.Steps; c.PrevTimestep != want {
		t.Errorf("upstream goes to timestep %d, and %d - ⌊%d/%d⌋ is %d", c.PrevTimestep, c.Timestep, c.Config.TrainSteps, c.Steps, want)
	}
	switch {
	case c.Config.Spacing == "linspace" && c.Steps == 1 && c.Timestep == 0:
		t.differs(spacingOfOne)
		if steps[0] != c.Config.TrainSteps-1 {
			t.Errorf("timesteps are %v, want %d alone", steps, c.Config.TrainSteps-1)
		}
		steps = []int{0}
	case c.Config.Spacing == "trailing" && c.Timestep == -1:
		t.differs(spacingOfMore)
		if len(steps) != c.Steps || steps[c.Steps-1] < 0 {
			t.Errorf("timesteps are %v, want %d above 0", steps, c.Steps)
		}
		return // -1 is Python's index of the last
	}
	p := c.points(t, v, steps)
	i := slices.Index(steps, c.Timestep)
	if i < 0 {
		t.Fatalf("timestep %d is not in %v", c.Timestep, steps)
	}
	if got := int(math.Round(float64(c.Config.TrainSteps) * p[i].Time)); got != c.Timestep {
		t.Errorf("model is told %d, want %d", got, c.Timestep)
	}
	checkAlpha(t, "alpha_prod", p[i], c.AlphaProd[0], c.alphaTol(betas, c.Timestep))

	to := p[i+1]
	switch last := i+1 == len(steps); {
	case last && c.PrevTimestep < 0:
	case !last && steps[i+1] == c.PrevTimestep:
	default:
		t.differs(otherNext)
		if !last {
			c.checkNext(t, i, steps[i+1])
		}
		to = p[len(p)-1] // where upstream goes below timestep 0
		if c.PrevTimestep >= 0 {
			to = v.Point(c.PrevTimestep)
		}
	}
	checkAlpha(t, "alpha_prod_prev", to, c.AlphaProdPrev[0], c.alphaTol(betas, c.PrevTimestep))
}

// checkNext judges timestep i+1 of a run whose next timestep upstream misses. It must be within
// half a timestep of its even place.
func (c ddimStep) checkNext(t tester, i, next int) {
	n, all := float64(c.Steps), float64(c.Config.TrainSteps)
	var want float64
	switch c.Config.Spacing {
	case "trailing":
		want = all - float64(i+1)*all/n - 1
	case "linspace":
		want = (n - 2 - float64(i)) * (all - 1) / (n - 1)
	default:
		t.Errorf("upstream misses its next timestep with spacing %q", c.Config.Spacing)
	}
	if math.Abs(float64(next)-want) > 0.5+1e-9 {
		t.Errorf("timestep %d is %d, want %v", i+1, next, want)
	}
}

// alphaTol bounds the relative error of upstream's ᾱ after timestep t. Each of its t+1 factors
// 1-β in [1/2, 1) was rounded to float32 by at most 2⁻²⁵, and its β before by less than 2⁻³⁰.
// The product rounds once, to 2⁻²⁴. At the end of a cosine a β above 1/2 rounds by 2⁻²⁵, which
// is more of the smaller 1-β.
func (c ddimStep) alphaTol(betas []float64, t int) float64 {
	if c.Config.ZeroSNR {
		return zeroSNRTol
	}
	tol := 0x1p-24
	for _, b := range betas[:max(t, 0)+1] {
		if b <= 0.5 {
			tol += 0x1p-25 + 0x1p-30
		} else {
			tol += 0x1p-25 / (1 - b)
		}
	}
	return tol
}

// The rescaling subtracts the last √ᾱ, 0.07, from all. That increases the relative error where
// √ᾱ is not much above 0.07. Then upstream computes betas and multiplies them again, all in
// float32. The error is 1.6e-6 at worst.
const zeroSNRTol = 3e-6

func checkAlpha(t tester, what string, p schedule.Point, want, tol float64) {
	t.Helper()
	t.judged(1)
	if got := p.Signal * p.Signal; !(math.Abs(got-want) <= tol*want) {
		t.Errorf("%s = %v, want %v: off by %.3g of it, tolerance %.3g", what, got, want, math.Abs(got-want)/want, tol)
	}
	if !p.OnVP() {
		t.Errorf("%s: %+v is not variance preserving", what, p)
	}
}
