package trainer

import (
	"cmp"
	"errors"
	"iter"
	"slices"

	"cps/grpo"
	"cps/internal/room"
	"cps/sampler"
)

// A history describes the trained transitions of a run that look back.
type history struct {
	evaluations [][]int // evaluations of each transition, ascending, its own last; nil for transitions that are not trained
	depth       int     // how far back trained transitions look at most
	vectors     int     // number of vectors of one evaluation that trained transitions read at most
	row         []int   // row of each evaluation in the gathered Call, [rows, transitions]; -1: none
}

// looks reports whether a trained transition looks back.
func (r *Run[B]) looks() bool { return r.history.depth > 0 }

// findHistory finds the evaluations that trained transitions look back at. It sets
// r.asks, the transitions at which training evaluates the policy.
func (r *Run[B]) findHistory() {
	s := r.Sampler
	r.asks = grow(r.asks, s.Steps())
	clear(r.asks)
	h := &r.history
	h.depth, h.vectors = 0, 0
	for _, i := range r.Steps {
		r.asks[i] = true
		for _, term := range s.At(i).Base {
			r.asks[i-term.Back] = true
			h.depth, h.vectors = max(h.depth, term.Back), max(h.vectors, term.Vector+1)
		}
	}
	if h.depth == 0 {
		return
	}
	h.evaluations = make([][]int, s.Steps())
	for _, i := range r.Steps {
		h.evaluations[i] = s.Evaluations(i)
	}
	h.row = grow(h.row, len(r.all)*s.Steps())
	for i := range h.row {
		h.row[i] = -1
	}
}

// at returns the element of history.row for an evaluation.
func (r *Run[B]) at(it grpo.Item) *int { return &r.history.row[it.Row*r.Sampler.Steps()+it.Step] }

// pieces cuts items into micro-batches whose evaluations fit into a shape, and into few
// of them. Only a single transition may have more evaluations than fit. Consecutive
// steps of a sample stand together, to share evaluations.
func (r *Run[B]) pieces(s Shape, items []grpo.Item) iter.Seq[[]grpo.Item] {
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b grpo.Item) int { return cmp.Or(cmp.Compare(a.Row, b.Row), cmp.Compare(a.Step, b.Step)) })
	return func(yield func([]grpo.Item) bool) {
		for lo := 0; lo < len(items); {
			hi, n := lo, 0
			var seen []grpo.Item
			for ; hi < len(items); hi++ {
				it := items[hi]
				before := len(seen)
				if r.trained(it.Step) && it.Row >= 0 && it.Row < len(r.all) { // otherwise Fill returns an error
					for _, i := range r.history.evaluations[it.Step] {
						if e := (grpo.Item{Row: it.Row, Step: i}); *r.at(e) < 0 {
							*r.at(e) = 0
							seen = append(seen, e)
						}
					}
				}
				if n += len(seen) - before; s.Rows > 0 && n > s.Rows && hi > lo {
					break
				}
			}
			for _, e := range seen {
				*r.at(e) = -1
			}
			if !yield(items[lo:hi]) {
				return
			}
			lo = hi
		}
	}
}

// A lookback holds what a minibatch needs if transitions look back.
type lookback[B any] struct {
	h     sampler.History[B]
	depth int
	asked []grpo.Item // the items of the rows of Call
	rows  []int       // rows of Call that each item looks back at, [len(Items), depth]; -1: none
	keeps sampler.Batch

	kept           []B // kept vectors, with one row for each evaluation
	keptRooms      rooms[B]
	base, gathered room.Room[B]
	mean           [2]room.Room[B]

	b        *Minibatch[B]
	read     B   // the buffer to gather from
	item     int // the item whose gradient is added
	keptOf   func(back, vector int) B
	gradient func(back int) B
}

// look finds the evaluations that items need: their own, and what they look back at.
func (r *Run[B]) look(b *Minibatch[B], items []grpo.Item) []grpo.Item {
	if b.back == nil {
		b.back = &lookback[B]{b: b}
		b.back.keptOf, b.back.gradient = b.back.keptRows, b.back.gradientRow
	}
	l, depth := b.back, r.history.depth
	l.depth, l.h.Device, l.h.Sampler = depth, b.m, r.Sampler
	l.asked = append(l.asked[:0], items...)
	for k, it := range items {
		*r.at(it) = k
	}
	l.rows = grow(l.rows, len(items)*depth)
	for k, it := range items {
		rows := l.rows[k*depth:][:depth]
		for i := range rows {
			rows[i] = -1
		}
		for _, i := range r.history.evaluations[it.Step] {
			if i == it.Step {
				break
			}
			e := grpo.Item{Row: it.Row, Step: i}
			at := r.at(e)
			if *at < 0 {
				*at = len(l.asked)
				l.asked = append(l.asked, e)
			}
			rows[it.Step-i-1] = *at
		}
	}
	l.keeps.Dim, l.keeps.Key, l.keeps.Rows = b.dim, r.Batch.Key, grow(l.keeps.Rows, len(l.asked))
	for k, e := range l.asked {
		l.keeps.Rows[k] = r.row(e)
		*r.at(e) = -1
	}
	return l.asked
}

// from returns the base of the transitions of b: their latents, or what the policy's
// outputs of their history make of them.
func (r *Run[B]) from(b *Minibatch[B]) (B, error) {
	if !r.looks() {
		return b.Call.X, nil
	}
	return r.makeBase(b, &b.back.base, b.Call.V)
}

// mean returns the means of the transitions of b under a policy, given its outputs.
func (r *Run[B]) mean(b *Minibatch[B], outputs B, number int) (B, error) {
	l := b.back
	base, err := r.makeBase(b, &l.mean[number], outputs)
	if err == nil {
		l.h.Mean(base, base, b.own(outputs), b.Batch)
	}
	return base, err
}

// makeBase stores the base of the transitions of b in a room.
func (r *Run[B]) makeBase(b *Minibatch[B], of *room.Room[B], outputs B) (base B, err error) {
	l, t := b.back, r.t.config.between()
	n := len(b.Items) * b.dim
	if base, err = of.Of(b.m, n, t); err == nil {
		l.read, err = l.gathered.Of(b.m, n, t)
	}
	l.kept = l.kept[:0]
	for i := 0; err == nil && i < r.history.vectors; i++ {
		var kept B
		if kept, err = l.keptRooms.at(b.m, i, len(l.asked)*b.dim, t); err == nil {
			l.h.Keep(kept, i, b.Call.X, outputs, l.keeps)
			l.kept = append(l.kept, kept)
		}
	}
	if err != nil {
		return base, b.noRoom(err)
	}
	l.h.Base(base, b.own(b.Call.X), l.keptOf, b.Batch)
	return base, nil
}

// keptRows gathers a kept vector of what every item looks back at. All share one buffer,
// since History reads each before it asks for the next.
func (l *lookback[B]) keptRows(back, vector int) B {
	for k := range l.b.Items {
		if e := l.rows[k*l.depth+back-1]; e >= 0 {
			l.b.copy.row(l.read, k, l.kept[vector], e)
		}
	}
	return l.read
}

// backward adds b.scale times the differences of next and the means to ∂loss/∂v, item by
// item: several may share an evaluation.
func (l *lookback[B]) backward(b *Minibatch[B], next, base B) {
	one := b.Batch
	for k := range b.Items {
		row := func(x B) B { return b.m.Slice(x, k*b.dim, (k+1)*b.dim) }
		l.item = k
		one.Rows = b.Batch.Rows[k : k+1]
		l.h.Backward(l.gradient, row(next), row(base), row(b.Call.V), one, b.scale[k:k+1])
	}
}

// gradientRow returns the row of ∂loss/∂v of an evaluation of the item.
func (l *lookback[B]) gradientRow(back int) B {
	e := l.item
	if back > 0 {
		e = l.rows[l.item*l.depth+back-1]
	}
	return l.b.m.Slice(l.b.DV, e*l.b.dim, (e+1)*l.b.dim)
}

func (l *lookback[B]) free(m sampler.Memory[B]) error {
	var errs []error
	for i := range l.keptRooms {
		errs = append(errs, l.keptRooms[i].Free(m))
	}
	for _, r := range []*room.Room[B]{&l.base, &l.gathered, &l.mean[0], &l.mean[1]} {
		errs = append(errs, r.Free(m))
	}
	return errors.Join(errs...)
}
