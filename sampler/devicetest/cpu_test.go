package devicetest_test

import (
	"fmt"
	"testing"

	"cps/sampler"
	"cps/sampler/devicetest"
)

// cpu is the suite's view of the caller's own slices.
func cpu(workers int) devicetest.Subject[[]float32] {
	return devicetest.Subject[[]float32]{
		Device:   sampler.CPU{Workers: workers},
		Types:    []sampler.Storage{sampler.Float32},
		Upload:   func(dst, src []float32) { copy(dst, src) },
		Download: func(dst, src []float32) { copy(dst, src) },
	}
}

func TestCPU(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint("workers=", workers), func(t *testing.T) {
			devicetest.Run(t, func(testing.TB) devicetest.Subject[[]float32] { return cpu(workers) })
		})
	}
}

// words is the suite's view of the caller's own slices of 16-bit words.
func words(typ sampler.Storage, workers int) devicetest.Subject[[]uint16] {
	return devicetest.Subject[[]uint16]{
		Device:   sampler.CPU16{Type: typ, Workers: workers},
		Types:    []sampler.Storage{typ},
		Upload:   typ.Pack,
		Download: typ.Unpack,
	}
}

func TestCPU16(t *testing.T) {
	for _, typ := range []sampler.Storage{sampler.BFloat16, sampler.Float16} {
		for _, workers := range []int{1, 3} {
			t.Run(fmt.Sprintf("%v/workers=%d", typ, workers), func(t *testing.T) {
				devicetest.Run(t, func(testing.TB) devicetest.Subject[[]uint16] { return words(typ, workers) })
			})
		}
	}
}
