package solver

import (
	"fmt"
	"math"

	"cps/sampler"
	"cps/schedule"
)

// A Share says how much of the noise of the next point a step of [Ancestral] draws anew.
// With t = from.Noise and s = to.Noise, a share f in [0, 1] draws f·s and keeps
// √(1-f²)·s. The shares of this package are comparable values without state.
//
// RES4LYF has other noise modes, which are not here. Its soft and soft-linear exceed 1,
// and its vpsde uses the step down as the scale.
type Share interface {
	// Split returns the noise that is kept and the noise that is drawn, with kept² +
	// fresh² = to.Noise². [Ancestral] calls it only at to.Noise > 0.
	Split(from, to schedule.Point) (kept, fresh float64, err error)
}

// A Converger is a Share whose noise in a step tends to 0 with the length of the step.
// Then the distribution of samples tends to the model's. With other shares, ever more
// steps renew all noise.
type Converger interface {
	Share
	// Order returns the order of the distribution of [Ancestral], given the order of Inner.
	Order(inner int) int
}

// Constant is the same share f in every step, RES4LYF's hard. It lies in [0, 1].
type Constant float64

// Split implements [Share].
func (f Constant) Split(_, to schedule.Point) (kept, fresh float64, err error) {
	if err := unit("Constant", "share", float64(f)); err != nil {
		return 0, 0, err
	}
	return part(to, float64(f), 1-float64(f))
}

// CPS is f = sin(ηπ/2), the share of [sampler.FlowCPS]. Eta lies in [0, 1].
type CPS float64

// Split implements [Share].
func (eta CPS) Split(from, to schedule.Point) (kept, fresh float64, err error) {
	c, err := sampler.FlowCPS{Eta: float64(eta)}.Coeffs(from, to)
	return c.X1, c.Eps, err
}

// Exponential is f = √(1 - (s/t)^{2η}), RES4LYF's exp. Eta is any finite number ≥ 0.
type Exponential float64

// Split implements [Share].
func (eta Exponential) Split(from, to schedule.Point) (kept, fresh float64, err error) {
	if !(eta >= 0) || math.IsInf(float64(eta), 1) {
		return 0, 0, fmt.Errorf("Exponential: eta %v is not a finite number ≥ 0: %w", float64(eta), sampler.ErrEta)
	}
	fall := float64(eta) * math.Log1p(-(from.Noise-to.Noise)/from.Noise)
	return math.Exp(fall) * to.Noise, math.Sqrt(-math.Expm1(2*fall)) * to.Noise, nil
}

// Order implements [Converger].
func (Exponential) Order(inner int) int { return min(inner, 1) }

// Softer is f = 1 - √(1 - η²(t² - s²)/t²), RES4LYF's softer. Eta lies in [0, 1]. As steps
// get shorter, the noise of a whole run tends to 0, and the run to Inner's.
type Softer float64

// Split implements [Share].
func (eta Softer) Split(from, to schedule.Point) (kept, fresh float64, err error) {
	if err := unit("Softer", "eta", float64(eta)); err != nil {
		return 0, 0, err
	}
	t, s := from.Noise, to.Noise
	y := float64(eta*eta) * ((t - s) / t) * ((t + s) / t)
	root := math.Sqrt(1 - y)
	return part(to, y/(1+root), root)
}

// Order implements [Converger].
func (Softer) Order(inner int) int { return inner }

// Sinusoidal is f = η·sin²(πs), RES4LYF's sinusoidal. It draws most noise in the middle.
// Eta lies in [0, 1].
type Sinusoidal float64

// Split implements [Share].
func (eta Sinusoidal) Split(_, to schedule.Point) (kept, fresh float64, err error) {
	if err := unit("Sinusoidal", "eta", float64(eta)); err != nil {
		return 0, 0, err
	}
	sin := math.Sin(math.Pi * to.Noise)
	f := float64(eta) * (sin * sin)
	return part(to, f, 1-f)
}

// Eps is f = η·(s/t)·√(t² - s²), RES4LYF's eps. Eta lies in [0, 1].
type Eps float64

// Split implements [Share].
func (eta Eps) Split(from, to schedule.Point) (kept, fresh float64, err error) {
	if err := unit("Eps", "eta", float64(eta)); err != nil {
		return 0, 0, err
	}
	t, s := from.Noise, to.Noise
	f := float64(eta) * (s / t) * math.Sqrt((t-s)*(t+s))
	return part(to, f, 1-f)
}

// Order implements [Converger].
func (Eps) Order(inner int) int { return min(inner, 1) }

// Lorentzian is f = η/√(1 + s²), RES4LYF's lorentzian. So it draws f·s = η·√(1 -
// 1/(s²+1)). Eta lies in [0, 1].
type Lorentzian float64

// Split implements [Share].
func (eta Lorentzian) Split(_, to schedule.Point) (kept, fresh float64, err error) {
	if err := unit("Lorentzian", "eta", float64(eta)); err != nil {
		return 0, 0, err
	}
	f := float64(eta) / math.Sqrt(1+float64(to.Noise*to.Noise))
	return part(to, f, 1-f)
}

// ER4 keeps √(1-f²) = ψ(s)/ψ(t) with ψ(x) = e^{x^η} + 10, RES4LYF's er4. This is ER-SDE's
// noise scale as a function of the noise; [sampler.ERSDE] has it as a function of the
// ratio of noise to signal. Eta, the exponent, is any finite number ≥ 0; 0 draws nothing.
type ER4 float64

// Split implements [Share].
func (eta ER4) Split(from, to schedule.Point) (kept, fresh float64, err error) {
	if !(eta >= 0) || math.IsInf(float64(eta), 1) {
		return 0, 0, fmt.Errorf("ER4: eta %v is not a finite number ≥ 0: %w", float64(eta), sampler.ErrEta)
	}
	t, s := math.Pow(from.Noise, float64(eta)), math.Pow(to.Noise, float64(eta))
	rest := -math.Expm1(s-t) / (1 + 10*math.Exp(-t)) // 1 - ψ(s)/ψ(t)
	return (1 - rest) * to.Noise, math.Sqrt(rest*(2-rest)) * to.Noise, nil
}

// Order implements [Converger].
func (ER4) Order(inner int) int { return min(inner, 1) }

// NoiseOf draws as much noise as a step of another rule draws at first order. A rule that
// draws more than the level of the next point is an error (sampler.ErrNoEta).
type NoiseOf struct{ Rule sampler.Rule }

// Split implements [Share].
func (n NoiseOf) Split(from, to schedule.Point) (kept, fresh float64, err error) {
	if n.Rule == nil {
		return 0, 0, fmt.Errorf("NoiseOf: the rule is nil: %w", sampler.ErrConfig)
	}
	f := sampler.FactsOf(n.Rule)
	c, err := n.Rule.Coeffs(from, to)
	switch s := to.Noise; {
	case err != nil:
		return 0, 0, fmt.Errorf("NoiseOf: %w", err)
	case f.Preserving && c.X1 >= 0:
		return c.X1, c.Eps, nil // the rule's own X1, bit for bit
	case !(c.Eps <= s*(1+0x1p-50)): // a few roundings above the level count as the level
		return 0, 0, fmt.Errorf("NoiseOf: %s injects %v into the level %v: %w", f.Name, c.Eps, s, sampler.ErrNoEta)
	default:
		fresh = min(c.Eps, s)
		return min(math.Sqrt(s-fresh)*math.Sqrt(s+fresh), s), fresh, nil
	}
}

// Order implements [Converger]. It returns at most the order of the other rule.
func (n NoiseOf) Order(inner int) int {
	if n.Rule == nil {
		return 0
	}
	return min(inner, 1, sampler.FactsOf(n.Rule).Order)
}

// part splits the noise of a point by a share f. less is 1 - f without cancellation.
func part(to schedule.Point, f, less float64) (kept, fresh float64, err error) {
	return math.Sqrt(less*(1+f)) * to.Noise, f * to.Noise, nil
}

func unit(name, what string, x float64) error {
	if x >= 0 && x <= 1 {
		return nil
	}
	return fmt.Errorf("%s: %s %v is not in [0, 1]: %w", name, what, x, sampler.ErrEta)
}
