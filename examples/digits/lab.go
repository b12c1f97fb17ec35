package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"cps/internal/digits"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"
)

// A lab is what every rule is measured with: the data, the networks, and the samples
// to draw.
type lab struct {
	net        *digits.Net
	judge      *digits.Classifier
	data       *digits.Set
	background digits.Background
	classes    []int    // of every sample, ascending
	samples    []uint64 // whose noise they draw
	key        noise.Key
	shown      int // samples of a class in the picture
}

// newLab loads the networks and the data.
func newLab(o options) (*lab, error) {
	l := &lab{key: noise.Key(o.seed), shown: 2}
	var err error
	if l.data, err = digits.Load(); err != nil {
		return nil, err
	}
	if l.net, err = digits.Velocity(); err != nil {
		return nil, err
	}
	if l.judge, err = digits.Judge(); err != nil {
		return nil, err
	}
	l.background = digits.NearConstant(l.data, 0.0025)
	for c := range digits.Classes {
		if o.class >= 0 && c != o.class {
			continue
		}
		for k := range o.samples {
			l.classes = append(l.classes, c)
			l.samples = append(l.samples, uint64(c*o.samples+k))
		}
	}
	if o.class >= 0 {
		l.shown = min(20, o.samples)
	}
	return l, nil
}

// A row is what the table says of a rule.
type row struct {
	rule
	level     float64 // noise left at the end, by the audit
	residual  float64 // root mean square on near-constant pixels
	diversity float64 // mean distance to the nearest other sample of the class
	accuracy  float64
	logProb   float64 // Gaussian, mean over elements, rows and stochastic steps
	density   bool    // whether there are stochastic steps
	time      time.Duration
}

// sample rolls out all samples with s and measures them.
func (l *lab) sample(ctx context.Context, s *sampler.Sampler) ([]float32, row, error) {
	start := time.Now()
	b := s.Batch(digits.Dim, l.key, l.samples...)
	run := sampler.Keep(b, s.Steps(), sampler.Window{})
	cpu := sampler.CPU{}
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	velocity := func(v, x []float32, t float64) error {
		l.net.Forward(v, x, l.classes, t)
		return nil
	}
	if err := sampler.Rollout(ctx, cpu, s, b, run, velocity); err != nil {
		return nil, row{}, err
	}
	r := row{time: time.Since(start)}
	x := run.Latents[s.Steps()]

	audit := s.Audit()
	r.level = audit[len(audit)-1].Level
	r.residual = l.background.Residual(x)
	r.diversity = l.diversity(x)
	r.accuracy = l.judge.Accuracy(x, l.classes)
	logp, err := l.logProbs(s, b, run)
	if err != nil {
		return nil, row{}, err
	}
	for _, p := range logp {
		r.density = true
		r.logProb += p / float64(len(logp))
	}
	return x, r, nil
}

// diversity averages digits.Diversity over the classes.
func (l *lab) diversity(x []float32) float64 {
	n := 0 // samples of a class: the classes are equally large
	for n < len(l.classes) && l.classes[n] == l.classes[0] {
		n++
	}
	var sum float64
	for i := 0; i < len(l.classes); i += n {
		sum += digits.Diversity(x[i*digits.Dim:][:n*digits.Dim])
	}
	return sum / float64(len(l.classes)/n)
}

// logProbs returns the log-probabilities of all rows at all stochastic steps.
func (l *lab) logProbs(s *sampler.Sampler, b sampler.Batch, run *sampler.Trajectory[[]float32]) ([]float64, error) {
	var all []float64
	for i, sq := range run.Squares {
		if !s.At(i).Stochastic() {
			continue
		}
		s.Move(b, i)
		p, err := logprob.Form{Gaussian: true}.LogProb(make([]float64, len(sq)), b, sq)
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, nil
}

// show returns the samples of the picture, the first ones of every class.
func (l *lab) show(x []float32) []float32 {
	var shown []float32
	count := 0
	for i, c := range l.classes {
		if i > 0 && c != l.classes[i-1] {
			count = 0
		}
		if count++; count <= l.shown {
			shown = append(shown, x[i*digits.Dim:][:digits.Dim]...)
		}
	}
	return shown
}

// real returns the row of the picture that shows the data.
func (l *lab) real() strip {
	s := strip{label: "data", remark: fmt.Sprintf("residual noise %.3f", l.background.Residual(l.data.Pixels))}
	next := make([]int, digits.Classes) // where to look for the next image of a class
	for i, c := range l.classes {
		if i > 0 && c == l.classes[i-1] {
			continue
		}
		for range l.shown {
			for int(l.data.Labels[next[c]]) != c {
				next[c]++
			}
			s.images = append(s.images, l.data.Image(next[c])...)
			next[c]++
		}
	}
	return s
}

// printTable prints what was measured.
func printTable(w io.Writer, o options, rows []row, l *lab) {
	fmt.Fprintf(w, "%d samples, %d steps, shift %v, η = %v, seed %d\n\n", len(l.samples), o.steps, o.shift, o.eta, o.seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "rule\tfinal level\tresidual noise\tdiversity\taccuracy\tlog-prob\ttime\t")
	for _, r := range rows {
		logp := "-"
		if r.density {
			logp = fmt.Sprintf("%.3f", r.logProb)
		}
		fmt.Fprintf(t, "%s\t%.4f\t%.4f\t%.3f\t%.1f %%\t%s\t%.2f s\t\n",
			r.label, r.level, r.residual, r.diversity, 100*r.accuracy, logp, r.time.Seconds())
	}
	t.Flush()
	fmt.Fprint(w, `
final level     noise left after the last step where the model is exact; the schedule says 0
residual noise  root mean square deviation from the mean on the pixels that hardly vary in the data
diversity       mean distance to the nearest other sample of the class
accuracy        of a classifier of real digits on the samples
log-prob        Gaussian, mean over elements and over the steps that draw noise
`)
}
