// Device samples on whichever device is there: a GPU, if the program was built with the
// tag cuda and one is found, or the processor. Both print the same digest, since all
// devices give the same bits.
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
	"log"
	"math"

	"cps/cuda"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

func main() {
	log.SetFlags(0)
	ordinal := flag.Int("gpu", 0, "which `GPU`, counted from 0")
	rows := flag.Int("rows", 16, "how many samples")
	dim := flag.Int("dim", 1<<14, "elements of a sample")
	flag.Parse()
	if err := run(*ordinal, *rows, *dim); err != nil {
		log.Fatal(err)
	}
}

// run samples on the GPU if there is one, else on the processor.
func run(ordinal, rows, dim int) error {
	if rows < 1 || dim < 1 {
		return fmt.Errorf("%d rows of %d elements: nothing to sample", rows, dim)
	}
	gpu, err := cuda.Open(ordinal)
	if err != nil {
		fmt.Println("no GPU:", err)
		r, err := sample(host(), rows, dim)
		if err != nil {
			return err
		}
		return r.print("CPU")
	}
	r, err := sample(device(gpu), rows, dim)
	if closed := gpu.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return r.print(fmt.Sprint("GPU ", ordinal))
}

// A place is a device and how to make and read its buffers.
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

// A result is what does not depend on the device.
type result struct {
	samples             []float32
	squares             [][]float64
	deviation, expected float64
}

// Data are independent normals of this deviation.
const data = 0.5

// velocity returns what the model multiplies latents with at level t. It is the right
// model for normal data: the expected velocity at a latent x is
//
//	(t - (1-t)·σ²) / ((1-t)²·σ² + t²) · x
func velocity(t float64) float64 {
	v := data * data * (1 - t)
	return (t - v) / (v*(1-t) + t*t)
}

// sample runs a rollout. The device is the model too.
func sample[B any](d place[B], rows, dim int) (*result, error) {
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(20),
		Rule:      sampler.FlowCPS{Eta: 0.7},
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
		t.Latents = append(t.Latents, x) // the last latents only are kept
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

// expected returns the deviation of samples of s: every step multiplies latents and adds
// noise.
func expected(s *sampler.Sampler) float64 {
	variance := 1.0
	for i := range s.Steps() {
		t := s.At(i)
		a := t.Affine.X + t.Affine.V*velocity(t.From.Time)
		variance = a*a*variance + t.Affine.Eps*t.Affine.Eps
	}
	return math.Sqrt(variance)
}

// digest is a sum of all bits.
func (r *result) digest() string {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, r.samples)
	for _, s := range r.squares {
		binary.Write(h, binary.LittleEndian, s)
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:16]
}

func (r *result) print(where string) error {
	_, err := fmt.Printf("%s: deviation %.4f, expected %.4f; digest %s\n", where, r.deviation, r.expected, r.digest())
	return err
}
