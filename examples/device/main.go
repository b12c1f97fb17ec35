// Command device samples on a GPU, if it was built with the tag cuda and finds one, and on
// the processor otherwise. It prints a digest of all bits, which is the same on every device.
//
//	go run ./examples/device
//	go run -tags cuda ./examples/device
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"os"

	"cps/cuda"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

func main() {
	log.SetFlags(0)
	ordinal := flag.Int("gpu", 0, "`number` of the GPU, from 0")
	rows := flag.Int("rows", 16, "`number` of samples")
	dim := flag.Int("dim", 1<<14, "`number` of elements of a sample")
	flag.Parse()
	if err := run(os.Stdout, *ordinal, *rows, *dim); err != nil {
		log.Fatal(err)
	}
}

// run samples on the GPU if there is one, else on the processor, and reports to w.
func run(w io.Writer, ordinal, rows, dim int) error {
	switch {
	case rows < 1:
		return fmt.Errorf("-rows %d is not positive: there is nothing to sample", rows)
	case dim < 1:
		return fmt.Errorf("-dim %d is not positive: a sample needs an element", dim)
	}
	gpu, err := cuda.Open(ordinal)
	if err != nil {
		fmt.Fprintf(w, "No GPU (%v). Using the processor.\n", err)
		r, err := sample(host(), rows, dim)
		if err != nil {
			return err
		}
		return r.print(w, "the processor")
	}
	r, err := sample(device(gpu), rows, dim)
	if closed := gpu.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return r.print(w, fmt.Sprint("GPU ", ordinal))
}

// A place is a device, with functions that make and read its buffers.
type place[B any] struct {
	sampler.Device[B]
	make func(n int) (B, error)
	read func(dst []float32, src B) error
}

func host() place[[]float32] {
	return place[[]float32]{
		Device: sampler.CPU{},
		make:   func(n int) ([]float32, error) { return make([]float32, n), nil },
		read: func(dst, src []float32) error {
			copy(dst, src)
			return nil
		},
	}
}

func device(d *cuda.Device) place[cuda.Buffer] {
	return place[cuda.Buffer]{
		Device: d,
		make:   func(n int) (cuda.Buffer, error) { return d.Make(n, sampler.Float32) },
		read:   d.Download,
	}
}

// A result does not depend on the device.
type result struct {
	samples             []float32
	squares             [][]float64 // sums of squares of a rollout, by step and sample
	deviation, expected float64     // standard deviation of the elements, as sampled and by formula
}

// The settings of a rollout.
const (
	steps = 20
	eta   = 0.7
	data  = 0.5 // the model's data are independent normals of this standard deviation
)

// velocity returns the factor by which the model multiplies a latent at level t. The model is
// exact for the normal data: the expected velocity at a latent x is
//
//	(t - (1-t)·σ²) / ((1-t)²·σ² + t²) · x
func velocity(t float64) float64 {
	v := data * data * (1 - t)
	return (t - v) / (v*(1-t) + t*t)
}

// sample runs a rollout. The device also computes the model.
func sample[B any](d place[B], rows, dim int) (*result, error) {
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(steps),
		Rule:      sampler.FlowCPS{Eta: eta},
	})
	if err != nil {
		return nil, err
	}
	names := make([]uint64, rows)
	for i := range names {
		names[i] = uint64(i)
	}
	b := s.Batch(dim, noise.Key(2509_05952), names...)

	t := &sampler.Trajectory[B]{SumSquares: make([][]float64, s.Steps())}
	x, err := d.make(b.Len())
	if err != nil {
		return nil, err
	}
	if t.V, err = d.make(b.Len()); err != nil {
		return nil, err
	}
	for i := range s.Steps() + 1 {
		t.Latents = append(t.Latents, x) // one buffer for all points: only the last latents remain
		if i < s.Steps() {
			t.SumSquares[i] = make([]float64, rows)
		}
	}
	var none B
	d.Step(x, none, none, b, nil)
	model := func(v, x B, time float64) error {
		d.Step(v, x, none, b.WithAffine(sampler.Affine{X: velocity(time)}), nil)
		return nil
	}
	if err := sampler.Rollout(context.Background(), d.Device, s, b, t, sampler.OneTime(model)); err != nil {
		return nil, err
	}

	r := &result{samples: make([]float32, b.Len()), squares: t.SumSquares}
	if err := d.read(r.samples, x); err != nil {
		return nil, err
	}
	for _, x := range r.samples {
		r.deviation += float64(x) * float64(x)
	}
	r.deviation = math.Sqrt(r.deviation / float64(b.Len()))
	r.expected = expected(s)
	return r, nil
}

// expected returns the standard deviation of samples of s by formula. Every step multiplies
// latents by a number and adds noise.
func expected(s *sampler.Sampler) float64 {
	variance := 1.0
	for i := range s.Steps() {
		t := s.At(i)
		a := t.Affine.X + t.Affine.V*velocity(t.From.Time)
		variance = a*a*variance + t.Affine.Eps*t.Affine.Eps
	}
	return math.Sqrt(variance)
}

// digest returns the beginning of a SHA-256 sum over all samples and sums of squares.
func (r *result) digest() string {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, r.samples)
	for _, s := range r.squares {
		binary.Write(h, binary.LittleEndian, s)
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:16]
}

func (r *result) print(w io.Writer, where string) error {
	rows := len(r.squares[0])
	_, err := fmt.Fprintf(w, `Drew %d samples of %d elements on %s: FlowCPS, η = %v, %d steps.
The elements have standard deviation %.4f; the formula gives %.4f.
The digest of all samples and sums of squares is %s. Every device prints the same one.
`, rows, len(r.samples)/rows, where, eta, steps, r.deviation, r.expected, r.digest())
	return err
}
