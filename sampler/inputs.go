package sampler

import (
	"context"
	"fmt"
	"slices"
)

// Inputs says which inputs of a model change its output.
type Inputs struct {
	Latents   bool
	Time      bool
	Row       bool // of the run, by which a model finds its condition
	Condition bool // with it or without (r or ^r), where that is asked
}

// FindInputs reports what a model reads. A model that ignores its time, or finds no condition
// by the row, samples and trains without complaint. So does one that takes ^r for r, under
// which guidance does nothing. FindInputs returns a report and not an error, because some
// models have no time and some have no conditions. If your model has both, check that Time
// and Row are true.
//
// The model is asked about the latents in t.Latents[0], whichever of the run these are, at
// the first, the middle and the last time of s. One input is changed at a time: half the
// latents, another time, another row, or, if guided, rows without their condition. To see
// what a row changes, all samples get the latents of the first; their conditions should
// differ. So Row is false for one sample, or for samples of one condition, and Time is false
// for a run of one step. An input is read if the sum of squares of the differences of the
// output is not 0 in float32. A model that draws random numbers seems to read all.
//
// Buffers are made by m.Like, and freed; t is left as it is. Errors are those of the model,
// with the step, of the memory, and of a t that does not fit. An output that is not finite is
// a [NonFiniteError].
func FindInputs[B any](ctx context.Context, m Memory[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B], guided bool) (in Inputs, err error) {
	if err := t.check(s, b); err != nil {
		return in, err
	}
	switch {
	case m == nil:
		return in, fail(ErrConfig, "sampler: the memory is nil")
	case model == nil:
		return in, fail(ErrConfig, "sampler: the model is nil")
	}
	f := &finder[B]{m: m, s: s, b: b, model: model}
	defer func() {
		for _, x := range f.buffers {
			if e := m.Free(x); err == nil && e != nil {
				err = fmt.Errorf("sampler: memory for FindInputs: %w", e)
			}
		}
	}()
	for _, like := range []B{t.Latents[0], t.V, t.V, t.V} {
		buffer, err := m.Like(like, b.Len())
		if err != nil {
			return in, fmt.Errorf("sampler: memory for FindInputs: %w", err)
		}
		f.buffers = append(f.buffers, buffer)
	}
	return f.find(ctx, t.Latents[0], guided)
}

// A finder asks a model with one input changed.
type finder[B any] struct {
	m       Memory[B]
	s       *Sampler
	b       Batch
	model   Model[B]
	buffers []B
}

func (f *finder[B]) find(ctx context.Context, x B, guided bool) (in Inputs, err error) {
	var none B
	changed, first, v, w := f.buffers[0], f.buffers[1], f.buffers[2], f.buffers[3]
	rows, without := make([]int, len(f.b.Rows)), make([]int, len(f.b.Rows))
	for i := range rows {
		rows[i], without[i] = i, ^i
	}
	n := f.s.Steps()
	at := slices.Compact([]int{0, n / 2, n - 1})
	if err := f.ask(ctx, 0, first, x, rows); err != nil {
		return in, err
	}
	f.m.Step(changed, x, none, f.b.WithAffine(Affine{X: .5}), nil)
	if err := f.ask(ctx, 0, v, changed, rows); err != nil {
		return in, err
	}
	if in.Latents, err = f.differ(0, first, v); err != nil {
		return in, err
	}
	for _, i := range at[1:] {
		if err := f.ask(ctx, i, v, x, rows); err != nil {
			return in, err
		}
		other, err := f.differ(i, first, v)
		if err != nil {
			return in, err
		}
		in.Time = in.Time || other
	}
	f.share(changed, x)
	for _, i := range at {
		if err := f.ask(ctx, i, v, changed, rows); err != nil {
			return in, err
		}
		f.share(w, v)
		other, err := f.differ(i, v, w)
		if err != nil {
			return in, err
		}
		in.Row = in.Row || other
		if !guided {
			continue
		}
		if err := f.ask(ctx, i, w, changed, without); err != nil {
			return in, err
		}
		if other, err = f.differ(i, v, w); err != nil {
			return in, err
		}
		in.Condition = in.Condition || other
	}
	return in, nil
}

// share stores in dst, for every sample, the rows of the first sample in x.
func (f *finder[B]) share(dst, x B) {
	var none B
	units, dim := spansOf(f.b), f.b.Dim
	one := Batch{Dim: dim, Rows: []Row{{Affine: Affine{X: 1}}}}
	for _, u := range units {
		for i := u.Start; i < u.End; i++ {
			from := (i - u.Start) % units[0].End
			f.m.Step(f.m.Slice(dst, i*dim, (i+1)*dim), f.m.Slice(x, from*dim, (from+1)*dim), none, one, nil)
		}
	}
}

// ask asks the model at the time of a transition.
func (f *finder[B]) ask(ctx context.Context, i int, v, x B, rows []int) error {
	t := f.s.At(i)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sampler: FindInputs stopped: %w", err)
	}
	times := make([]float64, len(rows))
	for k := range times {
		times[k] = f.s.Time(i)
	}
	if err := f.model(ctx, Call[B]{Dim: f.b.Dim, V: v, X: x, Rows: rows, Times: times}); err != nil {
		return fmt.Errorf("sampler: model at step %d (time %v): %w", t.Step, times[0], err)
	}
	return nil
}

// differ reports whether outputs at a transition differ.
func (f *finder[B]) differ(i int, v, w B) (bool, error) {
	sq := make([]float64, len(f.b.Rows))
	var none B
	f.m.SumSquares(sq, v, none, w, f.b.WithAffine(Affine{V: 1}))
	if err := f.m.Sync(); err != nil {
		return false, fmt.Errorf("sampler: device: %w", err)
	}
	other := false
	for row, x := range sq {
		if !finite(x) {
			return false, &NonFiniteError{Step: f.s.At(i).Step, Row: row, Sample: f.b.Rows[row].Sample}
		}
		other = other || x != 0
	}
	return other, nil
}
