//go:build linux && amd64 && !purego

package kernel

import (
	"testing"
	"unsafe"
)

// Every length to 100, and around quarters of two blocks, at the end and at the beginning
// of memory, where a word too much would end the program.
func TestWordsEveryLength(t *testing.T) {
	const most = 2*BlockLen + 40
	all, around := 100, 33
	if testing.Short() {
		all, around = 40, 2
	}
	forEachWords(t, func(t *testing.T) {
		for _, atEnd := range []bool{false, true} {
			var memory [4][]uint16
			for i := range memory {
				m := pages(t, most/2, atEnd)
				memory[i] = unsafe.Slice((*uint16)(unsafe.Pointer(&m[0])), most)
			}
			values, noise := make([]float32, most), make([]float32, 3*BlockLen)
			Stream{Key: 3}.Normal(noise, 0)
			for _, storage := range []Storage{BFloat16, Float16} {
				for i := range memory {
					Stream{Key: 7, Step: uint32(i)}.Normal(values, 0)
					storage.Pack(memory[i], values)
				}
				for n := 1; n <= most; n++ {
					if n > all && (n+around)%256 > 2*around {
						continue
					}
					var part [4][]uint16
					for i, m := range memory {
						part[i] = m[:n:n]
						if atEnd {
							part[i] = m[most-n:]
						}
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
