package cuda_test

import (
	"errors"
	"fmt"

	"cps/cuda"
	"cps/sampler"
)

// noiseOn makes the noise of a batch on a GPU.
func noiseOn(d *cuda.Device, b sampler.Batch) ([]float32, error) {
	x, err := d.Make(b.Len(), sampler.Float32)
	if err != nil {
		return nil, err
	}
	defer d.Free(x)
	d.Step(x, cuda.Buffer{}, cuda.Buffer{}, b, nil)
	host := make([]float32, b.Len())
	return host, d.Download(host, x)
}

// A program uses the GPU if there is one. The bits are the same without.
func ExampleOpen() {
	b := sampler.Batch{Dim: 2, Key: 7, Rows: []sampler.Row{sampler.InitialRow(1)}}
	x := make([]float32, b.Len())
	d, err := cuda.Open(0)
	switch {
	case errors.Is(err, cuda.ErrUnavailable):
		sampler.CPU{}.Step(x, nil, nil, b, nil) // built without the tag cuda
	case err != nil:
		sampler.CPU{}.Step(x, nil, nil, b, nil) // no driver, no GPU
	default:
		defer d.Close()
		if x, err = noiseOn(d, b); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(x)
	// Output: [1.0453334 0.55992186]
}
