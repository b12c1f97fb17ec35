//go:build linux && amd64 && !purego

package kernel

import (
	"testing"
	"unsafe"
)

// Every length up to two blocks, at the end and at the beginning of memory, where a word
// too much would end the program.
func TestWordsEveryLength(t *testing.T) {
	const most = 2*BlockLen + 40
	forEachWords(t, func(t *testing.T) {
		for _, atEnd := range []bool{false, true} {
			var memory [4][]uint16
			for i := range memory {
				m := pages(t, most/2, atEnd)
				memory[i] = unsafe.Slice((*uint16)(unsafe.Pointer(&m[0])), most)
			}
			values, noise := make([]float32, most), make([]float32, 3*BlockLen)
			Stream{Key: 3}.Normal(noise, 0)
			for n := 1; n <= most; n++ {
				if n > 200 && n%256 > 40 && n%256 < 216 {
					continue
				}
				for _, storage := range []Storage{BFloat16, Float16} {
					var part [4][]uint16
					for i, m := range memory {
						part[i] = m[:n:n]
						if atEnd {
							part[i] = m[most-n:]
						}
						Stream{Key: 7, Step: uint32(i)}.Normal(values[:n], 0)
						storage.Pack(part[i], values[:n])
					}
					for _, kind := range wordsPasses {
						c := wordsCall{
							kind: kind, t: storage, a: Affine{0.55, -0.37, 0.21}, blockLen: BlockLen, noiseLen: BlockLen, noise: noise,
							dst: part[0], x: part[1], v: part[2], next: part[3], scales: []float32{0.3, -0.7, 2},
						}
						c.sums = make([]float32, c.blocks())
						c.check(t, 0)
					}
				}
			}
		}
	})
}
