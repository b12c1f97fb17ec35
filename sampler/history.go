package sampler

import "fmt"

// A History computes the base from which a transition that looks back steps. Devices know
// nothing of it. [Rollout], [Replay] and [CheckOnPolicy] have a History of their own. A
// trainer, such as that of cps/grpo/trainer, makes one for its minibatches. Their rows may
// stand at different transitions; some may not look back at all.
//
// Let x and v be the latents and outputs of an evaluation. Let kept(j, i) be vector i of
// the evaluation j back, for the same rows. Then a transition is
//
//	h.Base(base, x, kept, b)                 base = X·x + Σ Weight·kept(Back, Vector)
//	d.SumSquares(sq, next, base, v, b)       or Step: base + V·v + Eps·ε
//	h.Backward(dv, next, base, v, b, scale)  ∂/∂v of every evaluation
//	h.Keep(kept0, 0, x, v, b)                for later transitions
//
// These methods call Step with Eps 0, and Grad, in a frozen order. The base of a row is
// added up term by term as [Transition.Base] lists them, whatever rows stand beside it.
// So replays give the bits of the rollout. Buffers of 16 bits round the base and the kept
// vectors to their type. Float32 buffers round nothing.
//
// b must stand at the transitions ([Sampler.SetStep], [Sampler.Row]). A row with other
// weights looks back at nothing, such as a span that waits. Methods panic if the sampler
// has no transition of a row's noise step. From the second call on they allocate nothing,
// if batches do not grow. A History serves one goroutine at a time.
type History[B any] struct {
	Device  Device[B]
	Sampler *Sampler

	rows  []Row
	scale []float64
}

// scratch returns b with rows that belong to h. They have weight 0, and nothing is rounded.
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

// Keep stores vector i of the evaluation in dst, for the rows of b. dst is neither x nor
// v. [Sampler.Vectors] returns how many vectors there are. A row without vector i gets
// zeros. Keep panics if i is negative.
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

// Base stores the bases of the rows of b in dst. A row that does not look back steps from
// its latents x. Base calls kept only for vectors that some row reads. dst may be x, but
// none of the kept buffers.
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
				sum.Rows[k].Affine = Affine{X: 1} // leaves the row's sum as it is
				base := s.baseOf(r)
				for i, t := range base {
					if t.Back != back || t.Vector != vector {
						continue
					}
					reads = true
					sum.Rows[k].V = t.Weight
					if i == 1 { // the row's first term also applies the weight of the latents
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

// Mean stores base + V·v in dst: the mean of each row's transition, not rounded to the
// storage type. The divergence of two policies is that of their means
// ([cps/logprob.Form.MeanKL]).
func (h *History[B]) Mean(dst, base, v B, b Batch) {
	rows := h.scratch(b)
	for k, r := range b.Rows {
		rows.Rows[k].Affine = Affine{X: r.X, V: r.V}
	}
	h.Device.Step(dst, base, v, rows, nil)
}

// Backward adds the gradient of the rows' transitions to dv(j), for each evaluation j
// back that a row reads; dv(0) is for the rows' own outputs. Each takes one Grad. next,
// base and v are those of SumSquares. scale is the one that Grad takes for a row's own
// output, from [cps/logprob.Form.GradScale] or MeanKL. Backward scales it for earlier
// outputs.
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

// baseOf returns the terms of the base of a row, or nil if the row does not look back.
func (s *Sampler) baseOf(r Row) []Term {
	if i := s.taken(r); i >= 0 {
		return s.steps[i].Base
	}
	return nil
}

// Share returns ∂mean/∂v: how the mean of transition i depends on the model's output that
// many evaluations back. For back 0 it is Affine.V of transition i.
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

// Vectors returns how many vectors are kept of an evaluation, at most: 0 if no transition
// looks back, and 2 if both predictions are kept.
func (s *Sampler) Vectors() int { return s.vectors }
