package kernel

import "math"

// Digests sum up the results of functions of one word over a range of words. They serve to
// compare two processors. A digest is Σ f(w)·(2w+1) modulo 2⁶⁴, which shows every single
// difference.
type Digests [5]uint64

// DigestNames are the names of the functions: the radius of a normal, the sine and cosine
// of its angle, and float32 values rounded to 16-bit types. NaNs are left out, since their
// bits differ between processors.
var DigestNames = [len(Digests{})]string{"radius", "sine", "cosine", "bfloat16", "float16"}

// DigestWords returns the digests of count words from first.
func DigestWords(first uint32, count int) (d Digests) {
	for i := range count {
		w := first + uint32(i)
		m := 2*uint64(w) + 1
		s, c := sincos(w)
		d[0] += uint64(math.Float32bits(radius(w))) * m
		d[1] += uint64(math.Float32bits(s)) * m
		d[2] += uint64(math.Float32bits(c)) * m
		if f := math.Float32frombits(w); f == f {
			d[3] += uint64(math.Float32bits(BFloat16.Round(f))) * m
			d[4] += uint64(math.Float32bits(Float16.Round(f))) * m
		}
	}
	return d
}
