package devicetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"cps/noise"
	"cps/sampler"

	"pgregory.net/rapid"
)

func bits(x float32) uint32 { return math.Float32bits(x) }

// generator returns random numbers of the given seed.
func generator(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// dims draws lengths of rows: the ends of chunks, lanes, quarters and blocks, and others.
var dims = rapid.OneOf(
	rapid.SampledFrom([]int{1, 3, 4, 5, 8, 31, 32, 33, 63, 64, 65, 100, 255, 256, 257, 1000, 1020, 1023, 1024, 1025, 1032, 2047, 2048, 2049, 3000}),
	rapid.IntRange(1, 1300),
)

// weights draws weights: 0 of both signs, ordinary ones, one that float32 rounds to 0,
// infinity and NaN. With weights such as 0.55, a fused multiply-add cannot hide.
var weights = rapid.OneOf(
	rapid.Just(0.0),
	rapid.SampledFrom([]float64{math.Copysign(0, -1), 1, -1, 0.55, 1e-60, math.Inf(1), math.NaN()}),
	rapid.Float64Range(-1.3, 1.3),
)

var rowsGen = rapid.Custom(func(t *rapid.T) sampler.Row {
	return sampler.Row{
		Affine: sampler.Affine{
			X:   weights.Draw(t, "X"),
			V:   weights.Draw(t, "V"),
			Eps: weights.Draw(t, "Eps"),
		},
		ID:    noise.ID{Sample: rapid.Uint64().Draw(t, "sample"), Step: rapid.Uint32Range(0, 1<<32-2).Draw(t, "step")},
		Block: blocks.Draw(t, "block"),
	}
})

// blocks draws the blocks at which rows start: mostly 0 as of a whole sample, small ones,
// and large ones. Rows of these tests end within their sample even at the largest.
var blocks = rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32Range(0, 600), rapid.Uint32Range(1<<32-2000, 1<<32-1000))

// batches draws rows that differ, or rows of consecutive samples with equal weights.
func batches(t *rapid.T) sampler.Batch {
	b := sampler.Batch{Dim: dims.Draw(t, "dim"), Key: noise.Key(rapid.Uint64().Draw(t, "key"))}
	n := rapid.IntRange(1, 5).Draw(t, "rows")
	if rapid.Bool().Draw(t, "mixed") {
		for range n {
			b.Rows = append(b.Rows, rowsGen.Draw(t, "row"))
		}
		return b
	}
	r := rowsGen.Draw(t, "row")
	for range n {
		b.Rows = append(b.Rows, r)
		r.Sample++
	}
	return b
}

// held draws a buffer for a batch.
func held[B any](t *rapid.T, s *Subject[B], b sampler.Batch, name string) *latent[B] {
	seed := rapid.Uint64().Draw(t, name+" seed")
	typ := rapid.SampledFrom(s.Types).Draw(t, name+" type")
	skew := rapid.SampledFrom([]int{0, 0, 8, 1, 2, 4, 7}).Draw(t, name+" skew")
	return hold(s, random(generator(seed), b.Len()), typ, skew)
}

// stored draws the storage type of a batch whose results go to dst. It returns the type
// to which results are rounded.
func stored[B any](t *rapid.T, b *sampler.Batch, dst *latent[B]) sampler.Storage {
	if dst.typ != sampler.Float32 {
		b.Storage = rapid.SampledFrom([]sampler.Storage{sampler.Float32, dst.typ}).Draw(t, "storage")
		return dst.typ
	}
	b.Storage = rapid.SampledFrom([]sampler.Storage{sampler.Float32, sampler.BFloat16, sampler.Float16}).Draw(t, "storage")
	return b.Storage
}

// aliased returns one of the latents.
func aliased[B any](t *rapid.T, others ...*latent[B]) *latent[B] {
	return rapid.SampledFrom(others).Draw(t, "dst")
}

func sync[B any](t fails, s *Subject[B]) {
	t.Helper()
	if err := s.Device.Sync(); err != nil {
		t.Fatalf("Sync: %v", err)
	}
}

func testStep[B any](t *testing.T, s Subject[B]) {
	rapid.Check(t, func(t *rapid.T) {
		b := batches(t)
		x := held(t, &s, b, "x")
		v := rapid.SampledFrom([]*latent[B]{held(t, &s, b, "v"), x}).Draw(t, "v")
		dst := aliased(t, held(t, &s, b, "dst"), x, v)
		round := stored(t, &b, dst)
		next, want := step(x.want, v.want, b, round)
		var sq []float64
		if rapid.Bool().Draw(t, "sums") {
			sq = make([]float64, len(b.Rows))
		}
		s.Device.Step(dst.buffer, x.buffer, v.buffer, b, sq)
		sync(t, &s)
		dst.want = next
		for name, l := range map[string]*latent[B]{"dst": dst, "x": x, "v": v} {
			l.check(t, name)
		}
		if sq != nil {
			checkSums(t, "Step", sq, want)
		}
	})
}

func testSquares[B any](t *testing.T, s Subject[B]) {
	rapid.Check(t, func(t *rapid.T) {
		b := batches(t)
		x := held(t, &s, b, "x")
		v := rapid.SampledFrom([]*latent[B]{held(t, &s, b, "v"), x}).Draw(t, "v")
		next := aliased(t, held(t, &s, b, "next"), x, v)
		sq := make([]float64, len(b.Rows))
		s.Device.SumSquares(sq, next.buffer, x.buffer, v.buffer, b)
		sync(t, &s)
		checkSums(t, "Squares", sq, rowSquares(next.want, x.want, v.want, b))
		for name, l := range map[string]*latent[B]{"next": next, "x": x, "v": v} {
			l.check(t, name)
		}
	})
}

func testGrad[B any](t *testing.T, s Subject[B]) {
	rapid.Check(t, func(t *rapid.T) {
		b := batches(t)
		x, v, next := held(t, &s, b, "x"), held(t, &s, b, "v"), held(t, &s, b, "next")
		dst := aliased(t, held(t, &s, b, "dst"), x, v, next)
		scale := make([]float64, len(b.Rows))
		all := rapid.Bool().Draw(t, "one scale")
		for i := range scale {
			scale[i] = rapid.Float64Range(-2, 2).Draw(t, "scale")
			if all {
				scale[i] = scale[0]
			}
		}
		want := grad(dst.want, next.want, x.want, v.want, b, scale, dst.typ)
		s.Device.Grad(dst.buffer, next.buffer, x.buffer, v.buffer, b, scale)
		sync(t, &s)
		dst.want = want
		for name, l := range map[string]*latent[B]{"dst": dst, "next": next, "x": x, "v": v} {
			l.check(t, name)
		}
	})
}

// testShapes tests every combination of types of a pass, aligned or not. Blocks are full,
// end early, or follow another block.
func testShapes[B any](t *testing.T, s Subject[B]) {
	r := generator(2)
	row := sampler.Row{Affine: sampler.Affine{X: 0.55, V: -0.37, Eps: 0.21}, ID: noise.ID{Sample: 3, Step: 4}}
	for _, dim := range []int{40, 1024, 1160} {
		for _, skew := range []int{0, 1} {
			for _, out := range s.Types {
				for _, tx := range s.Types {
					for _, tv := range s.Types {
						b := sampler.Batch{Dim: dim, Key: 9, Rows: []sampler.Row{row, row}}
						name := fmt.Sprintf("%v ← %v, %v, Dim %d, %d behind", out, tx, tv, dim, skew)
						x := hold(&s, random(r, b.Len()), tx, skew)
						v := hold(&s, random(r, b.Len()), tv, skew)
						dst := hold(&s, random(r, b.Len()), out, skew)
						next, want := step(x.want, v.want, b, out)
						sq, replay := make([]float64, 2), make([]float64, 2)
						s.Device.Step(dst.buffer, x.buffer, v.buffer, b, sq)
						s.Device.SumSquares(replay, dst.buffer, x.buffer, v.buffer, b)
						sync(t, &s)
						checkSums(t, name, sq, want)
						checkSums(t, name+", replayed", replay, want)
						dst.want = next
						dst.check(t, name)
					}
				}
			}
		}
	}
}
