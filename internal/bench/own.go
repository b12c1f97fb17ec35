package main

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"cps/internal/kernel"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"

	"gonum.org/v1/gonum/floats"
)

// ownCases returns the passes of this module on all implementations, and plain loops that move
// the same bytes.
func ownCases(s size) ([]benchCase, error) {
	threads := []int{1}
	if n := processors(); n > 1 {
		threads = append(threads, n)
	}
	var cases []benchCase
	for _, n := range threads {
		cases = append(cases, limits(s, n)...)
	}
	passes, err := passCases(s, implementations(), threads)
	return append(cases, passes...), err
}

// spanLen is the length of spans, which are short rows. Other cases of the same run have the same
// elements in long rows.
const spanLen = 64

func processors() int { return runtime.NumCPU() }

// implementations returns the names of the kernels, the fastest first.
func implementations() []string {
	names := kernel.Implementations()
	slices.Reverse(names)
	return names
}

// passCases returns the passes on the given implementations with the given numbers of threads.
func passCases(s size, names []string, threads []int) ([]benchCase, error) {
	run, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(10), Rule: sampler.FlowCPS{Eta: 0.7}})
	if err != nil {
		return nil, err
	}
	samples := make([]uint64, s.Rows)
	for i := range samples {
		samples[i] = uint64(i)
	}
	b := run.Batch(s.Dim, noise.Key(1), samples...)
	x, v, next, ref := make([]float32, b.Len()), make([]float32, b.Len()), make([]float32, b.Len()), make([]float32, b.Len())
	cpu := sampler.CPU{}
	cpu.Step(x, nil, nil, b, nil)
	copy(v, x)
	copy(ref, x)
	run.SetStep(b, 3)
	distance := b.WithAffine(sampler.Affine{V: 1})
	base := b.WithAffine(sampler.Affine{X: 0.9, V: -0.1}) // of a solver: a step without noise
	sq, scale := make([]float64, s.Rows), scales(s.Rows)

	words := []words16{newWords16(sampler.BFloat16, x), newWords16(sampler.Float16, x)}

	var cases []benchCase
	for _, n := range threads {
		cpu := sampler.CPU{Workers: n}
		for _, name := range names {
			add := func(pass string, bytes int, limit string, f func()) {
				w := here(f)
				cases = append(cases, benchCase{
					result: result{Pass: pass, Implementation: name, Threads: n, Rows: s.Rows, Dim: s.Dim},
					bytes:  bytes, limit: limit,
					work: func(k int) (time.Duration, error) {
						kernel.Use(name)
						return w(k)
					},
				})
			}
			add("step", 12, "triad", func() { cpu.Step(next, x, v, b, sq) })
			add("replay", 12, "read 3", func() { cpu.SumSquares(sq, next, x, v, b) })
			add("gradient", 20, "", func() { cpu.Grad(ref, next, x, v, b, scale) })
			add("KL", 8, "read 2", func() { cpu.SumSquares(sq, ref, nil, v, distance) })
			add("replay and gradient", 32, "", func() {
				cpu.SumSquares(sq, next, x, v, b)
				cpu.Grad(ref, next, x, v, b, scale)
			})
			add("base of a solver", 12, "triad", func() { cpu.Step(next, x, v, base, nil) })
			if s.Dim > spanLen {
				spans, distance := b.Spans(spanLen), distance.Spans(spanLen)
				sq, scale := make([]float64, len(spans.Rows)), scales(len(spans.Rows))
				add("step, spans", 12, "triad", func() { cpu.Step(next, x, v, spans, sq) })
				add("replay, spans", 12, "read 3", func() { cpu.SumSquares(sq, next, x, v, spans) })
				add("gradient, spans", 20, "", func() { cpu.Grad(ref, next, x, v, spans, scale) })
				add("KL, spans", 8, "read 2", func() { cpu.SumSquares(sq, ref, nil, v, distance) })
			}
			for _, w := range words {
				cpu := sampler.CPU16{Type: w.typ, Workers: n}
				b := b
				b.Storage = w.typ
				name := w.typ.String()
				add("step, "+name, 6, "", func() { cpu.Step(w.next, w.x, w.v, b, sq) })
				add("replay, "+name, 6, "", func() { cpu.SumSquares(sq, w.next, w.x, w.v, b) })
				add("gradient, "+name, 10, "", func() { cpu.Grad(w.ref, w.next, w.x, w.v, b, scale) })
			}
			if n == 1 {
				add("normal", 4, "", func() { noise.Normal(next, 1, noise.ID{}, 0) })
			}
		}
	}
	return cases, nil
}

// scales returns n scales of gradients. They are not 0, so that no kernel may skip a row.
func scales(n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = 1e-9 * float64(1-2*(i%2))
	}
	return s
}

// words16 is buffers of 16-bit words.
type words16 struct {
	typ             sampler.Storage
	x, v, next, ref []uint16
}

func newWords16(typ sampler.Storage, values []float32) words16 {
	x := make([]uint16, len(values))
	typ.Pack(x, values)
	return words16{typ, x, slices.Clone(x), slices.Clone(x), slices.Clone(x)}
}

// limits returns gonum's loops over float64s: dst = a·x + y, the dot product, and both a dot
// product and a sum. They have half as many elements as the passes, so the bytes are the same.
func limits(s size, threads int) []benchCase {
	n := s.elements() / 2
	x, y, z := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n { // written, since memory that was never written may be one page of zeros
		x[i], y[i], z[i] = 1, 0.5, 0.25
	}
	each := func(f func(lo, hi int)) work {
		return here(func() {
			var wait sync.WaitGroup
			for t := range threads {
				wait.Go(func() { f(n*t/threads, n*(t+1)/threads) })
			}
			wait.Wait()
		})
	}
	loop := func(name string, bytes int, f func(lo, hi int)) benchCase {
		return benchCase{
			result: result{Pass: name, Implementation: "plain loop", Threads: threads, Rows: s.Rows, Dim: s.Dim},
			bytes:  bytes, work: each(f),
		}
	}
	return []benchCase{
		loop("triad", 12, func(lo, hi int) { floats.AddScaledTo(z[lo:hi], y[lo:hi], 0.5, x[lo:hi]) }),
		loop("read 3", 12, func(lo, hi int) { sink(floats.Dot(x[lo:hi], y[lo:hi]) + floats.Sum(z[lo:hi])) }),
		loop("read 2", 8, func(lo, hi int) { sink(floats.Dot(x[lo:hi], y[lo:hi])) }),
	}
}

// sink uses a result, so that the compiler keeps its computation.
//
//go:noinline
func sink(float64) {}
