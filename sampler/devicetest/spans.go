package devicetest

import (
	"math"
	"testing"

	"cps/noise"
	"cps/sampler"

	"pgregory.net/rapid"
)

// testSpans cuts samples into spans of one length, all in one call. They take the step
// of the whole, and every span has the sum of squares of its elements.
func testSpans[B any](t *testing.T, s Subject[B]) {
	rapid.Check(t, func(t *rapid.T) {
		n := 4 * rapid.SampledFrom([]int{1, 2, 3, 7, 16, 25, 64, 256, 257}).Draw(t, "elements of a span / 4")
		b := sampler.Batch{Dim: n * rapid.IntRange(1, min(5, 3900/n)).Draw(t, "spans"), Key: noise.Key(rapid.Uint64().Draw(t, "key"))}
		for range rapid.IntRange(1, 3).Draw(t, "samples") {
			b.Rows = append(b.Rows, rowsGen.Draw(t, "row"))
		}
		x, v, dst := held(t, &s, b, "x"), held(t, &s, b, "v"), held(t, &s, b, "dst")
		round := stored(t, &b, dst)
		dst.want, _ = step(x.want, v.want, b, round)
		cut := b.Spans(n)
		sq := make([]float64, len(cut.Rows))
		s.Device.Step(dst.buffer, x.buffer, v.buffer, cut, sq)
		sync(t, &s)
		dst.check(t, "dst")
		checkSums(t, "Step of spans", sq, rowSquares(dst.want, x.want, v.want, cut))
	})
}

// testCuts cuts a sample anywhere between chunks of four elements, with a call for each
// span. The spans take the step of the whole, up to the last element that a sample can
// have.
func testCuts[B any](t *testing.T, s Subject[B]) {
	rapid.Check(t, func(t *rapid.T) {
		b := sampler.Batch{Dim: dims.Draw(t, "dim"), Key: noise.Key(rapid.Uint64().Draw(t, "key")), Rows: []sampler.Row{rowsGen.Draw(t, "row")}}
		r := &b.Rows[0]
		if rapid.Bool().Draw(t, "at the end") {
			r.Block = math.MaxUint32 - uint32((b.Dim-1)/4)
		}
		x, v, dst := held(t, &s, b, "x"), held(t, &s, b, "v"), held(t, &s, b, "dst")
		round := stored(t, &b, dst)
		dst.want, _ = step(x.want, v.want, b, round)
		for lo := 0; lo < b.Dim; {
			hi := min(b.Dim, lo+4*rapid.IntRange(1, 300).Draw(t, "elements / 4"))
			span := b
			span.Dim, span.Rows = hi-lo, []sampler.Row{*r}
			span.Rows[0].Block += uint32(lo / 4)
			s.Device.Step(s.Device.Slice(dst.buffer, lo, hi), s.Device.Slice(x.buffer, lo, hi), s.Device.Slice(v.buffer, lo, hi), span, nil)
			lo = hi
		}
		sync(t, &s)
		dst.check(t, "dst")
	})
}
