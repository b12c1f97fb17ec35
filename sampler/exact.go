package sampler

import (
	"math"

	"cps/schedule"

	"gonum.org/v1/gonum/integrate/quad"
)

// Exact solves the SDE of a diffusion coefficient with the predicted clean sample frozen
// over the step. [FlowSDE] freezes the drift as well. The solution is
//
//	X0 = 1-s   X1 = sρ   Eps = s√(1-ρ²)   ρ = exp(-½∫ₛᵗ g(u)²/u² du)
//
// It preserves coefficients. Two steps have the distribution of one if the prediction does
// not change between them. With Ratio(√2) it is [DPMSDEPlus]. With any Ratio it is the
// sampler published as Precise (arXiv 2605.23522), and its first step from t = 1
// replaces all noise. The published code clamps every standard deviation to at least
// 1e-6; this rule does not. It serves the rectified-flow path only.
//
// A [Decayer] knows the integral in closed form, as all diffusions of this package do.
// For others the integral is computed numerically, for smooth g to a relative error of
// 1e-12. A jump costs accuracy. Quadrature in log u may miss a feature narrower than a
// ten-thousandth of the step's log(t/s): a g with such features must be a Decayer.
// ErrDiffusion says that the integral does not converge.
type Exact struct{ Diffusion Diffusion }

// Facts implements [Describer].
func (Exact) Facts() Facts {
	return Facts{Source: "Precise 2605.23522", Path: FlowPath, Preserving: true}.first()
}

// Coeffs implements [Rule].
func (r Exact) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	if err := f.down(from, to); err != nil {
		return Coeffs{}, err
	}
	if err := f.diffusion(r.Diffusion); err != nil {
		return Coeffs{}, err
	}
	t, s := from.Noise, to.Noise
	if s == t || s == 0 { // at s = 0 no noise is left to mix
		return ode(to), nil
	}
	a, err := f.decay(r.Diffusion, t, s)
	if err != nil {
		return Coeffs{}, err
	}
	return f.step(preserving(to, math.Exp(-a), math.Sqrt(-math.Expm1(-2*a))))
}

// decay returns ½∫ₛᵗ g(u)²/u² du.
func (f Facts) decay(d Diffusion, t, s float64) (float64, error) {
	c, ok := d.(Decayer)
	if !ok {
		return f.integrate(d, t, s)
	}
	a := c.Decay(t, s)
	if a >= 0 {
		return a, nil
	}
	return 0, f.fail(ErrDiffusion, "%s: Decay(%v, %v) = %v is negative or NaN", typeName(d), t, s, a)
}

// integrate returns ½∫ₛᵗ g(u)²/u² du by adaptive Gauss-Legendre quadrature in log(u/s).
// All closed forms of this package are smooth in log(u/s). It halves the panel with the
// largest error until the sum of errors is small beside the sum.
func (f Facts) integrate(d Diffusion, t, s float64) (float64, error) {
	const (
		firstPanels = 256 // no two of their nodes are farther apart than width/3000
		maxPanels   = 2048
		tol         = 1e-12
		tiny        = 1e-300 // where g² has lost its digits
	)
	var bad error
	integrand := func(w float64) float64 {
		u := min(s*math.Exp(w), t)
		g := d.G(u, u)
		if bad == nil && !(g >= 0 && g <= math.MaxFloat64) {
			bad = f.fail(ErrDiffusion, "%s: g(%v) = %v is not a finite number ≥ 0", typeName(d), u, g)
		}
		return g * (g / u) / 2
	}
	gauss := func(n int) func(a, b float64) float64 {
		x, weight := make([]float64, n), make([]float64, n)
		quad.Legendre{}.FixedLocations(x, weight, -1, 1)
		return func(a, b float64) float64 {
			var sum float64
			for i, x := range x {
				sum += weight[i] * integrand(a+(b-a)*((1+x)/2))
			}
			return sum * ((b - a) / 2)
		}
	}
	coarse, fine := gauss(12), gauss(20)
	type panel struct{ a, b, sum, err float64 }
	measure := func(a, b float64) panel {
		sum := fine(a, b)
		return panel{a, b, sum, math.Abs(sum - coarse(a, b))}
	}
	var panels []panel
	width := logRatio(t, s)
	for i := range firstPanels {
		panels = append(panels, measure(width*float64(i)/firstPanels, width*float64(i+1)/firstPanels))
	}
	for bad == nil {
		var sum, err float64
		worst := 0
		for i, p := range panels {
			sum += p.sum
			err += p.err
			if p.err > panels[worst].err {
				worst = i
			}
		}
		switch {
		case err <= max(tol*sum, tiny):
			return sum, nil
		case math.IsInf(sum, 1): // not a pole, which a node would have to hit: the sum is too large for a float64
			return math.Inf(1), nil
		}
		p := panels[worst]
		m := p.a + (p.b-p.a)/2
		if len(panels) == maxPanels {
			return 0, f.fail(ErrDiffusion, "%s: the integral of g²/u² from %v to %v does not converge near u = %v",
				typeName(d), s, t, s*math.Exp(m))
		}
		panels[worst] = measure(p.a, m)
		panels = append(panels, measure(m, p.b))
	}
	return 0, bad
}
