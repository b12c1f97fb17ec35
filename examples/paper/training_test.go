package main

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cps/examples/internal/finetune"
)

// small is a budget with one checkpoint before the end.
var small = budget{iterations: saveEvery + 3, group: 2, every: 10, samples: 2, rates: []float64{1e-4, 1e-3}, tuningSeeds: 1, images: 2}

func testBench(t *testing.T, b budget) *bench {
	t.Helper()
	w, err := newBench(b, t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A training that is interrupted and goes on has the finding of an uninterrupted one, bit for
// bit. Afterwards the finding is known.
func TestResume(t *testing.T) {
	job := training{flowCPS.penalised(), "glyph", 1e-3, 3}
	want, err := testBench(t, small).run(t.Context(), job, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, stop := range []int{5, saveEvery + 1} {
		b := testBench(t, small)
		ctx, cancel := context.WithCancel(t.Context())
		done := 0
		_, err := b.run(ctx, job, func(n int) {
			if done += n; done == stop {
				cancel()
			}
		})
		if err == nil {
			t.Fatal("it was not interrupted")
		}
		resumed := 0
		got, err := b.run(t.Context(), job, func(n int) {
			if resumed == 0 && n != stop {
				t.Errorf("goes on after %d iterations, want %d", n, stop)
			}
			resumed += n
		})
		if err != nil {
			t.Fatal(err)
		}
		if resumed != small.iterations {
			t.Errorf("reports %d iterations, want %d", resumed, small.iterations)
		}
		sameFinding(t, got, want)

		again, err := b.known(job)
		if err != nil || again == nil {
			t.Fatalf("what was found is not known: %v", err)
		}
		sameFinding(t, again, want)
	}
}

func sameFinding(t *testing.T, got, want *finding) {
	t.Helper()
	a, b := *got, *want
	a.Timing, b.Timing = finetune.Timing{}, finetune.Timing{}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("found %+v, want %+v", a, b)
	}
}

// A finding with other settings does not count.
func TestOtherSettings(t *testing.T) {
	b := testBench(t, small)
	b.iterations = 2
	job := training{flowCPS, "glyph", 1e-3, 3}
	first, err := b.run(t.Context(), job, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	unknown := func() {
		t.Helper()
		if f, err := b.known(job); f != nil || err != nil {
			t.Errorf("known with other settings: %v, %v", f, err)
		}
	}
	b.iterations = 3
	unknown()
	second, err := b.run(t.Context(), job, func(int) {})
	if err != nil || len(second.History) != 3 {
		t.Errorf("%d iterations, %v; want 3", len(second.History), err)
	}
	b.group++
	unknown()
	third, err := b.run(t.Context(), job, func(int) {})
	if err != nil || third.Config == second.Config || first.Config != second.Config {
		t.Errorf("%v; group %d: %s", err, b.group, third.Config)
	}
	if err := os.WriteFile(b.path(job), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := b.known(job); err == nil || !strings.Contains(err.Error(), filepath.Base(b.path(job))) {
		t.Errorf("a damaged file: %v", err)
	}
}

// A training that diverges is a result, with the evaluation before.
func TestDiverged(t *testing.T) {
	b := testBench(t, small)
	f, err := b.run(t.Context(), training{flowCPS, "glyph", 1e30, 1}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	if f.Diverged == "" || len(f.History) != 0 {
		t.Fatalf("diverged %q after %d iterations", f.Diverged, len(f.History))
	}
	c, err := flowCPS.config(small, b.rewards["glyph"], 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	start, err := finetune.New(c)
	if err != nil {
		t.Fatal(err)
	}
	e, err := start.Evaluate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := e.Reward
	for name, x := range map[string]float64{"rule": underRule(f), "novelty": novelty(f), "class": other("class")(f)} {
		if !math.IsNaN(x) {
			t.Errorf("%s of a run that diverged is %v", name, x)
		}
	}
	if !f.collapsed() {
		t.Error("it has not collapsed")
	}
	if f.Final.Reward != last {
		t.Errorf("final reward %v, want that before, %v", f.Final.Reward, last)
	}
	if y := small.rewardsBy(f); len(y) != len(small.evaluations()) || y[0] != last || y[len(y)-1] != last {
		t.Errorf("rewards %v, want %d times %v", y, len(small.evaluations()), last)
	}
}

// A training whose last update made it diverge is a result too. Only the evaluation sees it.
func TestDivergedAtTheEnd(t *testing.T) {
	b := testBench(t, small)
	job := training{flowCPS, "glyph", 1e-3, 1}
	c, err := job.config(b.budget, b.rewards[job.reward], job.rate, job.seed)
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := finetune.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := trainer.Run(t.Context(), small.iterations, nil); err != nil {
		t.Fatal(err)
	}
	params := trainer.Net().Params()
	params[len(params)-1] = float32(math.Inf(1))
	if err := trainer.Save(filepath.Join(b.dir, job.file()+".checkpoint")); err != nil {
		t.Fatal(err)
	}
	f, err := b.run(t.Context(), job, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	var before *finetune.Evaluation
	for _, it := range f.History {
		if it.Eval != nil {
			before = it.Eval
		}
	}
	if f.Diverged == "" || f.After != nil || !f.collapsed() || before == nil || f.Final != *before {
		t.Errorf("diverged %q, final %+v, want %+v", f.Diverged, f.Final, before)
	}
}

// A checkpoint that cannot be read is an error, and is not written over.
func TestUnreadableCheckpoint(t *testing.T) {
	b := testBench(t, small)
	job := training{flowCPS, "glyph", 1e-3, 1}
	checkpoint := filepath.Join(b.dir, job.file()+".checkpoint")
	if err := os.Mkdir(checkpoint, 0o777); err != nil { // not even root can read it as a file
		t.Fatal(err)
	}
	if _, err := b.run(t.Context(), job, func(int) {}); err == nil || !strings.Contains(err.Error(), checkpoint) {
		t.Errorf("got %v", err)
	}
	os.Remove(checkpoint)
	// One that is damaged, or of other settings, is started over, and that is said.
	other, err := b.begin(training{flowCPS, "glyph", 2e-3, 1})
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func() error{
		"damaged":                          func() error { return os.WriteFile(checkpoint, []byte("damaged"), 0o666) },
		"the checkpoint is of another run": func() error { return other.Save(checkpoint) },
	} {
		var said strings.Builder
		b.notes = &said
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.run(t.Context(), job, func(int) {}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !strings.Contains(said.String(), checkpoint) || !strings.Contains(said.String(), what) || !strings.Contains(said.String(), "starting over") {
			t.Errorf("%s: said %q", what, &said)
		}
	}
	var said strings.Builder
	b.notes = &said
	if _, err := b.run(t.Context(), job, func(int) {}); err != nil || said.Len() != 0 {
		t.Errorf("no checkpoint: said %q, %v", &said, err)
	}
}

// An interrupt while the network is judged loses no iteration.
func TestInterruptedJudge(t *testing.T) {
	b := testBench(t, small)
	b.iterations = 2
	job := training{flowCPS, "glyph", 1e-3, 1}
	ctx, cancel := context.WithCancel(t.Context())
	done := 0
	f, err := b.run(ctx, job, func(n int) {
		if done += n; done == b.iterations {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || f != nil {
		t.Fatalf("found %+v, %v", f, err)
	}
	c, err := job.config(b.budget, b.rewards["glyph"], job.rate, job.seed)
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := finetune.Load(c, filepath.Join(b.dir, job.file()+".checkpoint"))
	if err != nil || trainer.Iteration() != b.iterations {
		t.Fatalf("the checkpoint: %v", err)
	}
	if f, err := b.run(t.Context(), job, func(int) {}); err != nil || len(f.History) != b.iterations || f.After == nil {
		t.Errorf("found %+v, %v", f, err)
	}
}

func TestEvaluations(t *testing.T) {
	b := budget{iterations: 5, every: 2}
	if x := b.evaluations(); !reflect.DeepEqual(x, []float64{0, 2, 4, 5}) {
		t.Errorf("evaluations at %v", x)
	}
	f := &finding{Final: finetune.Evaluation{Reward: 9}}
	for i := range 5 {
		f.History = append(f.History, finetune.Iteration{})
		if i%2 == 0 {
			f.History[i].Eval = &finetune.Evaluation{Reward: float64(i)}
		}
	}
	if y := b.rewardsBy(f); !reflect.DeepEqual(y, []float64{0, 2, 4, 9}) {
		t.Errorf("rewards %v", y)
	}
}

// A checkpoint that cannot be written is an error, not a training that diverged.
func TestUnsaved(t *testing.T) {
	b := testBench(t, small)
	job := training{flowCPS, "glyph", 1e-3, 1}
	// A folder in the place of the file that is written first.
	if err := os.Mkdir(filepath.Join(b.dir, job.file()+".checkpoint.tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if f, err := b.run(t.Context(), job, func(int) {}); err == nil || f != nil {
		t.Errorf("found %+v, %v", f, err)
	}
}
