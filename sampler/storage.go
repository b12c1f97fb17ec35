package sampler

import "cps/internal/kernel"

// A Storage is the type in which latents are kept. Step rounds to it before it
// takes the sum of squares, so that replaying stored latents gives the same
// log-probability.
type Storage uint8

const (
	Float32 Storage = iota
	BFloat16
	Float16
)

// String returns the name of the constant.
func (t Storage) String() string { return name("Storage", t, "Float32", "BFloat16", "Float16") }

// Round returns x rounded to t, ties to even. A value too large for t becomes
// infinite, and makes its row's sum of squares infinite.
func (t Storage) Round(x float32) float32 { return kernel.Storage(t).Round(x) }

// Pack stores src, rounded to t, as 16-bit words in dst. It panics if the lengths
// differ or t is Float32.
func (t Storage) Pack(dst []uint16, src []float32) {
	t.check16(len(dst), len(src))
	kernel.Storage(t).Pack(dst, src)
}

// Unpack stores the values of the words src in dst. It panics if the lengths differ
// or t is Float32.
func (t Storage) Unpack(dst []float32, src []uint16) {
	t.check16(len(dst), len(src))
	kernel.Storage(t).Unpack(dst, src)
}

func (t Storage) check16(dst, src int) {
	if t != BFloat16 && t != Float16 {
		panic("sampler: only BFloat16 and Float16 have 16-bit words")
	}
	if dst != src {
		panic("sampler: lengths of dst and src differ")
	}
}
