package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	ort "github.com/yalue/onnxruntime_go"

	"cps/sampler"
)

// Inputs and PyTorch's outputs for them, as train.py wrote them.
//
//go:embed testdata/velocity.check testdata/classifier.check
var checks embed.FS

// torchDifference returns how far the outputs of the sessions are from PyTorch's, at most.
func torchDifference(velocity, classifier *ort.DynamicAdvancedSession) (v, logits float64, err error) {
	const n, m = 11, 16
	x, times, class, want := make([]float32, n*dim), make([]float32, n), make([]int64, n), make([]float32, n*dim)
	if err := unpack("velocity", x, times, class, want); err != nil {
		return 0, 0, err
	}
	got := make([]float32, n*dim)
	var t tensors
	if err := t.run(velocity, tensor(&t, got, n, 1, side, side), tensor(&t, x, n, 1, side, side), tensor(&t, times, n), tensor(&t, class, n)); err != nil {
		return 0, 0, err
	}
	v = greatest(got, want)

	x, want, got = make([]float32, m*dim), make([]float32, m*none), make([]float32, m*none)
	if err := unpack("classifier", x, want); err != nil {
		return 0, 0, err
	}
	t = tensors{}
	if err := t.run(classifier, tensor(&t, got, m, none), tensor(&t, x, m, 1, side, side)); err != nil {
		return 0, 0, err
	}
	return v, greatest(got, want), nil
}

// unpack reads the parts of a file of checks.
func unpack(name string, parts ...any) error {
	b, err := checks.ReadFile("testdata/" + name + ".check")
	if err != nil {
		return err
	}
	r := bytes.NewReader(b)
	for _, p := range parts {
		if err := binary.Read(r, binary.LittleEndian, p); err != nil {
			return fmt.Errorf("%s.check: %w", name, err)
		}
	}
	if r.Len() > 0 {
		return fmt.Errorf("%s.check: %d bytes too many", name, r.Len())
	}
	return nil
}

func greatest(a, b []float32) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}

// onPolicy replays rollouts of n samples in batches of some sizes, for a trainer asks about
// other rows together than a rollout does. It prints what CheckOnPolicy says, for one rule of
// sessions with other options too.
func (l *lab) onPolicy(ctx context.Context, w io.Writer, n int, batches []int, threads int) error {
	fmt.Fprintf(w, "\nCheckOnPolicy: %d samples, replayed together, in reverse, and in batches of %v\n", n, batches)
	classes := classesOf(0, n)
	model := conditional(l.velocity, classes)
	for _, a := range arms() {
		s, err := l.sampler(a.rule)
		if err != nil {
			return err
		}
		run, b, err := l.rollout(ctx, s, model, 0, n, sampler.Window{})
		if err != nil {
			return err
		}
		err = sampler.CheckOnPolicy(ctx, sampler.CPU{}, s, b, run, model, batches...)
		if err := verdict(w, a.name, err); err != nil {
			return err
		}
		if a.rule != (sampler.FlowCPS{Eta: 0.9}) {
			continue
		}
		for _, o := range []options{{threads: 1}, {threads: threads + 2}, {threads: threads, plain: true}} {
			other, err := o.velocity()
			if err != nil {
				return err
			}
			name := fmt.Sprintf("  threads: %d", o.threads)
			if o.plain { // must differ, or this check proves nothing
				name = "  without fusions"
			}
			err = sampler.CheckOnPolicy(ctx, sampler.CPU{}, s, b, run, conditional(other, classes), batches...)
			if err := errors.Join(verdict(w, name, err), other.Destroy()); err != nil {
				return err
			}
		}
	}
	return nil
}

// verdict prints what CheckOnPolicy found. It returns errors that are no findings.
func verdict(w io.Writer, name string, err error) error {
	if err != nil && !errors.Is(err, sampler.ErrOffPolicy) {
		return err
	}
	if err == nil {
		fmt.Fprintf(w, "%-24s ratios are exactly 1\n", name)
		return nil
	}
	fmt.Fprintf(w, "%-24s %v\n", name, err)
	return nil
}
