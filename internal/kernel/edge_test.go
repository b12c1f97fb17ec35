package kernel

import "testing"

// philoxInverse returns the counter whose words are w.
func philoxInverse(w [4]uint32, k [2]uint32) [4]uint32 {
	inverse := func(m uint32) uint32 { // modulo 2³², by Newton
		x := m
		for range 5 {
			x *= 2 - m*x
		}
		return x
	}
	i0, i1 := inverse(philoxM0), inverse(philoxM1)
	for r := uint32(9); ; r-- {
		k0, k1 := k[0]+r*philoxW0, k[1]+r*philoxW1
		c0, c2 := w[3]*i0, w[1]*i1
		p0, p1 := uint64(c0)*philoxM0, uint64(c2)*philoxM1
		w = [4]uint32{c0, w[0] ^ uint32(p1>>32) ^ k0, c2, w[2] ^ uint32(p0>>32) ^ k1}
		if r == 0 {
			return w
		}
	}
}

// edgeWords returns words at which the arithmetic changes. There the uniform is 0 or 1, the
// exponent of its logarithm changes, or the angle passes a quadrant or its middle.
func edgeWords() (w []uint32) {
	for _, at := range []uint32{0, 1 << 31, 128, 1<<32 - 128, 1<<32 - 256, 0xb504f333, 0x5a827999} {
		w = append(w, at-1, at, at+1)
	}
	for e := range uint32(8) {
		w = append(w, e<<29-1, e<<29, e<<29+1)
	}
	for b := range 32 {
		w = append(w, 1<<b, 0xb504f333>>b, 0xb504f334>>b)
	}
	return w
}

// Every implementation draws the bits of the portable code for every pair of edges, in
// every lane. Philox run backwards gives counters for such words.
func TestEdgeWords(t *testing.T) {
	const n = 4 * 40 // more than two groups of any implementation
	edges := edgeWords()
	forEach(t, func(t *testing.T) {
		tried := uint32(0)
		for _, x := range edges {
			for _, y := range edges {
				w := [4]uint32{x, y, y, x}
				key := [2]uint32{tried, ^tried}
				c := philoxInverse(w, key)
				s := Stream{Key: uint64(key[0]) | uint64(key[1])<<32, Step: c[1], Sample: uint64(c[2]) | uint64(c[3])<<32}
				if got := s.Block(c[0]); got != w {
					t.Fatalf("the words of the inverse are %x, want %x", got, w)
				}
				before := min(tried%40, c[0])
				if left := -c[0]; left != 0 && left < 40 { // the stream ends after 2³² blocks
					before = 40 - left
				}
				off := 4 * uint64(c[0]-before)
				var want, got [n]float32
				s.normalPortable(want[:], off)
				s.Normal(got[:], off)
				if !sameFloats(got[:], want[:]) {
					t.Fatalf("%v from %d: %v, want %v", s, off, got, want)
				}
				var pairs [4]float32
				pairs[0], pairs[1] = boxMuller(x, y)
				pairs[2], pairs[3] = boxMuller(y, x)
				if part := got[4*before:][:4]; !sameFloats(part, pairs[:]) {
					t.Fatalf("words %x at block %d: %v, want %v", w, before, part, pairs)
				}
				tried++
			}
		}
	})
}
