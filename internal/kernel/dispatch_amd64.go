//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// An implementation is one way to compute the passes. All give the same bits.
type implementation uint8

const (
	portable implementation = iota
	avx2
	avx512
)

// available lists the implementations that this machine can run, the fastest last.
func available() []implementation {
	list := []implementation{portable}
	if x := cpu.X86; x.HasAVX2 && x.HasF16C {
		list = append(list, avx2)
		if x.HasAVX512F && x.HasBMI2 {
			list = append(list, avx512)
		}
	}
	return list
}

// use is the implementation in use. Tests set it.
var use = available()[len(available())-1]

// stepRate and passRate are elements a microsecond on one core. Those of AVX2 were
// measured on an AMD EPYC (Zen 3), those of AVX-512 on one of Zen 5. An Intel Xeon
// (Emerald Rapids) has a stepRate of 1000 with AVX-512. The higher rate is safe: to wake a
// goroutine for too little work costs more than to do without. Passes that wait for memory
// are no faster than with AVX2.
func (i implementation) stepRate() float64 { return [...]float64{64, 640, 2350}[i] }
func (i implementation) passRate() float64 { return [...]float64{700, 5000, 5000}[i] }

func (i implementation) String() string { return [...]string{"portable", "AVX2", "AVX512"}[i] }
