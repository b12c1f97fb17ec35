//go:build !purego

package kernel

import (
	"testing"
	"unsafe"
)

// No pass over words reads or writes beyond them, where that would end the program.
func TestPagesBeyondWords(t *testing.T) {
	const most = 1100
	for _, atEnd := range []bool{false, true} {
		var buffers [4][]uint16
		for i := range buffers {
			p := pages(t, most/2, atEnd)
			buffers[i] = unsafe.Slice((*uint16)(unsafe.Pointer(&p[0])), most)
		}
		for storage := range wordPasses {
			for n := 1; n <= most; n++ {
				c := newWordCall(storage, testAffine, 1, n, 1)
				for i, w := range []*[]uint16{&c.dst, &c.x, &c.v, &c.next} {
					part := buffers[i][:n]
					if atEnd {
						part = buffers[i][most-n:]
					}
					copy(part, *w)
					*w = part
				}
				c.check(t, 0)
			}
		}
	}
}
