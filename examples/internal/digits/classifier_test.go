package digits

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/diff/fd"
)

func TestClassifierAccuracy(t *testing.T) {
	_, c := committed(t)
	_, test := data(t).Split()
	a := c.Accuracy(test.Pixels, test.Labels)
	t.Logf("accuracy %.4f on %d images that were not trained on", a, test.Len())
	if a < 0.95 {
		t.Errorf("accuracy %.4f", a)
	}
}

func TestProbabilities(t *testing.T) {
	_, c := committed(t)
	s := data(t)
	const rows = 40
	x := s.Pixels[:rows*Dim]
	p := c.Probabilities(make([]float64, rows*Classes), x)
	labels := c.Classify(make([]int, rows), x)
	for i, l := range labels {
		row := p[i*Classes:][:Classes]
		sum := 0.0
		for _, q := range row {
			sum += q
		}
		// Ten terms, each rounded in float64.
		if math.Abs(sum-1) > 1e-14 {
			t.Errorf("row %d: probabilities sum to %v", i, sum)
		}
		if row[l] != slices.Max(row) {
			t.Errorf("row %d: class %d is not the most probable of %v", i, l, row)
		}
		alone := c.Probabilities(make([]float64, Classes), x[i*Dim:][:Dim])
		if !slices.Equal(alone, row) {
			t.Errorf("row %d depends on the others", i)
		}
		var logits []float64
		input := append(slices.Clone(x[i*Dim:][:Dim]), 1)
		logits = naive(c.shape, c.params, input)
		total := 0.0
		for _, z := range logits {
			total += math.Exp(z)
		}
		for k, z := range logits {
			// Logits up to 20, as float32 sums of 64 terms.
			if want := math.Exp(z) / total; math.Abs(row[k]-want) > 2e-5 {
				t.Errorf("row %d: probability of %d is %v, want %v", i, k, row[k], want)
			}
		}
	}
	if a := testing.AllocsPerRun(20, func() { c.Probabilities(p, x) }); a >= 1 && !raceEnabled { // the race detector empties pools
		t.Errorf("%v allocations", a)
	}
}

func TestClassifyNaN(t *testing.T) {
	_, c := committed(t)
	x := slices.Clone(data(t).Pixels[:2*Dim])
	want := c.Classify(make([]int, 2), x)
	x[3] = float32(math.NaN())
	got := c.Classify(make([]int, 2), x)
	if got[0] != -1 || got[1] != want[1] {
		t.Errorf("digits %v, without the NaN %v", got, want)
	}
	if a := c.Accuracy(x[:Dim], want[:1]); a != 0 {
		t.Errorf("accuracy %v of a NaN", a)
	}
}

func TestClassifierClone(t *testing.T) {
	_, c := committed(t)
	x := data(t).Pixels[:Dim]
	want := c.Probabilities(make([]float64, Classes), x)
	d := c.Clone()
	if got := d.Probabilities(make([]float64, Classes), x); !slices.Equal(got, want) {
		t.Errorf("clone gives %v, want %v", got, want)
	}
	clear(d.params)
	if got := c.Probabilities(make([]float64, Classes), x); !slices.Equal(got, want) {
		t.Error("a change of the clone changed the classifier")
	}
}

func TestCrossEntropyGradient(t *testing.T) {
	logits := []float32{0.5, -1, 2, 0.25, 0, 1, -0.5, 3, 0.125, -2}
	delta := make([]float32, Classes)
	for label := range logits {
		crossEntropy(delta, logits, label)
		for k := range logits {
			z := slices.Clone(logits)
			want := fd.Derivative(func(x float64) float64 {
				z[k] = float32(x)
				return crossEntropy(make([]float32, Classes), z, label)
			}, float64(logits[k]), &fd.Settings{Formula: fd.Central, Step: 1.0 / 128})
			// exp in float32 is off by 1e-7; over a step of 1/64 that is 1e-5; the
			// formula's own error is step²/6 = 1e-5.
			if math.Abs(float64(delta[k])-want) > 5e-5 {
				t.Errorf("label %d, logit %d: derivative %v, want %v", label, k, delta[k], want)
			}
		}
	}
}

func TestAdam(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	const n = 5000 // more than one task
	params, grad := make([]float32, n), make([]float32, n)
	m, v, want := make([]float64, n), make([]float64, n), make([]float64, n)
	o := NewAdam(n)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	for step := 1; step <= 20; step++ {
		for i := range grad {
			grad[i] = float32(r.NormFloat64())
			if i == 7 {
				grad[i] = 0
			}
			// Algorithm 1 as printed.
			g := float64(grad[i])
			m[i] = 0.9*m[i] + 0.1*g
			v[i] = 0.999*v[i] + 0.001*g*g
			mhat := m[i] / (1 - math.Pow(0.9, float64(step)))
			vhat := v[i] / (1 - math.Pow(0.999, float64(step)))
			want[i] -= 0.01 * mhat / (math.Sqrt(vhat) + 1e-8)
		}
		o.Step(params, grad, 0.01)
	}
	for i := range params {
		// Twenty steps of 0.01 in float32.
		if math.Abs(float64(params[i])-want[i]) > 1e-6 {
			t.Errorf("weight %d is %v, want %v", i, params[i], want[i])
		}
		if grad[i] != 0 {
			t.Fatalf("gradient %d is not cleared", i)
		}
	}
}

func TestCosine(t *testing.T) {
	const steps, warm = 100, 10
	last := 0.0
	for step := range steps {
		rate := cosine(step, steps, warm, 2)
		if up := step < warm; up != (rate > last) && step != warm {
			t.Errorf("step %d: rate %v after %v", step, rate, last)
		}
		last = rate
	}
	if r := cosine(warm-1, steps, warm, 2); r != 2 {
		t.Errorf("the highest rate is %v", r)
	}
	if r := cosine(warm+45, steps, warm, 2); math.Abs(r-1) > 1e-15 {
		t.Errorf("half way down the rate is %v", r)
	}
	if last <= 0 || last > 0.001 {
		t.Errorf("the last rate is %v", last)
	}
}

func TestAverage(t *testing.T) {
	mean := []float32{0, 1}
	average(mean, []float32{4, 3}, 0.75)
	if mean[0] != 1 || mean[1] != 1.5 {
		t.Errorf("average %v", mean)
	}
}
