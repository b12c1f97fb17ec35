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
