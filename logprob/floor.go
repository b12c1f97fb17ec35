package logprob

import (
	"context"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"cps/noise"
	"cps/sampler"
)

// A Floor says how exact the log-probabilities of a transition are, and compares their error
// with a clip range.
type Floor struct {
	Transition int

	// Ratio is the maximum, and Typical the root mean square, of the log-ratio |log(new/old)|
	// for one policy: old is from the sums of squares that the run keeps, new from those of replays.
	// Both are 0 where CheckOnPolicy passes.
	Ratio, Typical float64

	// Clipped is the fraction of the ratios new/old outside the clip range, in [0, 1].
	Clipped float64

	// Rounding is the standard deviation of the rounding errors in an element's noise, in
	// units of Eps. Most of them arise where latents are rounded to their storage type. The
	// log-ratio of two policies has a relative error of about Rounding. Values below 2/√N
	// cannot be resolved, with N the number of elements of the batch.
	Rounding float64
}

// Floors holds one Floor for each measured transition of a run, in order.
type Floors []Floor

// String returns f as a table.
func (f Floors) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "transition\tgreatest |log ratio|\ttypical\tclipped\trounding of noise\t")
	for _, x := range f {
		fmt.Fprintf(w, "%d\t%.2g\t%.2g\t%.1f %%\t%.2g\t\n", x.Transition, x.Ratio, x.Typical, 100*x.Clipped, x.Rounding)
	}
	w.Flush()
	return b.String()
}

// NoiseFloor measures how exact log p is in the form f. It does so for every transition with
// noise whose sums of squares run keeps. A trainer calls it once at start-up. Published clip
// ranges are small, 1e-6 to 1e-3. Two engines that compute in another order or type give
// ratios that differ from 1 by 1e-6 to 6e-5. If Clipped is not 0, the loss clips some samples
// because of rounding alone.
//
// model is the policy as training evaluates it. NoiseFloor replays the run as
// [sampler.CheckOnPolicy] does: in the batch b, and in other batches of the given sizes. If
// another engine made the run, the result includes that engine's rounding. clip is above 0.
// It is the range of the ratio to each side (grpo.Objective.ClipHigh), in the units of f.
//
// For Rounding, NoiseFloor takes every step once more, with noise from a key derived from
// b.Key. It compares the sums of squares with those of the noise drawn. The memory for this
// is from m.Like.
//
// Errors are those of CheckOnPolicy except ErrOffPolicy, and besides:
//
//   - ErrClip: clip is not above 0 and finite;
//   - ErrNoSums: the run keeps no sums of squares of a transition with noise;
//   - ErrNotFinite, ErrNegative: a sum of squares, or a ratio made of sums, is at fault.
func NoiseFloor[B any](ctx context.Context, m sampler.Memory[B], f Form, clip float64, s *sampler.Sampler, b sampler.Batch, run *sampler.Trajectory[B], model sampler.Model[B], sizes ...int) (Floors, error) {
	if !(clip > 0 && clip <= math.MaxFloat64) {
		return nil, fmt.Errorf("logprob: clip range %v: %w", clip, ErrClip)
	}
	var floors Floors
	counts := 0
	err := sampler.ReplayBatches(ctx, m, s, b, run, model, func(rows []int, sums [][]float64) error {
		if floors == nil {
			for k, sq := range sums {
				if i := run.First + k; sq != nil && s.At(i).Stochastic() {
					floors = append(floors, Floor{Transition: i})
				}
			}
		}
		counts += len(rows)
		for k := range floors {
			x := &floors[k]
			i := x.Transition - run.First
			scale := f.weight(b.Dim)
			if std := s.At(x.Transition).Affine.Eps; f.Gaussian {
				scale /= 2 * std * std
			}
			for j, row := range rows {
				for _, sq := range [2]float64{sums[i][j], run.SumSquares[i][row]} {
					if err := sum("sum of squares", sq); err != nil {
						return fail(fmt.Errorf("transition %d: %w", x.Transition, err), b.Rows[row], row)
					}
				}
				ratio := (run.SumSquares[i][row] - sums[i][j]) * scale
				if err := finite("log-ratio", ratio*ratio); err != nil {
					return fail(fmt.Errorf("transition %d: squared %w", x.Transition, err), b.Rows[row], row)
				}
				x.Ratio = max(x.Ratio, math.Abs(ratio))
				x.Typical += ratio * ratio
				if math.Abs(math.Expm1(ratio)) > clip {
					x.Clipped++
				}
			}
		}
		return nil
	}, sizes...)
	if err != nil {
		return nil, err
	}
	if floors == nil {
		return nil, fmt.Errorf("logprob: no transition with noise to measure: %w", ErrNoSums)
	}
	for k := range floors {
		x := &floors[k]
		x.Typical = math.Sqrt(x.Typical / float64(counts))
		if err := finite("typical log-ratio", x.Typical); err != nil {
			return nil, fmt.Errorf("logprob: transition %d: %w", x.Transition, err)
		}
		x.Clipped /= float64(counts)
	}
	for k := range floors {
		if floors[k].Rounding, err = rounding(ctx, m, s, b, run, model, floors[k].Transition); err != nil {
			return nil, err
		}
	}
	return floors, nil
}

// rounding takes transition i again with other noise. It compares the noise in the latents
// with the noise drawn, and returns their difference in units of Eps.
func rounding[B any](ctx context.Context, m sampler.Memory[B], s *sampler.Sampler, b sampler.Batch, run *sampler.Trajectory[B], model sampler.Model[B], i int) (share float64, err error) {
	x := run.Latents[i-run.First]
	n := b.Dim * len(b.Rows)
	var buffers [2]B // output, next latents
	for k, like := range [2]B{run.V, x} {
		if buffers[k], err = m.Like(like, n); err != nil {
			return 0, fmt.Errorf("logprob: memory for NoiseFloor: %w", err)
		}
		defer func() {
			if e := m.Free(buffers[k]); err == nil && e != nil {
				err = fmt.Errorf("logprob: memory of NoiseFloor: %w", e)
			}
		}()
	}
	c := sampler.Call[B]{Dim: b.Dim, V: buffers[0], X: x}
	for row := range b.Rows {
		c.Rows, c.Times = append(c.Rows, row), append(c.Times, s.Time(i))
	}
	if err := model(ctx, c); err != nil {
		return 0, fmt.Errorf("logprob: model at transition %d (time %v): %w", i, s.Time(i), err)
	}
	other := b.WithAffine(sampler.Affine{})
	other.Key, other.Storage = b.Key.Derive(0xf1005), b.Storage
	s.SetStep(other, i)
	sq := make([]float64, len(b.Rows))
	m.Step(buffers[1], x, buffers[0], other, sq)
	if err := m.Sync(); err != nil {
		return 0, fmt.Errorf("logprob: device: %w", err)
	}
	var arrived, drawn float64
	eps := s.At(i).Affine.Eps
	var draws [4096]float32
	for row, r := range other.Rows {
		if err := sum("sum of squares", sq[row]); err != nil {
			return 0, fail(fmt.Errorf("transition %d: %w", i, err), r, row)
		}
		arrived += sq[row]
		for at := 0; at < b.Dim; at += len(draws) {
			d := draws[:min(len(draws), b.Dim-at)]
			noise.Normal(d, other.Key, r.ID, 4*uint64(r.Block)+uint64(at))
			for _, z := range d {
				drawn += eps * eps * float64(z) * float64(z)
			}
		}
	}
	return math.Sqrt(math.Abs(arrived-drawn) / drawn), nil
}
