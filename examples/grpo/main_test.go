package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"cps/examples/internal/finetune"
	"cps/grpo"
	"cps/logprob"
	"cps/sampler"
)

// TestMain lets the test binary stand in for the command.
func TestMain(m *testing.M) {
	if os.Getenv("GRPO_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command returns the program as a process that has not started.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, args...)
	c.Env = append(os.Environ(), "GRPO_MAIN=1")
	return c
}

// A mistake on the command line gives one line that names it, and status 2.
func TestWrongFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-rule heun", `-rule "heun" is none of flowode, flowcps, `},
		{"-rule 2m", `exact-ratio, modifiedsde-ratio`}, {"-rule 2m", "2m-sde, 3m-sde, ancestral-2m"},
		{"-rule 2m-sde -eta 0", "-eta 0: the rule draws no noise at step 0"},
		{"-rule flowode", "-rule flowode: the rule draws no noise at step 0"},
		{"-rule vpsde", "-rule vpsde: sampler: step 0 (noise 1 → 0.9): VPSDE: "},
		{"-eta 1.7", "grpo: -eta 1.7: sampler: step 0 (noise 1 → 0.9): FlowCPS: eta 1.7 is not in [0, 1]"},
		{"-eta x", `invalid value "x" for flag -eta`},
		{"-window 3", `-window "3" is none of all, START:END`},
		{"-window sliding:1", `-window "sliding:1" is none of`},
		{"-window 0:10", "grpo: -window 0:10: Fixed: window [0, 10) of 9 steps: no such window of steps (of 10 steps the last draws no noise; the 9 before it can be trained, from step 0)"},
		{"-form density", `-form "density" is none of gaussian, gaussian-sum, paper, paper-sum`},
		{"-kl k3", `-kl "k3" is none of velocity, gaussian, gaussian-sum, paper, paper-sum`},
		{"-reward beauty", `-reward "beauty" is none of class`},
		{"-minibatch 3", `-minibatch "3" is not ROWS:STEPS`},
		{"-seeds 0", "-seeds 0 is not in [1, 1000]"},
		{"-seed -1", `invalid value "-1" for flag -seed: take a whole number from 0 to 18446744073709551615`},
		{"-seed 18446744073709551615", "-seed 18446744073709551615: the last of 3 seeds is beyond 18446744073709551615: take a smaller one"},
		{"-load nowhere", "-load: open nowhere"},
		{"-colour", "flag provided but not defined: -colour"},
		{"seven", `unexpected argument "seven"`},
	} {
		args := append([]string{"-out", t.TempDir()}, strings.Fields(c.args)...)
		cmd := command(t, args...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if status := cmd.ProcessState.ExitCode(); status != 2 || stdout.Len() != 0 || !strings.Contains(stderr.String(), c.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: status %d, stdout %q, stderr %q; want status 2 and one line with %q", c.args, status, &stdout, &stderr, c.want)
		}
	}
}

// An error names the flag that cannot run, also for a 0, which package finetune would
// take for its default.
func TestBadSettings(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-steps 0", "-steps 0 is not in [2, 1000]"},
		{"-steps 1", "-steps 1 is not in [2, 1000]"},
		{"-shift 0", "-shift 0 is not positive"},
		{"-shift -1", "-shift -1 is not positive"},
		{"-shift NaN", "-shift NaN is not positive"},
		{"-shift 1e300", "-steps 10 -shift 1e+300: "},
		{"-rate 0", "-rate 0 is not positive"},
		{"-rate Inf", "-rate +Inf is not positive and finite"},
		{"-group 0", "-group 0 is not in [2, 10000]"},
		{"-group 1", "-group 1 is not in [2, 10000]"},
		{"-prompts 0", "-prompts 0 is not in [1, 1000]"},
		{"-samples 0", "-samples 0 is not in [2, 1000]"},
		{"-epochs 0", "-epochs 0 is not in [1, 1000]"},
		{"-iterations 0", "-iterations 0 is not in [1, "},
		{"-quick -iterations 0", "-iterations 0 is not in [1, "},
		{"-history -1", "-history -1 is not in [0, "},
		{"-clip -1", "-clip -1 is not a finite number ≥ 0"},
		{"-beta -1", "-beta -1 is not a finite number ≥ 0"},
		{"-beta NaN", "-beta NaN is not"},
		{"-stop -1", "-stop -1 is not"},
		{"-average 1", "-average 1 is not in [0, 1)"},
		{"-average NaN", "-average NaN is not in [0, 1)"},
		{"-eta 0", "-eta 0: the rule draws no noise at step 0"},
		{"-eta NaN", "-eta NaN: "},
		{"-rule flowsde-constant -eta -1", "-eta -1: "},
		{"-window 0:0", "-window 0:0: window [0, 0): no such window"},
		{"-window 2:20", "-window 2:20: Fixed: window [2, 20) of 9 steps"},
		{"-window random:0", "-window random:0: Random: 0 steps"},
		{"-window sliding:2:1:0", "-window sliding:2:1:0: Sliding: "},
		{"-minibatch 3:-1", `-minibatch "3:-1" is not ROWS:STEPS`},
		{"-out=", "-out is empty"},
	} {
		_, err := parse(strings.Fields(c.args), io.Discard)
		if !errors.As(err, &usageError{}) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: error %v, want a usage error that begins with %q", c.args, err, c.want)
		}
	}
	// These zeros are allowed.
	o, err := parse(strings.Fields("-clip 0 -stop 0 -average 0 -history 0 -beta 0 -minibatch 0:0 -seed 0"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c := o.config; c.Objective != (grpo.Objective{}) || c.Minibatches != (grpo.Minibatches{Rows: 120}) {
		t.Errorf("zeros: %+v, %+v", c.Objective, c.Minibatches)
	}
}

// parse sets every field, so package finetune uses no default, and the settings that are
// printed are those that run. Both packages allow the same values: the test tries the low
// ends of the ranges.
func TestWhatRuns(t *testing.T) {
	for _, args := range []string{
		"", "-quick", "-steps 2", "-rule 2m-sde -eta 1", "-rule 3M-SDE -eta 1", "-rule ancestral-2m", "-group 2 -prompts 1 -samples 2", "-window 0:9", "-minibatch 0:0", "-rule dpmsdeplus -eta 7", "-average 0.999",
		"-clip 1e300 -stop 1e300 -history 1",
	} {
		o, err := parse(strings.Fields(args), io.Discard)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		trainer, err := o.trainer(0, io.Discard)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		said, runs := o.config, trainer.Config()
		runs.Net, runs.Norm, runs.Limit, runs.Every = said.Net, said.Norm, said.Limit, said.Every // no flag sets them
		if said.String() != runs.String() {
			t.Errorf("%q says\n%s\nbut runs\n%s", args, said, runs)
		}
	}
	for args, want := range map[string]string{"-eta 0.5": "FlowCPS, η = 0.5", "-rule dpmsdeplus -eta 0.5": "DPMSDEPlus", "-rule ancestral-2m": "Ancestral 2M, η = 0.9"} {
		if o, err := parse(strings.Fields(args), io.Discard); err != nil || o.rule != want {
			t.Errorf("%s: rule %q, %v; want %q", args, o.rule, err, want)
		}
	}
}

// -resume says at which iteration a run goes on, and whether iterations are left.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	short := strings.Fields("-group 2 -prompts 2 -steps 3 -samples 2 -resume -out " + dir)
	for _, c := range []struct{ args, want string }{
		{"-seeds 1 -iterations 2", "seed 1: no checkpoint in " + dir + ", so training starts from the beginning\n"},
		{"-seeds 2 -iterations 3", "seed 1: going on after iteration 2 of 3\nseed 2: no checkpoint in " + dir + ", so training starts from the beginning\n"},
		{"-seeds 2 -iterations 3", "seed 1: all 3 iterations are done\nseed 2: all 3 iterations are done\n"},
	} {
		cmd := command(t, append(strings.Fields(c.args), short...)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, &stderr)
		}
		if !strings.HasPrefix(stdout.String(), c.want+"on policy") {
			t.Errorf("%s: printed\n%s\nwant first\n%s", c.args, &stdout, c.want)
		}
		lines := 2
		if strings.Contains(c.want, "all 3 iterations are done") {
			lines = 0
		}
		if s := stderr.String(); strings.Contains(s, "\r") || strings.Count(s, "\n") != lines {
			t.Errorf("%s: a pipe got %q, want %d lines", c.args, s, lines)
		}
	}
}

// Every flag sets its field.
func TestFlags(t *testing.T) {
	o, err := parse(strings.Fields(`-rule FlowSDE-Ratio -eta 0.3 -steps 6 -shift 2 -window sliding:2:1:5 -form gaussian-sum -clip 0.2 -kl gaussian -beta 0.5
		-reward taste -group 5 -prompts 4 -shared -history 7 -rate 0.1 -epochs 2 -minibatch 10:1 -stop 0.01 -average 0.9 -samples 3 -seed 9 -seeds 2 -iterations 8`), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c := o.config
	for name, is := range map[string][2]any{
		"rule":      {c.Rule, sampler.FlowSDE{Diffusion: sampler.Ratio(0.3)}},
		"steps":     {[2]any{c.Steps, c.Shift}, [2]any{6, 2.0}},
		"window":    {c.Window, grpo.Sliding{Size: 2, Stride: 1, Interval: grpo.Every(5)}},
		"form":      {c.Form, logprob.Form{Gaussian: true, Sum: true}},
		"clip":      {c.Objective, grpo.Objective{ClipLow: 0.2, ClipHigh: 0.2}},
		"kl":        {c.KL.Form, logprob.Form{Gaussian: true}},
		"velocity":  {c.KL.Velocity, false},
		"beta":      {c.KL.Beta, 0.5},
		"reward":    {c.Reward.Name, "taste"},
		"batch":     {[5]int{c.Group, c.Prompts, c.History, c.Epochs, c.Samples}, [5]int{5, 4, 7, 2, 3}},
		"shared":    {c.SharedStart, true},
		"rate":      {c.Rate, 0.1},
		"minibatch": {c.Minibatches, grpo.Minibatches{Rows: 10, Steps: 1}},
		"stop":      {c.Stop, grpo.EarlyStop{Target: 0.01}},
		"average":   {c.Average, grpo.EMA{Decay: 0.9}},
		"seeds":     {[3]int{int(c.Seed), o.seeds, o.iterations}, [3]int{9, 2, 8}},
	} {
		if !reflect.DeepEqual(is[0], is[1]) {
			t.Errorf("%s: %+v, want %+v", name, is[0], is[1])
		}
	}
	// A flag that is set overrides -quick.
	o, err = parse([]string{"-quick", "-group", "3"}, io.Discard)
	if err != nil || o.config.Group != 3 || o.iterations != 10 || !o.config.KL.Velocity {
		t.Errorf("-quick -group 3: %+v, %v", o, err)
	}
	var help bytes.Buffer
	if _, err := parse([]string{"-h"}, &help); err == nil || !strings.Contains(help.String(), "-reward") {
		t.Errorf("help: %v\n%s", err, &help)
	}
}

// tiny are the flags of a very short run.
var tiny = strings.Fields("-iterations 6 -group 3 -prompts 4 -steps 5 -samples 2 -seeds 2")

func TestRun(t *testing.T) {
	dir := t.TempDir()
	weights := filepath.Join(dir, "weights")
	o, err := parse(append([]string{"-out", dir, "-save", weights}, tiny...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(context.Background(), o, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12 samples replayed, every ratio is exactly 1", "before, by the ODE", "after, by the ODE", "seeds 1 to 2", "12 iterations in", "library", "evaluations a sample and iteration: 5 in the rollout, 4.0 in training"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	for _, name := range []string{"rewards.png", "samples.png"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The weights are those of the trained network.
	o, err = parse(append([]string{"-out", t.TempDir(), "-load", weights}, tiny...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := o.trainer(0, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	e, err := loaded.Evaluate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o2, err := parse(append([]string{"-out", dir, "-resume"}, tiny...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	trained, err := o2.trainer(0, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	after, err := trained.Evaluate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Rounding to float16 is 5e-4 of a weight.
	if d := e.Reward - after.Reward; d > 5e-3 || d < -5e-3 || trained.Iteration() != 6 {
		t.Errorf("loaded weights have reward %v, the trained ones %v after %d iterations", e.Reward, after.Reward, trained.Iteration())
	}
	for k := range 2 {
		if other, err := o2.trainer(k, io.Discard); err != nil || other.Config().Seed != 1+uint64(k) {
			t.Errorf("run %d: seed %d, %v", k, other.Config().Seed, err)
		}
	}
	o2.iterations = 5
	if _, err := o2.trainer(0, io.Discard); err == nil || !strings.Contains(err.Error(), "already has 6 iterations") {
		t.Errorf("error %v", err)
	}
	o2.iterations, o2.config.Rate = 6, 1
	if err := run(context.Background(), o2, io.Discard); err == nil || !strings.Contains(err.Error(), "the checkpoint is of another run") {
		t.Errorf("error %v", err)
	}
}

// Ctrl-C saves and exits with status 0. The resumed run ends with the checkpoint of an
// uninterrupted one, byte for byte.
func TestInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long under the race detector")
	}
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt")
	}
	args := strings.Fields("-iterations 30 -group 6 -seeds 1 -samples 5 -out")
	whole, dir := t.TempDir(), t.TempDir()
	o, err := parse(append(args, whole), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), o, io.Discard); err != nil {
		t.Fatal(err)
	}
	c := command(t, append(args, dir)...)
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	if _, err := lines.ReadString('\n'); err != nil { // on policy: training begins
		t.Fatal(err)
	}
	c.Process.Signal(os.Interrupt)
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(rest), "interrupted; the checkpoints are in") {
		t.Fatalf("printed %q", rest)
	}
	file := o.checkpoint(0)
	other := filepath.Join(dir, filepath.Base(file))
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(other); err != nil || bytes.Equal(got, want) {
		t.Fatalf("the interrupted run is complete, or %v", err)
	}
	if out, err := command(t, append(args, dir, "-resume")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, err := os.ReadFile(other); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the run that went on ended elsewhere, or %v", err)
	}
}

// A run without -resume keeps the checkpoint of an earlier run.
func TestPrevious(t *testing.T) {
	dir := t.TempDir()
	short := strings.Fields("-group 2 -prompts 2 -steps 3 -samples 2 -seeds 1 -iterations 1 -out " + dir)
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var runs []string
	for k, rate := range []string{"5e-4", "1e-3", "2e-3"} {
		out, err := command(t, append(short, "-rate", rate)...).CombinedOutput()
		kept := fmt.Sprintf("seed-1.checkpoint.previous-%d", k)
		if says := strings.Contains(string(out), "seed 1: training starts from the beginning; the earlier checkpoint is kept as "+filepath.Join(dir, kept)); err != nil || says != (k > 0) {
			t.Errorf("%v\n%s", err, out)
		}
		runs = append(runs, read("seed-1.checkpoint"))
		if k > 0 && read(kept) != runs[k-1] {
			t.Errorf("%s is not the run before", kept)
		}
	}
	if runs[0] == runs[1] || read("seed-1.checkpoint.previous-1") != runs[0] {
		t.Error("the first run is lost")
	}
	// If it is stopped before its first save, it renames nothing.
	o, err := parse(append(short, "-iterations", "3"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	var said bytes.Buffer
	if err := run(stopped, o, &said); err != nil {
		t.Fatal(err)
	}
	if read("seed-1.checkpoint") != runs[2] {
		t.Error("a run that was stopped at once has moved the checkpoint")
	}
	if !strings.Contains(said.String(), "interrupted before training") || strings.Contains(said.String(), "-resume") {
		t.Errorf("said\n%s", &said)
	}
}

// A run that is interrupted in its first seed, in the folder of an older run, goes on. No
// checkpoint of the older run is in its way.
func TestInterruptedOverAnOlderRun(t *testing.T) {
	dir := t.TempDir()
	args := strings.Fields("-group 2 -prompts 2 -steps 3 -samples 2 -seeds 3 -iterations 3 -out " + dir)
	parsed := func(more ...string) options {
		t.Helper()
		o, err := parse(append(slices.Clone(args), more...), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if err := run(t.Context(), parsed("-rate", "1e-3"), io.Discard); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := parsed()
	o.config.Reward = cancelling(o.config.Reward, cancel)
	var said bytes.Buffer
	if err := run(ctx, o, &said); err != nil || !strings.Contains(said.String(), "-resume with the same flags goes on") {
		t.Fatalf("%v\n%s", err, &said)
	}
	said.Reset()
	if err := run(t.Context(), parsed("-resume"), &said); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	for _, want := range []string{"seed 1: going on after iteration", "seed 2: no checkpoint", "seed 3: no checkpoint"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not in\n%s", want, &said)
		}
	}
	for k := range 3 {
		if _, err := os.Stat(filepath.Join(dir, fmt.Sprintf("seed-%d.checkpoint.previous-1", k+1))); err != nil {
			t.Error(err)
		}
	}
}

// cancelling is a reward that cancels the run when it is asked for the second time.
func cancelling(r finetune.Reward, cancel func()) finetune.Reward {
	score, calls := r.Score, 0
	r.Score = func(dst []float64, x []float32, classes []int) {
		if calls++; calls == 3 {
			cancel()
		}
		score(dst, x, classes)
	}
	return r
}

// A folder that cannot be written to is noticed before training.
func TestUnwritableFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	readOnly := filepath.Join(dir, "read-only")
	if err := os.Mkdir(readOnly, 0o555); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{
		"-out " + file: "-out: ",
		"-out " + dir + " -save " + filepath.Join(file, "weights"): "-save: ",
		"-out " + dir + " -save " + dir:                            "-save: " + dir + " is a folder",
	}
	if _, err := os.Stat("/proc/self/fd"); err == nil {
		cases["-out /proc/self/fd"] = "-out: " // where root cannot make files either
	}
	if f, err := os.Create(filepath.Join(readOnly, "x")); err != nil {
		cases["-out "+readOnly] = "-out: "
	} else {
		f.Close()
	}
	for args, want := range cases {
		o, err := parse(append(strings.Fields(args), tiny...), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		if err := run(t.Context(), o, &said); err == nil || !strings.HasPrefix(err.Error(), want) || said.Len() != 0 {
			t.Errorf("%s: error %v, said %q", args, err, &said)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// An error names a rate at which numbers outgrow their type.
func TestDivergedRate(t *testing.T) {
	o, err := parse(append([]string{"-out", t.TempDir(), "-rate", "1e30"}, tiny...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "diverged: take a smaller -rate than 1e+30") {
		t.Errorf("error %v", err)
	}
}
