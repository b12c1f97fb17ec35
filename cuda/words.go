package cuda

import (
	"encoding/binary"
	"math"

	"cps/sampler"
)

// encode stores src as elements of type t in dst.
func encode(dst []byte, src []float32, t sampler.Storage) {
	if t == sampler.Float32 {
		for i, x := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
		return
	}
	var words [256]uint16
	for len(src) > 0 {
		n := min(len(src), len(words))
		t.Pack(words[:n], src[:n])
		for i, w := range words[:n] {
			binary.LittleEndian.PutUint16(dst[2*i:], w)
		}
		dst, src = dst[2*n:], src[n:]
	}
}

// decode stores the values of the elements src of type t in dst.
func decode(dst []float32, src []byte, t sampler.Storage) {
	if t == sampler.Float32 {
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
		return
	}
	var words [256]uint16
	for len(dst) > 0 {
		n := min(len(dst), len(words))
		for i := range words[:n] {
			words[i] = binary.LittleEndian.Uint16(src[2*i:])
		}
		t.Unpack(dst[:n], words[:n])
		dst, src = dst[n:], src[2*n:]
	}
}
