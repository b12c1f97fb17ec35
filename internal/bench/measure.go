package main

import (
	"slices"
	"time"
)

// A work does some number of repetitions and returns how long they took.
type work func(repetitions int) (time.Duration, error)

// A benchCase is one line of the table.
type benchCase struct {
	result        // describes the case; measure fills in the figures
	bytes  int    // bytes moved per element
	limit  string // name of the plain loop that moves the same bytes, or ""
	work   work
}

// here returns a work that calls f in this process.
func here(f func()) work {
	return func(n int) (time.Duration, error) {
		start := time.Now()
		for range n {
			f()
		}
		return time.Since(start), nil
	}
}

// measure runs all cases in turn, o.rounds times, and returns their medians.
func measure(cases []benchCase, o options) ([]result, error) {
	repetitions := make([]int, len(cases))
	for i, c := range cases { // this also warms everything up
		n := 1
		for {
			d, err := c.work(n)
			if err != nil {
				return nil, err
			}
			if d >= o.least {
				break
			}
			n = max(2*n, int(float64(n)*1.2*float64(o.least)/float64(max(d, 1))))
		}
		repetitions[i] = n
	}
	seconds := make([][]float64, len(cases))
	for range o.rounds {
		for i, c := range cases {
			d, err := c.work(repetitions[i])
			if err != nil {
				return nil, err
			}
			seconds[i] = append(seconds[i], d.Seconds()/float64(repetitions[i]))
		}
	}
	results := make([]result, len(cases))
	limits := map[key][]float64{} // times of the plain loops in every round
	for i, c := range cases {
		limits[key{c.Pass, c.Threads}] = seconds[i]
	}
	fastest := map[key]float64{}
	for i, c := range cases {
		r := c.result
		n := float64(r.Rows * r.Dim)
		r.Elements = n / median(seconds[i])
		r.Bytes = r.Elements * float64(c.bytes)
		if limit := limits[key{c.limit, c.Threads}]; limit != nil {
			r.Limit = medianRatio(limit, seconds[i])
		}
		if c.peer() == "" {
			k := key{r.Pass, r.Threads}
			fastest[k] = max(fastest[k], r.Elements)
		}
		results[i] = r
	}
	for i, c := range cases {
		if p := c.peer(); p != "" {
			results[i].Ours = fastest[key{p, c.Threads}] / results[i].Elements
		}
	}
	return results, nil
}

// A key names what is compared: a pass with a number of threads.
type key struct {
	pass    string
	threads int
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	n := len(x)
	return (x[(n-1)/2] + x[n/2]) / 2
}

// medianRatio returns the median over the rounds of a/b.
func medianRatio(a, b []float64) float64 {
	r := make([]float64, len(a))
	for i := range r {
		r[i] = a[i] / b[i]
	}
	return median(r)
}
