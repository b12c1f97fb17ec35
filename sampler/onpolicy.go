package sampler

import (
	"context"
	"fmt"
	"slices"
)

// CheckOnPolicy replays t with the model that made it. It returns an error (ErrOffPolicy)
// that names the first transition and row whose sum of squares differs from the stored one
// in any bit. Where the sums agree, every ratio is exactly 1. A trainer calls it once at
// start-up.
//
// The first replay is in the batch of the rollout. It finds a model that draws random
// numbers (dropout) or keeps state, and latents that were changed or stored in another type.
//
// The next replays are in other batches, because training does not ask about the same rows
// together. One has all rows in reverse order. The others go forward in batches of the given
// sizes, by default of half the rows and of one row. They find a model whose output for a
// row depends on the other rows, or on their number; frameworks that choose a matrix product
// by size do so. A batch larger than the number of rows repeats rows from the first on. A
// size below 1 is an error (ErrConfig). Spans of a sample stay together, so a batch may
// exceed its size. Spans are consecutive rows of one sample with rising blocks.
//
// CheckOnPolicy cannot find a wrong time, sign or scale of the model's output: the rollout
// made the same mistake. It draws no noise, since the latents contain the noise already.
// m.Like makes the memory of the other batches. Other errors are those of [Replay].
func CheckOnPolicy[B any](ctx context.Context, m Memory[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B], sizes ...int) error {
	first := true
	return ReplayBatches(ctx, m, s, b, t, model, func(rows []int, sums [][]float64) error {
		same := first
		if first = false; same {
			if err := t.checkSums(s); err != nil {
				return err
			}
		}
		for k, sq := range sums {
			for i, x := range sq {
				row, was := rows[i], t.SumSquares[k][rows[i]]
				step, sample := s.steps[t.First+k].Step, b.Rows[row].Sample
				switch {
				case x == was:
				case same:
					return fail(ErrOffPolicy, "sampler: step %d, row %d (sample %d): replay in the same batch gives the sum of squares %v, the rollout %v: this policy did not make the trajectory",
						step, row, sample, x, was)
				default:
					return fail(ErrOffPolicy, "sampler: step %d, row %d (sample %d): in a batch of %d rows from row %d on the sum of squares is %v, in the rollout's of %d it was %v: ratios in training will not be 1, because the model's output for a row depends on the rows beside it, or the model finds conditions by position and not by Call.Rows",
						step, row, sample, len(rows), rows[0], x, len(b.Rows), was)
				}
			}
		}
		return nil
	}, sizes...)
}

// ReplayBatches replays t in the batches of [CheckOnPolicy], the batch of the rollout first.
// It calls visit after each replay. rows lists the rows of b in the order of the batch, and
// sums holds their sums of squares by transition, like t.SumSquares. t.SumSquares itself
// stays as it is. visit must keep neither slice. Its error ends the replays. Other errors
// are those of CheckOnPolicy.
func ReplayBatches[B any](ctx context.Context, m Memory[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B], visit func(rows []int, sums [][]float64) error, sizes ...int) (err error) {
	r, err := newWalk(Device[B](m), s, b, t, model)
	if err != nil {
		return err
	}
	defer func() { err = r.close(err) }()
	for _, size := range sizes {
		if size < 1 {
			return fail(ErrConfig, "sampler: the size %d of a batch is below 1 row", size)
		}
	}
	again := make([][]float64, len(t.SumSquares))
	for k, sq := range t.SumSquares {
		if sq != nil {
			again[k] = make([]float64, len(sq))
		}
	}
	if err := r.replay(ctx, again); err != nil {
		return err
	}
	if err := visit(r.rows, again); err != nil {
		return err
	}
	units := spansOf(b)
	n := len(b.Rows)
	if len(sizes) == 0 {
		sizes = []int{(n + 1) / 2, 1}
	}
	slices.Reverse(units)
	for i, size := range append([]int{n}, sizes...) {
		for _, rows := range batches(units, size) {
			sums, err := r.replayRows(ctx, m, rows)
			if err == nil {
				err = visit(rows, sums)
			}
			if err != nil {
				return err
			}
		}
		if i == 0 {
			slices.Reverse(units)
		}
	}
	return nil
}

// checkSums returns an error if t has sums, but none of a transition that draws noise. The
// check would then compare nothing.
func (t *Trajectory[B]) checkSums(s *Sampler) error {
	draws, kept := false, false
	for k := range len(t.Latents) - 1 {
		if !s.steps[t.First+k].Stochastic() {
			continue
		}
		draws = true
		kept = kept || k < len(t.SumSquares) && t.SumSquares[k] != nil
	}
	if draws && !kept {
		return fail(ErrTrajectory, "sampler: SumSquares has no transition that draws noise: give NewTrajectory a window of transitions of this run, see Sampler.Transitions")
	}
	return nil
}

// spansOf returns the range of the rows of each sample.
func spansOf(b Batch) (units []Window) {
	for i, r := range b.Rows {
		if i > 0 && r.Sample == b.Rows[i-1].Sample && r.Block > b.Rows[i-1].Block {
			units[len(units)-1].End++
			continue
		}
		units = append(units, Window{i, i + 1})
	}
	return units
}

// batches returns the rows of units in batches of at least size rows. Units stay whole,
// batches are as small as they allow, and the first units fill the last batch.
func batches(units []Window, size int) (all [][]int) {
	for i := 0; i < len(units); {
		var rows []int
		for ; len(rows) < size; i++ {
			u := units[i%len(units)]
			for row := u.Start; row < u.End; row++ {
				rows = append(rows, row)
			}
		}
		all = append(all, rows)
	}
	return all
}

// replayRows replays the given rows in their order, and returns their sums.
func (r *walk[B]) replayRows(ctx context.Context, m Memory[B], rows []int) (sums [][]float64, err error) {
	var none B
	dim, n := r.b.Dim, len(rows)
	like := []B{r.t.Latents[0], r.t.V, r.t.Latents[0]} // latents, output, next latents
	for range r.scratch {
		like = append(like, r.t.V)
	}
	var buffers []B
	defer func() {
		for _, x := range buffers {
			if e := m.Free(x); err == nil && e != nil {
				err = fmt.Errorf("sampler: memory of a batch of %d rows: %w", n, e)
			}
		}
	}()
	for _, x := range like {
		b, err := m.Like(x, n*dim)
		if err != nil {
			return nil, fmt.Errorf("sampler: memory for a batch of %d rows: %w", n, err)
		}
		buffers = append(buffers, b)
	}
	x, v, next, scratch := buffers[0], buffers[1], buffers[2], buffers[3:]
	one := Batch{Dim: dim, Rows: []Row{{Affine: Affine{X: 1}}}}
	gather := func(to, from B) {
		for i, row := range rows {
			m.Step(m.Slice(to, i*dim, (i+1)*dim), m.Slice(from, row*dim, (row+1)*dim), none, one, nil)
		}
	}
	b := r.b
	b.Rows = make([]Row, n)
	for i, row := range rows {
		b.Rows[i] = r.b.Rows[row]
	}
	sums = make([][]float64, len(r.t.SumSquares))
	asked, err := r.evaluations(r.t.SumSquares)
	if err != nil {
		return nil, err
	}
	for k, ask := range asked {
		if !ask {
			continue
		}
		gather(x, r.t.Latents[k])
		if err := r.ask(ctx, k, rows, x, v); err != nil {
			return nil, err
		}
		r.s.SetStep(b, r.t.First+k)
		from := r.from(scratch, k, x, v, b)
		if r.t.SumSquares[k] != nil {
			sums[k] = make([]float64, n)
			gather(next, r.t.Latents[k+1])
			m.SumSquares(sums[k], next, from, v, b)
		}
	}
	if err := m.Sync(); err != nil {
		return nil, fmt.Errorf("sampler: device: %w", err)
	}
	return sums, nil
}
