package finetune

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"

	"cps/examples/internal/digits"
	"cps/grpo"

	"pgregory.net/rapid"
)

// Samples may be drawn elsewhere, cut in any way, in any order, and some of them twice.
// The run then ends with the bits of a run of its own.
func TestRemote(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := small(t)
		c.Seed = rapid.Uint64().Draw(rt, "seed")
		c.SharedStart = rapid.Bool().Draw(rt, "shared start")
		if rapid.Bool().Draw(rt, "window") {
			c.Window = grpo.Sliding{Size: 1, Stride: 1, Interval: grpo.Every(1)}
		}
		here := run(t, c, 2)
		there := newTrainer(t, c)
		there.Remote = func(ctx context.Context, r *Rollout) error {
			var cuts []int
			for first := 0; first < r.Len(); {
				cuts = append(cuts, first)
				first += rapid.IntRange(1, r.Len()-first).Draw(rt, "samples")
			}
			for _, k := range rapid.Permutation(append(indices(len(cuts)), 0)).Draw(rt, "order") {
				end := r.Len()
				if k+1 < len(cuts) {
					end = cuts[k+1]
				}
				o, err := c.Draw(ctx, r.Net.Clone(), r.Part(cuts[k], end))
				if err != nil {
					return err
				}
				if want, err := c.Shape(r.Iteration(), end-cuts[k]); err != nil || want != o.Shape() {
					rt.Errorf("shape %+v, want %+v, %v", o.Shape(), want, err)
				}
				if err := r.Put(cuts[k], o); err != nil {
					return err
				}
			}
			return nil
		}
		if err := there.Run(t.Context(), 2, nil); err != nil {
			rt.Fatal(err)
		}
		var a, b bytes.Buffer
		if here.write(&a) != nil || there.write(&b) != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			rt.Error("the checkpoints differ")
		}
	})
}

func indices(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// Nothing that does not fit is stored, and what is missing is named.
func TestPut(t *testing.T) {
	c := small(t)
	for _, bad := range []struct {
		name, want string
		change     func(first *int, o *Outcome)
	}{
		{"nothing", "Remote returned without sample 4", nil},
		{"beyond", "has 4 samples from 10 on, and the rollout has 12", func(first *int, _ *Outcome) { *first = 10 }},
		{"before", "from -1 on", func(first *int, _ *Outcome) { *first = -1 }},
		{"empty", "has 0 samples", func(_ *int, o *Outcome) { *o = Outcome{} }},
		{"short", "shape", func(_ *int, o *Outcome) { o.Latents = o.Latents[1:] }},
		{"sums", "shape", func(_ *int, o *Outcome) { o.SumSquares = append(o.SumSquares, 1) }},
		{"latent", "latent 5 is NaN", func(_ *int, o *Outcome) { o.Latents[5] = float32(math.NaN()) }},
		{"infinite", "latent 5 is -Inf", func(_ *int, o *Outcome) { o.Latents[5] = float32(math.Inf(-1)) }},
		{"sum", "sum of squares 1 is NaN", func(_ *int, o *Outcome) { o.SumSquares[1] = math.NaN() }},
		{"negative", "sum of squares 1 is -1", func(_ *int, o *Outcome) { o.SumSquares[1] = -1 }},
		{"reward", "reward 2 is +Inf", func(_ *int, o *Outcome) { o.Rewards[2] = math.Inf(1) }},
	} {
		tr := newTrainer(t, c)
		tr.Remote = func(ctx context.Context, r *Rollout) error {
			for _, first := range []int{0, 8, 4} {
				end := first + 4
				o, err := c.Draw(ctx, r.Net, r.Part(first, end))
				if err != nil {
					return err
				}
				if first == 4 && bad.change == nil {
					continue
				}
				if first == 4 {
					bad.change(&first, o)
				}
				if err := r.Put(first, o); err != nil {
					return err
				}
			}
			return nil
		}
		if _, err := tr.Step(t.Context()); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: error %v, want one with %q", bad.name, err, bad.want)
		}
	}
}

// A part that no trainer asks for is an error, never a panic.
func TestDrawErrors(t *testing.T) {
	net, err := digits.Velocity()
	if err != nil {
		t.Fatal(err)
	}
	c := small(t)
	for _, bad := range []struct {
		part Part
		want string
	}{
		{Part{}, "0 samples"},
		{Part{Samples: []uint64{1, 2}, Classes: []int{1}}, "2 samples has 1 classes"},
		{Part{Samples: []uint64{1, 2}, Classes: []int{1, 10}}, "sample 2 has class 10"},
		{Part{Samples: []uint64{1}, Classes: []int{-1}}, "class -1"},
	} {
		if _, err := c.Draw(t.Context(), net, bad.part); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("error %v, want one with %q", err, bad.want)
		}
	}
	net.Params()[7] = float32(math.NaN())
	if _, err := c.Draw(t.Context(), net, Part{Samples: []uint64{1}, Classes: []int{1}}); err == nil || !Diverged(err) {
		t.Errorf("a network with NaN: error %v", err)
	}
}
