package sampler

import "fmt"

// A History does for the rows of a batch what a [Device] does not know: it makes what
// transitions that look back step from. [Rollout], [Replay] and [CheckOnPolicy] have
// their own; a trainer takes one for its minibatches, whose rows may stand at different
// transitions, also at some that do not look back.
//
// With x and v the latents and outputs of an evaluation, and kept(j, i) vector i of the
// evaluation j back, all of the same rows, a transition is
//
//	h.Base(base, x, kept, b)                 base = X·x + Σ Weight·kept(Back, Vector)
//	d.SumSquares(sq, next, base, v, b)       or Step: base + V·v + Eps·ε
//	h.Backward(dv, next, base, v, b, scale)  ∂/∂v of every evaluation
//	h.Keep(kept0, 0, x, v, b)                for later transitions
//
// All of it is Step with Eps 0 and Grad, in an order that is frozen: base is made term by
// term as [Transition.Base] lists them, whatever rows stand beside. So the bits of a
// replay are those of the rollout. Buffers of 16 bits round base and kept vectors to
// their type; in float32 buffers nothing is rounded.
//
// Methods take b moved to the transitions ([Sampler.SetStep], [Sampler.Row]). A row with
// other weights, as a span that stands still, looks back at nothing. They panic if the
// sampler has no transition of a row's noise step. They allocate nothing from the second
// call on for batches that do not grow. A History serves one goroutine at a time.
type History[B any] struct {
	Device  Device[B]
	Sampler *Sampler

	rows  []Row
	scale []float64
}

// scratch returns b with rows of its own and no noise.
func (h *History[B]) scratch(b Batch) Batch {
	if cap(h.rows) < len(b.Rows) {
		h.rows = make([]Row, len(b.Rows))
	}
	h.rows = h.rows[:len(b.Rows)]
	for i, r := range b.Rows {
		h.rows[i] = Row{ID: r.ID, Block: r.Block}
	}
	b.Rows, b.Storage = h.rows, Float32
	return b
}

// Keep stores vector i of the evaluations of the rows of b in dst, which is neither x nor
// v. [Sampler.Vectors] says how many there are. A row that has no vector i gets zeros. It
// panics if i is negative.
func (h *History[B]) Keep(dst B, i int, x, v B, b Batch) {
	if i < 0 {
		panic(fmt.Sprintf("sampler: History.Keep: vector %d is negative", i))
	}
	rows := h.scratch(b)
	for k, r := range b.Rows {
		if t := h.Sampler.taken(r); t >= 0 && i < len(h.Sampler.steps[t].Keep) {
			rows.Rows[k].Affine = h.Sampler.steps[t].Keep[i]
		}
	}
	h.Device.Step(dst, x, v, rows, nil)
}

// Base stores in dst what the rows of b step from: the latents x of a row that does not
// look back. It asks for no kept vector that no row reads. dst is x or none of the
// buffers.
func (h *History[B]) Base(dst, x B, kept func(back, vector int) B, b Batch) {
	s := h.Sampler
	depth, vectors := 0, 0
	for _, r := range b.Rows {
		for _, t := range s.baseOf(r) {
			depth, vectors = max(depth, t.Back), max(vectors, t.Vector+1)
		}
	}
	sum := h.scratch(b)
	from, copied := x, false
	for back := 1; back <= depth; back++ {
		for vector := range vectors {
			reads := false
			for k, r := range b.Rows {
				sum.Rows[k].Affine = Affine{X: 1} // waits, or is done
				base := s.baseOf(r)
				for i, t := range base {
					if t.Back != back || t.Vector != vector {
						continue
					}
					reads = true
					sum.Rows[k].V = t.Weight
					if i == 1 { // its first: the latents get their weight only now
						sum.Rows[k].X = base[0].Weight
					}
				}
			}
			if reads {
				h.Device.Step(dst, from, kept(back, vector), sum, nil)
				from, copied = dst, true
			}
		}
	}
	if !copied {
		for k := range sum.Rows {
			sum.Rows[k].Affine = Affine{X: 1}
		}
		var none B
		h.Device.Step(dst, x, none, sum, nil)
	}
}

// Mean stores base + V·v, the mean of the transitions of the rows of b, in dst, without
// rounding it to the storage type. The divergence of two policies is that of their means
// ([cps/logprob.Form.MeanKL]).
func (h *History[B]) Mean(dst, base, v B, b Batch) {
	rows := h.scratch(b)
	for k, r := range b.Rows {
		rows.Rows[k].Affine = Affine{X: r.X, V: r.V}
	}
	h.Device.Step(dst, base, v, rows, nil)
}

// Backward adds the gradient of the transitions of the rows of b to dv(j), that with
// respect to the outputs j evaluations back, 0 for their own: one Grad each. next, base
// and v are those of SumSquares. The scale of a row is that of Grad for its own output, from
// [cps/logprob.Form.GradScale] or MeanKL's; those of earlier outputs are in proportion.
func (h *History[B]) Backward(dv func(back int) B, next, base, v B, b Batch, scale []float64) {
	s := h.Sampler
	depth := 0
	for _, r := range b.Rows {
		if t := s.baseOf(r); len(t) > 0 {
			depth = max(depth, t[len(t)-1].Back)
		}
	}
	h.Device.Grad(dv(0), next, base, v, b, scale)
	if cap(h.scale) < len(scale) {
		h.scale = make([]float64, len(scale))
	}
	for back := 1; back <= depth; back++ {
		some := h.scale[:len(scale)]
		reads := false
		for k, r := range b.Rows {
			some[k] = 0
			if i := s.taken(r); i >= 0 && scale[k] != 0 {
				if share := s.Share(i, back); share != 0 {
					some[k] = scale[k] * (share / r.V)
					reads = true
				}
			}
		}
		if reads {
			h.Device.Grad(dv(back), next, base, v, b, some)
		}
	}
}

// baseOf returns the terms of what a row steps from.
func (s *Sampler) baseOf(r Row) []Term {
	if i := s.taken(r); i >= 0 {
		return s.steps[i].Base
	}
	return nil
}

// Share returns the weight in the mean of transition i of the model's output that many
// evaluations back, ∂mean/∂v: Affine.V of its own.
func (s *Sampler) Share(i, back int) (v float64) {
	t := s.at("Share", i)
	if back == 0 {
		return t.Affine.V
	}
	for _, term := range t.Base {
		if term.Back == back {
			v += float64(term.Weight * s.steps[i-back].Keep[term.Vector].V)
		}
	}
	return v
}

// Vectors returns how many vectors are kept of an evaluation at most: 0 where no
// transition looks back, and 2 where both predictions are.
func (s *Sampler) Vectors() int { return s.vectors }
