// Package guidance adds classifier-free guidance (Ho and Salimans, arXiv 2207.12598) to any
// model, for sampling and for training through it.
package guidance

import (
	"context"
	"errors"
	"fmt"
	"math"

	"cps/internal/room"
	"cps/sampler"
)

var (
	// ErrConfig reports a setting that is out of range.
	ErrConfig = errors.New("bad configuration")
	// ErrRescale reports an output that cannot be rescaled: it is 0, or not finite.
	ErrRescale = errors.New("the output is 0 or not finite, and cannot be rescaled")
)

// A Guidance mixes the outputs of a model with and without a condition,
//
//	g = u + Scale·(c - u)
//
// Row r of a [sampler.Call] asks for c, and row ^r asks for u. The model decides what ^r
// stands for: no condition, or a negative prompt. Scale is the guidance_scale of diffusers.
//
// A Scale of 1 is no guidance: the output is c, and the model is not asked for u. A Scale of
// 0 stands for 1, so the zero Guidance is none. By the formula, 0 would give u alone; for
// that, ask the model about rows ^r.
//
// Low and High limit guidance to times in [Low, High], in the units of the model, as in
// Kynkäänniemi et al., arXiv 2404.07724. If both are 0, guidance acts everywhere. Outside
// the interval a row's output is c, and a Call without a row inside asks the model once.
//
// Rescale is φ of Lin et al., arXiv 2305.08891 (guidance_rescale of diffusers), in [0, 1]:
//
//	output = (φ·‖c‖/‖g‖ + 1 - φ)·g
//
// The norms are those of a row. Rescale acts on guided rows alone. Published code takes
// standard deviations in place of norms. Both agree if the mean of a row is 0. This package
// takes norms, since the kernels of every device compute them.
type Guidance struct {
	Scale     float64
	Low, High float64
	Rescale   float64
}

// weight returns the weight of c for a row at the given time, and whether the row is guided.
func (g Guidance) weight(time float64) (w float64, inside bool) {
	if (g.Low != 0 || g.High != 0) && !(g.Low <= time && time <= g.High) {
		return 1, false
	}
	if w = float64(float32(g.Scale)); g.Scale == 0 || w == 1 {
		return 1, false
	}
	return w, true
}

// Check returns an error (ErrConfig) for a setting that is out of range.
func (g Guidance) Check() error {
	switch {
	case math.IsNaN(g.Scale) || math.IsInf(float64(float32(g.Scale)), 0):
		return fmt.Errorf("guidance: %w: Scale %v is not finite", ErrConfig, g.Scale)
	case !(g.Rescale >= 0 && g.Rescale <= 1):
		return fmt.Errorf("guidance: %w: Rescale %v is not in [0, 1]", ErrConfig, g.Rescale)
	case !(g.Low <= g.High):
		return fmt.Errorf("guidance: %w: the interval of times [Low, High] = [%v, %v] is empty", ErrConfig, g.Low, g.High)
	}
	return nil
}

// A Guided is a model under guidance. It serves one goroutine at a time. It keeps its memory
// from call to call, so calls allocate only until they have met the largest batch.
type Guided[B any] struct {
	m sampler.Memory[B]
	f sampler.Model[B]
	g Guidance

	c, u, d room.Room[B]
	rows    []int // of the Call, without their conditions
	batch   sampler.Batch
	w       []float64 // weight of c

	factor         []float64 // of g
	cc, gg, dd, dg []float64 // sums of c², g², dv², and (dv + k·g)² of each row
	a, b, k        []float64
}

// New returns the model f under guidance. Settings out of range are an error (ErrConfig).
func New[B any](m sampler.Memory[B], f sampler.Model[B], g Guidance) (*Guided[B], error) {
	if err := g.Check(); err != nil {
		return nil, err
	}
	if m == nil || f == nil {
		return nil, fmt.Errorf("guidance: %w: the memory or the model is nil", ErrConfig)
	}
	return &Guided[B]{m: m, f: f, g: g}, nil
}

// Free gives back the memory of the device. The Guided stays usable and makes new memory.
func (g *Guided[B]) Free() error {
	return errors.Join(g.c.Free(g.m), g.u.Free(g.m), g.d.Free(g.m))
}

// Velocity is the guided model, a [sampler.Model]. It asks the model about all rows of c
// with their conditions. If at least one row is guided at its time, Velocity then asks about
// all rows without their conditions. A row that c itself asks for as ^r is not guided. With
// Rescale, Velocity waits for the device.
func (g *Guided[B]) Velocity(ctx context.Context, c sampler.Call[B]) error {
	if err := g.f(ctx, c); err != nil {
		return err
	}
	if !g.prepare(c) {
		return nil
	}
	u, err := g.u.Like(g.m, len(c.Rows)*c.Dim, c.V)
	if err != nil {
		return fmt.Errorf("guidance: %w", err)
	}
	if err := g.without(ctx, c, u); err != nil {
		return err
	}
	if g.g.Rescale == 0 {
		g.mix(c.V, u, c.V)
		return nil
	}
	g.mix(u, u, c.V)
	if err := g.measure(c.V, u); err != nil {
		return err
	}
	var none B
	g.m.Step(c.V, u, none, g.set(func(i int) sampler.Affine { return sampler.Affine{X: g.factor[i]} }), nil)
	return nil
}

// Backward takes dv = ∂loss/∂output of Velocity back to the model. It calls backward for the
// rows with their conditions and, if a row is guided, for the rows without. Each call gets
// the derivative with respect to the model's own output. backward adds up the gradients.
//
// backward must differentiate at the Call that it gets, whichever Call the model answered
// last. c.V of that Call is memory for the model's output and may hold anything. With
// Rescale, Backward asks the model again first.
func (g *Guided[B]) Backward(ctx context.Context, c sampler.Call[B], dv B, backward func(ctx context.Context, c sampler.Call[B], dv B) error) error {
	if !g.prepare(c) {
		return backward(ctx, c, dv)
	}
	n := len(c.Rows) * c.Dim
	var none B
	cv, err := g.c.Like(g.m, n, c.V)
	var u, d B
	if err == nil {
		u, err = g.u.Like(g.m, n, c.V)
	}
	if err == nil {
		d, err = g.d.Like(g.m, n, dv)
	}
	if err != nil {
		return fmt.Errorf("guidance: %w", err)
	}
	own := c
	own.V = cv
	dg := dv // ∂loss/∂g
	if g.g.Rescale == 0 {
		g.m.Step(d, dg, none, g.set(func(i int) sampler.Affine { return sampler.Affine{X: g.w[i]} }), nil)
	} else {
		if err := g.f(ctx, own); err != nil {
			return err
		}
		if err := g.without(ctx, c, u); err != nil {
			return err
		}
		g.mix(u, u, cv)
		if err := g.slopes(cv, u, dv); err != nil {
			return err
		}
		// ∂loss/∂g = factor·dv + a·g and ∂loss/∂c = w·∂loss/∂g + b·c
		g.m.Step(u, dv, u, g.set(func(i int) sampler.Affine { return sampler.Affine{X: g.factor[i], V: g.a[i]} }), nil)
		g.m.Step(d, u, cv, g.set(func(i int) sampler.Affine { return sampler.Affine{X: g.w[i], V: g.b[i]} }), nil)
		dg = u
	}
	if err := backward(ctx, own, d); err != nil {
		return err
	}
	g.m.Step(d, dg, none, g.set(func(i int) sampler.Affine { return sampler.Affine{X: 1 - g.w[i]} }), nil)
	own.V, own.Rows = u, g.rows // nothing else needs u now
	return backward(ctx, own, d)
}

// prepare sets the weights of all rows, and reports whether any row is guided.
func (g *Guided[B]) prepare(c sampler.Call[B]) (any bool) {
	n := len(c.Rows)
	if cap(g.rows) < n {
		g.rows, g.batch.Rows = make([]int, n), make([]sampler.Row, n)
		for _, p := range g.lists() {
			*p = make([]float64, n)
		}
	}
	g.rows, g.batch.Rows = g.rows[:n], g.batch.Rows[:n]
	for _, p := range g.lists() {
		*p = (*p)[:n]
	}
	g.batch.Dim = c.Dim
	for i, r := range c.Rows {
		w, inside := g.g.weight(c.Times[i])
		g.rows[i] = ^r
		if r < 0 {
			w, inside, g.rows[i] = 1, false, r
		}
		g.w[i] = w
		any = any || inside
	}
	return any
}

func (g *Guided[B]) lists() [9]*[]float64 {
	return [...]*[]float64{&g.w, &g.factor, &g.cc, &g.gg, &g.dd, &g.dg, &g.a, &g.b, &g.k}
}

// without asks the model about all rows without their conditions, and stores its output in
// u.
func (g *Guided[B]) without(ctx context.Context, c sampler.Call[B], u B) error {
	c.V, c.Rows = u, g.rows
	return g.f(ctx, c)
}

// mix stores (1-w)·u + w·c in dst.
func (g *Guided[B]) mix(dst, u, c B) {
	g.m.Step(dst, u, c, g.set(func(i int) sampler.Affine {
		return sampler.Affine{X: 1 - g.w[i], V: g.w[i]}
	}), nil)
}

// set returns the batch in which row i takes the weights of(i).
func (g *Guided[B]) set(of func(i int) sampler.Affine) sampler.Batch {
	for i := range g.batch.Rows {
		g.batch.Rows[i] = sampler.Row{Affine: of(i)}
	}
	return g.batch
}

// measure stores the factor of every row, from the norms of c and of v, which holds g.
func (g *Guided[B]) measure(c, v B) error {
	var none B
	b := g.set(func(int) sampler.Affine { return sampler.Affine{} })
	g.m.SumSquares(g.cc, c, none, none, b)
	g.m.SumSquares(g.gg, v, none, none, b)
	if err := g.m.Sync(); err != nil {
		return fmt.Errorf("guidance: device: %w", err)
	}
	for i := range g.factor {
		if g.factor[i] = 1; g.w[i] == 1 {
			continue
		}
		r := math.Sqrt(g.cc[i] / g.gg[i])
		if !(r > 0) || math.IsInf(r, 0) {
			return fmt.Errorf("guidance: row %d of the Call: %w", i, ErrRescale)
		}
		g.factor[i] = g.g.Rescale*r + 1 - g.g.Rescale
	}
	return nil
}

// slopes also stores what the factors add to ∂loss/∂g and ∂loss/∂c. With r = ‖c‖/‖g‖ and p =
// ⟨dv, g⟩·φ·r,
//
//	a·g = -p/‖g‖²·g   b·c = p/‖c‖²·c
//
// k scales g to the length of dv, so that the inner product loses no digits.
func (g *Guided[B]) slopes(c, v, dv B) error {
	var none B
	g.m.SumSquares(g.dd, dv, none, none, g.set(func(int) sampler.Affine { return sampler.Affine{} }))
	if err := g.measure(c, v); err != nil {
		return err
	}
	for i := range g.k {
		g.k[i] = 0
		if g.gg[i] > 0 {
			g.k[i] = float64(float32(math.Sqrt(g.dd[i] / g.gg[i])))
		}
	}
	g.m.SumSquares(g.dg, dv, none, v, g.set(func(i int) sampler.Affine { return sampler.Affine{V: -g.k[i]} }))
	if err := g.m.Sync(); err != nil {
		return fmt.Errorf("guidance: device: %w", err)
	}
	for i := range g.a {
		g.a[i], g.b[i] = 0, 0
		if k := g.k[i]; g.w[i] != 1 && k > 0 {
			p := (g.dg[i] - g.dd[i] - k*k*g.gg[i]) / (2 * k) * g.g.Rescale * math.Sqrt(g.cc[i]/g.gg[i])
			g.a[i], g.b[i] = -p/g.gg[i], p/g.cc[i]
		}
	}
	return nil
}
