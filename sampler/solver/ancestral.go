package solver

import (
	"fmt"
	"math"

	"cps/sampler"
	"cps/schedule"
)

// Ancestral makes a deterministic solver stochastic. Every step goes down to a level below
// the next one, and fresh noise takes it back up. This is ancestral sampling, with
// k-diffusion's sigma_down and sigma_up. Share splits the level σ' = hypot(q, Eps) of the
// next point into the noise q that is kept and the noise Eps that is drawn:
//
//	next = ρ·Inner(from → d) + Eps·ε
//
// Here d is the point of the path at which noise over signal is q/α', and ρ scales d's
// signal and noise to α' and q. On the rectified-flow path ρ = α' + q and d = q/ρ, which
// are RES4LYF's alpha_ratio and sigma_down.
//
// Ancestral preserves coefficients for any share, if Inner does and looks back at x̂0
// alone. It has an exact density, whose mean is ρ times what Inner gives. [DPM] takes
// differences of x̂1. These no longer cancel once steps draw noise. A step to noise 0 is
// Inner's.
//
// Inner looks back along a noisy path, and its step is longer than those between
// evaluations. If Share is no [Converger], more steps make this ever worse: an Inner that
// looks back extrapolates, and the samples diverge. With a Converger, the law is of order 1
// for most shares, whatever Inner is; see its Order. The SDE of [DPMPlus] is of order 2.
//
// Inner is FlowODE, or a multistep solver that evaluates once a step and draws no noise,
// such as DPMPlus and DPM with Eta 0. Others are an error (sampler.ErrConfig). Inner plans
// every step to d, with the evaluations at the schedule's points as its history. With
// FlowODE and the share CPS(eta), Ancestral is [sampler.FlowCPS] bit for bit. With FlowODE
// and NoiseOf it is, bit for bit, any rule of first order that preserves coefficients.
// Without noise it is Inner.
//
// It serves the paths that Inner serves.
type Ancestral struct {
	Inner sampler.Rule
	Share Share
}

// Facts implements [sampler.Describer]. Preserving is that of Inner. It is false if Inner
// looks back at predicted noise, or is a solver of your own, for which this is unknown. The
// order is that of the law of the samples, and 0 unless Share is a [Converger].
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

// Coeffs implements [sampler.Rule]. It is the step of first order.
func (r Ancestral) Coeffs(from, to schedule.Point) (sampler.Coeffs, error) {
	moves, err := r.Plan([]schedule.Point{from, to})
	if err != nil {
		return sampler.Coeffs{}, err
	}
	return moves[0].Coeffs, nil
}

// Plan implements [sampler.Solver]. Its time grows with the square of the number of steps.
func (r Ancestral) Plan(points []schedule.Point) ([]sampler.Move, error) {
	if r.Inner == nil || r.Share == nil {
		return nil, fmt.Errorf("Ancestral: fields Inner (%v) and Share (%v) must both be set: %w", r.Inner, r.Share, sampler.ErrConfig)
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
		// The points after d move towards 0 in proportion, so that Inner sees how many
		// steps follow and where they end.
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
			// The step of first order is exact. Only what Inner adds to it is scaled.
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

// split returns the noise that a step keeps and the noise that it draws.
func (r Ancestral) split(from, to schedule.Point) (kept, fresh float64, err error) {
	if to.Noise == 0 {
		return 0, 0, nil
	}
	if kept, fresh, err = r.Share.Split(from, to); err != nil {
		return 0, 0, fmt.Errorf("Ancestral: %w", err)
	}
	if !(kept >= 0 && fresh >= 0 && math.Abs(math.Hypot(kept, fresh)-to.Noise) <= 1e-6) {
		return 0, 0, fmt.Errorf("Ancestral: %T keeps the noise %v and draws %v, which do not add up to the level %v as squares: %w", r.Share, kept, fresh, to.Noise, sampler.ErrConfig)
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
			return m, fmt.Errorf("Ancestral: %T evaluates the model %d times in %d steps, and Inner must do so once in each: %w", r.Inner, len(all), len(points)-1, sampler.ErrConfig)
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
		return m, fmt.Errorf("Ancestral: %T draws noise of its own, and Inner must draw none (Eta 0): %w", r.Inner, sampler.ErrConfig)
	}
	return m, nil
}

// down returns the point d of the path whose ratio of noise to signal is kept/to.Signal,
// and the scale rho from d to these.
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

// at returns the point with the given noise on the path of from and to.
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
