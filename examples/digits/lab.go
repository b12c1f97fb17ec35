package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"cps/examples/internal/digits"
	"cps/examples/internal/strips"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"
)

// A lab measures rules. It has the data, the networks, and the samples to draw.
type lab struct {
	net        *digits.Net
	judge      *digits.Classifier
	data       *digits.Set
	background digits.Background
	key        noise.Key
	asked      []int // classes
	each       int   // samples of each of them
	shown      int   // of these in the picture
	classes    []int // of every sample, class by class
	samples    []uint64
}

// newLab loads the networks and the data.
func newLab(o options) (*lab, error) {
	l := &lab{key: noise.Key(o.seed), each: o.samples, shown: 2}
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
		if o.class < 0 || c == o.class {
			l.asked = append(l.asked, c)
		}
	}
	if len(l.asked) == 1 {
		l.shown = 20
	}
	l.shown = min(l.shown, l.each)
	for _, c := range l.asked {
		for k := range l.each {
			l.classes = append(l.classes, c)
			l.samples = append(l.samples, uint64(c*maxSamples+k))
		}
	}
	return l, nil
}

// A row has what the table says of a rule.
type row struct {
	rule
	level     float64 // noise left at the end, by the audit
	excess    float64 // accumulated over all steps, by the audit
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
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu := sampler.CPU{}
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	velocity := func(v, x []float32, t float64) error {
		l.net.Forward(v, x, l.classes, t)
		return nil
	}
	if err := sampler.Rollout(ctx, cpu, s, b, run, sampler.OneTime(velocity)); err != nil {
		return nil, row{}, err
	}
	r := row{time: time.Since(start)}
	x := run.Latents[s.Steps()]

	audit := s.Audit()
	r.level, r.excess = audit[len(audit)-1].Level, audit[len(audit)-1].Accumulated
	l.measure(&r, x)
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

// reference returns the row of the table for the data. It takes all images of the classes
// asked for. Diversity falls with the number of images, so it is measured on as many images
// as there are samples.
func (l *lab) reference() row {
	r := row{rule: rule{label: "data"}}
	var x []float32
	var classes []int
	for _, c := range l.asked {
		images := l.images(c, l.data.Len())
		x = append(x, images...)
		for range len(images) / digits.Dim {
			classes = append(classes, c)
		}
		r.diversity += digits.Diversity(l.images(c, l.each)) / float64(len(l.asked))
	}
	r.residual = l.background.Residual(x)
	r.accuracy = l.judge.Accuracy(x, classes)
	return r
}

// measure fills r with the residual, accuracy and diversity of samples.
func (l *lab) measure(r *row, x []float32) {
	r.residual = l.background.Residual(x)
	r.accuracy = l.judge.Accuracy(x, l.classes)
	n := l.each * digits.Dim
	for i := range l.asked {
		r.diversity += digits.Diversity(x[i*n:][:n]) / float64(len(l.asked))
	}
}

// images returns the first n images of a class in the data, or all if there are fewer.
func (l *lab) images(class, n int) []float32 {
	var x []float32
	for i, label := range l.data.Labels {
		if label == class && len(x) < n*digits.Dim {
			x = append(x, l.data.Image(i)...)
		}
	}
	return x
}

// logProbs returns the log-probabilities of all rows at all stochastic steps.
func (l *lab) logProbs(s *sampler.Sampler, b sampler.Batch, run *sampler.Trajectory[[]float32]) ([]float64, error) {
	var all []float64
	for i, sq := range run.SumSquares {
		if !s.At(i).Stochastic() {
			continue
		}
		s.SetStep(b, i)
		p, err := logprob.Form{Gaussian: true}.LogProb(make([]float64, len(sq)), b, sq)
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, nil
}

// show returns the samples for the picture: the first ones of every class.
func (l *lab) show(x []float32) []float32 {
	var shown []float32
	for i := range l.asked {
		shown = append(shown, x[i*l.each*digits.Dim:][:l.shown*digits.Dim]...)
	}
	return shown
}

// real returns the row of the picture that shows the data, given its row of the table.
func (l *lab) real(r row) strips.Strip {
	s := strips.Strip{Label: r.label, Remark: remark(r.residual)}
	for _, c := range l.asked {
		s.Images = append(s.Images, l.images(c, l.shown)...)
	}
	return s
}

// remark returns the line of the picture below the name of a rule.
func remark(residual float64) string { return fmt.Sprintf("residual noise %.3f", residual) }

// printTable prints the measurements, and explains the columns.
func printTable(w io.Writer, o options, rows []row, l *lab) {
	fmt.Fprintf(w, "%d samples, %s, shift %v, η = %v, seed %d\n\n", len(l.samples), o.run(), o.shift, o.eta, o.seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "rule\tfinal level\texcess\tresidual noise\tdiversity\taccuracy\tlog-prob\ttime\t")
	for _, r := range rows {
		level, excess, logp, seconds := "-", "-", "-", "-"
		if r.Rule != nil {
			level = fmt.Sprintf("%.4f", r.level)
			excess = fmt.Sprintf("%.4f", math.Abs(r.excess)) // no -0.0000
			seconds = fmt.Sprintf("%.2f s", r.time.Seconds())
		}
		if r.density {
			logp = fmt.Sprintf("%.3f", r.logProb)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.4f\t%.3f\t%.1f %%\t%s\t%s\t\n",
			r.label, level, excess, r.residual, r.diversity, 100*r.accuracy, logp, seconds)
	}
	t.Flush()
	fmt.Fprint(w, `
final level     noise after the last step, by formula, for an exact model that is given the
                noise of the schedule; 0 is right
excess          noise that all steps together add to that of the schedule, as the root of the
                sum of squares; a model that is given too much noise may amplify it
residual noise  root mean square deviation from the mean on the pixels that hardly vary in the
                data; the data has a few rare strokes there
diversity       mean distance to the nearest other sample of the class; for the data, among as
                many images; noise raises it too
accuracy        of a classifier of real digits, which noise hardly disturbs
log-prob        Gaussian, mean over elements and over the steps that draw noise; rules that draw
                more noise have lower log-prob
`)
}
