package solver

import (
	"fmt"
	"math"

	"cps/sampler"
	"cps/schedule"
)

// Ancestral makes a deterministic solver stochastic: every step goes down to a level below
// the next one, and fresh noise takes it back up (ancestral sampling, with k-diffusion's
// sigma_down and sigma_up). Share splits the level σ' = hypot(q, Eps) of the next point in
// the noise q that is kept and the noise Eps that is drawn:
//
//	next = ρ·Inner(from → d) + Eps·ε
//
// with d the point of the path at which noise and signal stand as q to α', and ρ the scale
// from there: on the rectified-flow path ρ = α' + q and d = q/ρ, which is RES4LYF's
// sigma_down and alpha_ratio. So it preserves coefficients, whatever the share, if Inner
// does and looks back at x̂0 alone, and it has an exact density, whose mean is ρ times what
// Inner gives. Differences of x̂1, as DPM takes them, do not cancel any more once noise is
// drawn between. A step to noise 0 is Inner's.
//
// The history of Inner is that of a noisy path, and its step goes further than the steps
// between evaluations. With a share that does not vanish (see [Converger]) ever more steps
// make that ever worse: an Inner that looks back extrapolates, and the samples diverge.
// With a share that vanishes, the law is of order 1, whatever Inner is. The SDE of [DPMPlus]
// is of order 2.
//
// Inner is FlowODE, or a multistep solver of one evaluation a step that draws no noise,
// such as DPMPlus and DPM with Eta 0: others are an error (sampler.ErrConfig). It plans
// every step to d, with the evaluations at the schedule's points as its history. With
// FlowODE and the share CPS(eta) this is [sampler.FlowCPS] to the bit; with NoiseOf it is
// any rule of first order that preserves coefficients, to the bit. With no noise it is
// Inner to the bit.
//
// It serves the paths that Inner serves.
type Ancestral struct {
	Inner sampler.Rule
	Share Share
}

// Facts implements [sampler.Describer]. Preserving is that of Inner, unless Inner looks back
// at predicted noise, or is a solver of your own, of which this is not known. The order is
// that of the law of the samples, 0 unless Share is a [Converger].
func (r Ancestral) Facts() sampler.Facts {
	f := sampler.Facts{Name: "Ancestral", Source: "k-diffusion's ancestral step; RES4LYF", Evaluations: 1, Density: true}
	if r.Inner == nil {
		return f
	}
	inner := sampler.FactsOf(r.Inner)
	f.Path = inner.Path
	_, solver := r.Inner.(sampler.Solver)
	_, plus := r.Inner.(DPMPlus)
	f.Preserving = inner.Preserving && (plus || !solver)
	if c, ok := r.Share.(Converger); ok {
		f.Order = c.Order(inner.Order)
		f.HistoryOrder = f.Order
	}
	return f
}

// Coeffs implements [sampler.Rule]: the step of first order.
func (r Ancestral) Coeffs(from, to schedule.Point) (sampler.Coeffs, error) {
	moves, err := r.Plan([]schedule.Point{from, to})
	if err != nil {
		return sampler.Coeffs{}, err
	}
	return moves[0].Coeffs, nil
}

// Plan implements [sampler.Solver]. It takes the square of the number of steps.
func (r Ancestral) Plan(points []schedule.Point) ([]sampler.Move, error) {
	if r.Inner == nil || r.Share == nil {
		return nil, fmt.Errorf("Ancestral: Inner %v and Share %v must both be set: %w", r.Inner, r.Share, sampler.ErrConfig)
	}
	n := len(points) - 1
	moves := make([]sampler.Move, n)
	through := make([]schedule.Point, n+1)
	for i := range moves {
		from, to := points[i], points[i+1]
		kept, fresh, err := r.split(from, to)
		if err != nil {
			return nil, err
		}
		rho, d := 1.0, to
		if fresh != 0 {
			if kept == 0 {
				moves[i] = sampler.Move{Step: i, To: to, Coeffs: sampler.Coeffs{X0: to.Signal, Eps: fresh}}
				continue
			}
			rho, d = down(from, to, kept)
		}
		// The points after d stand as much nearer to 0: Inner sees how many steps follow,
		// and where they end.
		copy(through, points[:i+1])
		for k := i + 1; k <= n; k++ {
			through[k] = points[k]
			if fresh != 0 {
				through[k] = at(from, points[k], points[k].Noise*(d.Noise/to.Noise))
			}
		}
		through[i+1] = d
		m, err := r.inner(through, i)
		if err != nil {
			return nil, err
		}
		m.To = to
		if fresh != 0 {
			// What Inner does beyond its step of first order, scaled: that step is exact.
			m.Coeffs = sampler.Coeffs{
				X0:  to.Signal + rho*(m.Coeffs.X0-d.Signal),
				X1:  kept + rho*(m.Coeffs.X1-d.Noise),
				Eps: fresh,
			}
			for k := range m.Past {
				m.Past[k].X0 *= rho
				m.Past[k].X1 *= rho
			}
		}
		moves[i] = m
	}
	return moves, nil
}

// split returns the noise that is kept and the noise that is drawn in a step.
func (r Ancestral) split(from, to schedule.Point) (kept, fresh float64, err error) {
	if to.Noise == 0 {
		return 0, 0, nil
	}
	if kept, fresh, err = r.Share.Split(from, to); err != nil {
		return 0, 0, fmt.Errorf("Ancestral: %w", err)
	}
	if !(kept >= 0 && fresh >= 0 && math.Abs(math.Hypot(kept, fresh)-to.Noise) <= 1e-6) {
		return 0, 0, fmt.Errorf("Ancestral: %T keeps the noise %v and draws %v, which do not make the level %v: %w", r.Share, kept, fresh, to.Noise, sampler.ErrConfig)
	}
	return kept, fresh, nil
}

// inner returns move i of Inner's plan.
func (r Ancestral) inner(points []schedule.Point, i int) (sampler.Move, error) {
	solver, ok := r.Inner.(sampler.Solver)
	m := sampler.Move{Step: i, To: points[i+1]}
	var err error
	if ok {
		var all []sampler.Move
		if all, err = solver.Plan(points); err == nil && len(all) != len(points)-1 {
			return m, fmt.Errorf("Ancestral: %T evaluates the model %d times in %d steps, and once in each is needed: %w", r.Inner, len(all), len(points)-1, sampler.ErrConfig)
		} else if err == nil {
			m = all[i]
		}
	} else {
		m.Coeffs, err = r.Inner.Coeffs(points[i], points[i+1])
	}
	switch {
	case err != nil:
		return m, fmt.Errorf("Ancestral: step %d, from noise %v down to %v: %w", i, points[i].Noise, points[i+1].Noise, err)
	case m.Coeffs.Eps != 0:
		return m, fmt.Errorf("Ancestral: %T draws noise of its own: %w", r.Inner, sampler.ErrConfig)
	}
	return m, nil
}

// down returns the point of the path on which noise and signal stand as kept to to.Signal,
// and its scale.
func down(from, to schedule.Point, kept float64) (rho float64, d schedule.Point) {
	switch {
	case from.OnFlow() && to.OnFlow():
		rho = to.Signal + kept
	case from.OnVP() && to.OnVP():
		rho = math.Hypot(to.Signal, kept)
	default:
		return 1, schedule.Point{Time: to.Time, Signal: to.Signal, Noise: kept}
	}
	return rho, at(from, to, kept/rho)
}

// at returns the point of some noise on the path of from and to.
func at(from, to schedule.Point, noise float64) schedule.Point {
	p := schedule.Point{Time: to.Time, Signal: to.Signal, Noise: noise}
	switch {
	case from.OnFlow() && to.OnFlow():
		p.Signal = 1 - noise
	case from.OnVP() && to.OnVP():
		p.Signal = math.Sqrt((1 - noise) * (1 + noise))
	}
	return p
}
