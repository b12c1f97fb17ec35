package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"cps/examples/internal/codelines"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// The page says that the file is 40 lines of code at most.
func TestLines(t *testing.T) {
	if n, err := codelines.Count("scheduler.go"); n > 40 || err != nil {
		t.Errorf("scheduler.go: %d lines and %v, want at most 40", n, err)
	}
}

// A generator's latents are those of the library's own Rollout, to the bit: any rule, text
// to image and image to image.
func TestRollout(t *testing.T) {
	const dim, key, image = 100, noise.Key(5), 7
	clean := filled(dim, -0.5)
	for _, rule := range []sampler.Rule{
		sampler.FlowODE{}, sampler.FlowCPS{Eta: 0.9}, sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)}, sampler.Renoise{},
	} {
		for _, strength := range []float64{1, 0.6, 0.2} {
			c := sampler.Config{Scheduler: schedule.Flux1(10, 1024), Rule: rule}
			s, err := newScheduler(c, strength, dim, key, image)
			if err != nil {
				t.Fatal(err)
			}
			model := known(c, 0.3)
			got := generate(s, clean, model)

			cpu, b := sampler.CPU{}, s.Batch(dim, key, image)
			run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{Start: s.Steps(), End: s.Steps()})
			cpu.Step(run.Latents[0], clean, nil, b, nil)
			if err := sampler.Rollout(context.Background(), cpu, s.Sampler, b, run, sampler.OneTime(func(v, x []float32, time float64) error {
				copy(v, model(x, time))
				return nil
			})); err != nil {
				t.Fatal(err)
			}
			for i, want := range run.Latents[s.Steps()] {
				if got[i] != want {
					t.Fatalf("%+v, strength %v, element %d: %v, and %v by Rollout", rule, strength, i, got[i], want)
				}
			}
		}
	}
}

// The schedulers that ollama's generators carried take x + (t' - t)·v on levels that they
// compute in float32. The numbers of three of them were recorded.
func TestOldNumbers(t *testing.T) {
	data, err := os.ReadFile("../../internal/golden/testdata/schedules2.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Name, Port string
			N          json.RawMessage
			Tokens     json.RawMessage `json:"seq_len"`
			Sigmas     []float32
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	number := func(m json.RawMessage) (n int) {
		if err := json.Unmarshal(m, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	models := map[string]string{"flux2": "flux2", "qwen_image": "qwen-image", "z_image_dynamic": "flux1"}
	judged := 0
	for _, old := range file.Cases {
		if old.Port != "ollama" {
			continue
		}
		judged++
		p, err := find(models[old.Name])
		if err != nil {
			t.Fatal(err)
		}
		n := number(old.N)
		c := p.config(n, number(old.Tokens))
		s, err := newScheduler(c, 1, 64, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		model := known(c, 0.3)
		x := s.first(filled(64, 0))
		for i := range n {
			dt := old.Sigmas[i+1] - old.Sigmas[i]
			// Three float32 roundings of levels up to 1, some more in their float32 shift.
			if a := s.At(i).Affine; a.X != 1 || math.Abs(a.V-float64(dt)) > 1e-6 {
				t.Errorf("%s, %d steps, step %d: weights %v and %v, were 1 and %v", old.Name, n, i, a.X, a.V, dt)
			}
			v := model(x, float64(old.Sigmas[i]))
			for k := range x {
				x[k] += dt * v[k]
			}
		}
		got := generate(s, filled(64, 0), model)
		for k := range x {
			if d := math.Abs(float64(got[k] - x[k])); d > 1e-5 {
				t.Errorf("%s, %d steps: element %d is off by %v", old.Name, n, k, d)
			}
		}
	}
	if judged != 10 {
		t.Errorf("%d runs, want 10", judged)
	}
}

// Levels, and times told where they are recorded, are those of diffusers, ollama and
// stable-diffusion.cpp.
func TestPublished(t *testing.T) {
	type run struct {
		ID, Name, Port    string
		N                 json.RawMessage
		Tokens            json.RawMessage `json:"seq_len"`
		Sigmas, Timesteps []float64
		Shift             float64
	}
	cases := map[string][]run{}
	for _, file := range []string{"schedules.json", "schedules2.json"} {
		data, err := os.ReadFile("../../internal/golden/testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var all struct{ Cases []run }
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatal(err)
		}
		for _, c := range all.Cases {
			name := c.Name
			if c.ID != "" {
				name, _, _ = strings.Cut(c.ID, "_n")
			}
			cases[name] = append(cases[name], c)
		}
	}
	for name, p := range map[string]struct {
		pipeline string
		unit     float64 // of what the model is told, in timesteps
	}{
		"flux_dev": {"flux1", 1000}, "flux": {"flux1", 1000}, "flux_schnell": {"flux1-schnell", 1000}, "flux2": {"flux2", 1000},
		"sd3_shift3": {"sd3", 1}, "z_image_static": {"z-image", 1000}, "wan_unipc": {"wan", 1}, "qwen_image": {"qwen-image", 1000},
	} {
		judged := 0
		for _, c := range cases[name] {
			tokens := 0
			if _, text, found := strings.Cut(c.ID, "_seq"); found {
				c.Tokens = json.RawMessage(text)
			}
			if len(c.Tokens) > 0 {
				if err := json.Unmarshal(c.Tokens, &tokens); err != nil {
					t.Fatal(err)
				}
			}
			if name == "wan_unipc" && c.Shift != 5 {
				continue // of another flow_shift
			}
			n := len(c.Sigmas) - 1
			found, err := find(p.pipeline)
			if err != nil {
				t.Fatal(err)
			}
			s, err := sampler.New(found.config(n, tokens))
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if level := s.At(i).From.Noise; math.Abs(level-c.Sigmas[i]) > 1e-6 {
					t.Errorf("%s %s %s, %d steps: level %d is %v, want %v", name, c.ID, c.Port, n, i, level, c.Sigmas[i])
				}
				if len(c.Timesteps) > 0 && math.Abs(s.Time(i)*p.unit-c.Timesteps[i]) > 1e-3 {
					t.Errorf("%s %s %s, %d steps: time %d is %v, want %v/%v", name, c.ID, c.Port, n, i, s.Time(i), c.Timesteps[i], p.unit)
				}
			}
			judged++
		}
		if judged == 0 {
			t.Errorf("no case of %s", name)
		}
		t.Logf("%s: %d runs", name, judged)
	}
}

// Every pipeline reaches the data of a model with its conventions. A wrong sign or time
// would lead elsewhere. Wan's model is told times that are up to 1/1000 too early.
func TestConventions(t *testing.T) {
	for _, p := range pipelines {
		for _, strength := range []float64{1, 0.5} {
			c := p.config(20, 4096)
			s, err := newScheduler(c, strength, 1000, 3, 0)
			if err != nil {
				t.Fatal(err)
			}
			within := 1e-5
			if c.Clock.Rounding != sampler.NoRounding {
				within = 0.02
			}
			for i, x := range generate(s, filled(1000, -0.5), known(c, 0.3)) {
				if math.Abs(float64(x)-0.3) > within {
					t.Fatalf("%s, strength %v: element %d ends at %v", p.name, strength, i, x)
				}
			}
		}
	}
}

func TestRun(t *testing.T) {
	for _, p := range pipelines {
		if err := run([]string{"-model", p.name, "-rule", "flowcps"}, io.Discard); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
	for args, want := range map[string]string{
		"-model sd9":             "none of flux1,",
		"-rule flowsde":          "none of flowode,",
		"-steps 0":               "fewer than two points",
		"-strength 0":            "strength",
		"-strength 1.5":          "strength 1.5",
		"-rule flowcps -eta 1.7": "eta 1.7",
		"flux1":                  "only flags are allowed",
	} {
		if err := run(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", args, err, want)
		}
	}
	if err := run([]string{"-h"}, io.Discard); err != flag.ErrHelp {
		t.Errorf("-h: %v", err)
	}
}
