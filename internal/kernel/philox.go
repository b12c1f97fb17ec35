package kernel

// Multipliers and Weyl increments of Philox4x32 (Salmon et al., SC 2011, table 2
// and section 4.2: the golden ratio and √3 - 1).
const (
	philoxM0 = 0xD2511F53
	philoxM1 = 0xCD9E8D57
	philoxW0 = 0x9E3779B9
	philoxW1 = 0xBB67AE85
)

// A Stream names the noise of one sample at one step: the key, and the Philox
// counter without its first word. That word counts blocks of four elements.
type Stream struct {
	Key    uint64
	Sample uint64
	Step   uint32
}

// Philox returns Philox4x32-10 of counter c and key k.
func Philox(c [4]uint32, k [2]uint32) (w [4]uint32) {
	w[0], w[1], w[2], w[3] = philox(c[0], c[1], c[2], c[3], k[0], k[1])
	return w
}

// philox is Philox on single words, which stay in registers.
func philox(c0, c1, c2, c3, k0, k1 uint32) (w0, w1, w2, w3 uint32) {
	for range 10 {
		p0, p1 := uint64(c0)*philoxM0, uint64(c2)*philoxM1
		c0, c1, c2, c3 = uint32(p1>>32)^c1^k0, uint32(p1), uint32(p0>>32)^c3^k1, uint32(p0)
		k0 += philoxW0
		k1 += philoxW1
	}
	return c0, c1, c2, c3
}

// Block returns the words of elements 4b … 4b+3 of the stream.
func (s Stream) Block(b uint32) (w [4]uint32) {
	w[0], w[1], w[2], w[3] = s.block(b)
	return w
}

func (s Stream) block(b uint32) (w0, w1, w2, w3 uint32) {
	return philox(b, s.Step, uint32(s.Sample), uint32(s.Sample>>32), uint32(s.Key), uint32(s.Key>>32))
}

// Words stores in dst the words off, off+1, … of the stream.
func (s Stream) Words(dst []uint32, off uint64) {
	b, skip := uint32(off/4), off%4
	for ; len(dst) > 0; b++ {
		if skip == 0 && len(dst) >= 4 {
			dst[0], dst[1], dst[2], dst[3] = s.block(b)
			dst = dst[4:]
			continue
		}
		w := s.Block(b)
		dst = dst[copy(dst, w[skip:]):]
		skip = 0
	}
}
