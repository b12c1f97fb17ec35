package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

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
		{"-rule heun", `rule "heun" is none of cps`},
		{"-eta 1.7", "FlowCPS: eta 1.7 is not in [0, 1]"},
		{"-eta x", `invalid value "x" for flag -eta`},
		{"-steps 1", "Steps 1 is not in [2, 1000]"},
		{"-window 3", `window "3" is none of all, START:END`},
		{"-window sliding:1", `window "sliding:1" is none of`},
		{"-window 2:20", "window [2, 20) of 9 steps"},
		{"-window random:0", "Random: 0 steps"},
		{"-form density", `form "density" is none of paper`},
		{"-kl k3", `form "k3" is none of paper`},
		{"-beta -1", "KL.Beta -1"},
		{"-clip -1", "Objective.ClipLow -1"},
		{"-group 1", "Group 1 is not in [2, 10000]"},
		{"-reward beauty", `reward "beauty" is none of class`},
		{"-minibatch 3", `minibatch "3" is not ROWS:STEPS`},
		{"-minibatch 3:-1", `minibatch "3:-1" is not ROWS:STEPS`},
		{"-seeds 0", "-seeds 0 is not in [1, 1000]"},
		{"-iterations 0", "-iterations 0 is not positive"},
		{"-average 1", "EMA.Decay 1"},
		{"-load nowhere", "nowhere"},
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

// Every flag arrives where it belongs.
func TestFlags(t *testing.T) {
	o, err := parse(strings.Fields(`-rule sde -eta 0.3 -steps 6 -shift 2 -window sliding:2:1:5 -form gaussian-sum -clip 0.2 -kl gaussian -beta 0.5
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
	// What is said counts, -quick or not.
	o, err = parse([]string{"-quick", "-group", "3"}, io.Discard)
	if err != nil || o.config.Group != 3 || o.iterations != 10 || !o.config.KL.Velocity {
		t.Errorf("-quick -group 3: %+v, %v", o, err)
	}
	var help bytes.Buffer
	if _, err := parse([]string{"-h"}, &help); err == nil || !strings.Contains(help.String(), "-reward") {
		t.Errorf("help: %v\n%s", err, &help)
	}
}

// tiny are the flags of a run of no time.
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
	for _, want := range []string{"12 samples replayed, every ratio exactly 1", "before, by the ODE", "after, by the ODE", "seeds 1 to 2", "12 iterations in", "library"} {
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
	loaded, err := o.trainer(0)
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
	trained, err := o2.trainer(0)
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
		if other, err := o2.trainer(k); err != nil || other.Config().Seed != 1+uint64(k) {
			t.Errorf("run %d: seed %d, %v", k, other.Config().Seed, err)
		}
	}
	o2.iterations = 5
	if _, err := o2.trainer(0); err == nil || !strings.Contains(err.Error(), "has 6 iterations already") {
		t.Errorf("error %v", err)
	}
	o2.iterations, o2.config.Rate = 6, 1
	if err := run(context.Background(), o2, io.Discard); err == nil || !strings.Contains(err.Error(), "the checkpoint is of another run") {
		t.Errorf("error %v", err)
	}
}

// Ctrl-C saves and leaves with status 0; what goes on ends with the checkpoint of a
// run that was not interrupted, byte for byte.
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
	if !strings.Contains(string(rest), "interrupted; what was done is saved") {
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
