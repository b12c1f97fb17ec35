package kernel

import (
	"math"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// rowsIn returns n zero rows in memory that is nonsense elsewhere, since the bytes between
// fields may be anything.
func rowsIn(memory []uint64, n int) []Row {
	for i := range memory {
		memory[i] = 0x9e3779b97f4a7c15 * uint64(i+1)
	}
	rows := unsafe.Slice((*Row)(unsafe.Pointer(&memory[0])), n)
	for i := range rows {
		rows[i].Weights, rows[i].Sample, rows[i].Step, rows[i].Block = Weights{}, 0, 0, 0
	}
	return rows
}

// A survey finds what the rows have. One bit of one weight makes a difference.
func TestSurvey(t *testing.T) {
	forEach(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			n := rapid.IntRange(1, MaxRows).Draw(t, "rows")
			rows := rowsIn(make([]uint64, 6*n), n)
			weights := Weights{rapid.SampledFrom([]float64{0, 0.3}).Draw(t, "X"), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1e-320, 2.5, math.NaN()}).Draw(t, "V"), -0.1}
			want := Survey{Same: true, ReadsX: weights.X != 0, ReadsV: weights.V != 0}
			for i := range rows {
				r := &rows[i]
				r.Weights, r.Sample = weights, rapid.Uint64().Draw(t, "sample")
				r.Step, r.Block = rapid.Uint32().Draw(t, "step"), rapid.Uint32().Draw(t, "block")
				want.Step, want.Block = max(want.Step, r.Step), max(want.Block, r.Block)
			}
			if n > 1 && rapid.Bool().Draw(t, "one is different") {
				r := &rows[rapid.IntRange(0, n-1).Draw(t, "which")]
				w := rapid.SampledFrom([]*float64{&r.X, &r.V, &r.Eps}).Draw(t, "weight")
				*w = math.Float64frombits(math.Float64bits(*w) ^ 1<<rapid.IntRange(0, 63).Draw(t, "bit"))
				want.Same = false
				want.ReadsX, want.ReadsV = want.ReadsX || r.X != 0, want.ReadsV || r.V != 0
			}
			if got := SurveyOf(rows); got != want {
				t.Fatalf("found %+v, want %+v", got, want)
			}
		})
	})
}
