package solver

import (
	"fmt"
	"math"

	"cps/sampler"
	"cps/schedule"
)

// A Final says how the order of a multistep solver ends. The end is that of the steps
// which the solver plans, in a run or in a window of it.
type Final uint8

const (
	// KeepOrder keeps the order to the end. Only a step to noise 0 is of first order.
	KeepOrder Final = iota

	// LowerOrder: the last step is of first order, and the one before of second order at
	// most. Diffusers' lower_order_final does so in runs of fewer than 15 steps.
	LowerOrder

	// EulerFinal: the last step is of first order, as with diffusers' euler_at_final.
	EulerFinal
)

// String returns the name of the constant.
func (f Final) String() string {
	names := [...]string{"KeepOrder", "LowerOrder", "EulerFinal"}
	if int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("Final(%d)", uint8(f))
}

// DPMPlus is the multistep solver in the predicted sample. With Eta 0 it is DPM-Solver++
// of orders 1 to 3 (Lu et al., arXiv 2211.01095). Other Eta give its SDE; Eta 1 is the
// published one. With H = (1+η)h,
//
//	next = α'x̂0 + σ'e^{-ηh}x̂1 + σ'√(1-e^{-2ηh})ε + α'·(w₁D₁ - w₂D₂)
//	w₁ = φ₂(H)   w₂ = φ₃(H)   φ₂(H) = (e^{-H}-1)/H + 1   φ₃(H) = φ₂(H)/H - 1/2
//
// The D are divided differences of x̂0 in λ over steps of r = h₁/h and q = h₂/h:
//
//	order 2  D₁ = (x̂0 - x̂0₁)/r
//	order 3  D₂ = (D₁ - (x̂0₁ - x̂0₂)/q)/(r + q),  D₁ + r·D₂ for D₁
//
// Steps of order 2 take w₁ = (1-e^{-H})/2, or φ₂(H) if Heun is set. These are the
// published solver types midpoint and heun. k-diffusion's dpmpp_2m_sde is Order 2, its
// dpmpp_3m_sde is Order 3 with Heun. MixGRPO's solver is Order 2 with Eta 1 and
// LowerOrder. For the SDE of order 3, diffusers and MixGRPO have +1/2 in place of -1/2 in
// φ₃. That sign error leaves it at first order. Neither k-diffusion nor this package has
// it.
//
// D₂ is half of the second derivative times h², but the published weight is for the
// whole. So order 3 as published is only a better order 2. Taylor doubles w₂, which makes
// it order 3. Lu's solver type taylor does so in single steps.
//
// Order 1 is [sampler.FlowODE] with Eta 0 and [sampler.DPMSDEPlus] with Eta 1. Eta is any
// finite number ≥ 0. It preserves coefficients: differences of x̂0 add up to 0. It serves
// every path.
type DPMPlus struct {
	Order  int // 1, 2 or 3
	Eta    float64
	Heun   bool // the solver type heun, in steps of order 2
	Taylor bool // doubles w₂, in steps of order 3
	Final  Final
}

// Facts implements [sampler.Describer].
func (r DPMPlus) Facts() sampler.Facts {
	f := facts("DPMPlus", "2211.01095", r.Order, r.Eta, r.Taylor)
	f.Preserving = true
	return f
}

// Coeffs implements [sampler.Rule]. It is the step of first order.
func (r DPMPlus) Coeffs(from, to schedule.Point) (sampler.Coeffs, error) {
	f := r.Facts()
	s, err := newStep(f.Name, r.Eta, from, to)
	if err != nil || s.still() || r.Eta == 0 {
		return sampler.Coeffs{X0: to.Signal, X1: to.Noise}, err
	}
	rho, rest := s.e, s.rest // e^{-ηh}, and 1 - e^{-ηh} without cancellation
	if r.Eta != 1 {
		rho, rest = math.Pow(s.e, r.Eta), -math.Expm1(-r.Eta*s.h)
	}
	return sampler.Coeffs{X0: to.Signal, X1: rho * to.Noise, Eps: to.Noise * math.Sqrt(rest*(1+rho))}, nil
}

// Plan implements [sampler.Solver].
func (r DPMPlus) Plan(points []schedule.Point) ([]sampler.Move, error) {
	return multistep{
		rule: r, name: "DPMPlus", order: r.Order, eta: r.Eta, final: r.Final,
		weights: func(h float64, to schedule.Point, order int) (w1, w2 float64) {
			H := (1 + r.Eta) * h
			if order == 2 && !r.Heun {
				return to.Signal * (-math.Expm1(-H) / 2), 0
			}
			return to.Signal * phi2(H), -to.Signal * second(r.Taylor, phi3(H))
		},
		share: func(w float64) sampler.Past { return sampler.Past{X0: w} },
	}.plan(points)
}

// DPM is the multistep solver in the predicted noise. With Eta 0 it is DPM-Solver of
// orders 1 to 3 (Lu et al., arXiv 2206.00927). Other Eta give its SDE; Eta 1 is the
// published one, of orders 1 and 2 (arXiv 2211.01095):
//
//	next = α'x̂0 + σ'(1 - η(e^h-1))x̂1 + σ'√(η(e^{2h}-1))ε - (1+η)σ'·(w₁D₁ + w₂D₂)
//	w₁ = (e^h-1)/h - 1   w₂ = (e^h-1-h)/h² - 1/2
//
// The D are the divided differences of [DPMPlus], of x̂1 in place of x̂0. Steps of order
// 2 take w₁ = (e^h-1)/2 unless Heun is set. Taylor doubles w₂, as in DPMPlus.
//
// Order 1 is [sampler.FlowODE] with Eta 0 and [sampler.DPMSDE] with Eta 1. Eta is any
// finite number ≥ 0. Above 0, a step from signal 0 is not finite, which is an error
// (sampler.ErrSingular), and a step to noise 0 leaves noise. Only with Eta 0 does DPM
// preserve coefficients. It serves every path.
type DPM struct {
	Order  int // 1, 2 or 3
	Eta    float64
	Heun   bool // the solver type heun, in steps of order 2
	Taylor bool // doubles w₂, in steps of order 3
	Final  Final
}

// Facts implements [sampler.Describer].
func (r DPM) Facts() sampler.Facts {
	f := facts("DPM", "2206.00927", r.Order, r.Eta, r.Taylor)
	f.Preserving = r.Eta == 0
	return f
}

// Coeffs implements [sampler.Rule]. It is the step of first order.
func (r DPM) Coeffs(from, to schedule.Point) (sampler.Coeffs, error) {
	f := r.Facts()
	s, err := newStep(f.Name, r.Eta, from, to)
	switch {
	case err != nil || s.still() || r.Eta == 0:
		return sampler.Coeffs{X0: to.Signal, X1: to.Noise}, err
	case from.Signal == 0:
		return sampler.Coeffs{}, fmt.Errorf("%s: divides by the signal, which is 0 at noise %v: %w", f.Name, from.Noise, sampler.ErrSingular)
	}
	q := from.Noise * to.Signal / from.Signal // σ'e^h, finite at σ' = 0
	return sampler.Coeffs{
		X0:  to.Signal,
		X1:  to.Noise - r.Eta*(q*s.rest),
		Eps: math.Sqrt(r.Eta * (q * s.rest) * (q + to.Noise)),
	}, nil
}

// Plan implements [sampler.Solver].
func (r DPM) Plan(points []schedule.Point) ([]sampler.Move, error) {
	return multistep{
		rule: r, name: "DPM", order: r.Order, eta: r.Eta, final: r.Final,
		weights: func(h float64, to schedule.Point, order int) (w1, w2 float64) {
			a := -(1 + r.Eta) * to.Noise
			if order == 2 && !r.Heun {
				return a * (math.Expm1(h) / 2), 0
			}
			return -a * phi2(-h), a * second(r.Taylor, phi3(-h)) // (e^h-1)/h - 1 and (e^h-1-h)/h² - 1/2
		},
		share: func(w float64) sampler.Past { return sampler.Past{X1: w} },
	}.plan(points)
}

// second returns the weight w₂ of a step of order 3: w, or twice that with taylor.
func second(taylor bool, w float64) float64 {
	if taylor {
		return 2 * w
	}
	return w
}
