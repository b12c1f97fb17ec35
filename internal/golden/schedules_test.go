package golden

import (
	"errors"
	"slices"
	"testing"

	"cps/schedule"
)

// Upstream keeps levels in float32: in [0, 1] one rounding is at most 2⁻²⁵ =
// 3e-8, and the cases that start from float32 sigmas round three times on the
// way.
const scheduleTol = 1e-7

type scheduleCase struct {
	ID     string
	Class  string
	Config struct {
		Shift         *float64 // absent: 1
		Dynamic       bool     `json:"use_dynamic_shifting"`
		TimeShiftType string   `json:"time_shift_type"` // absent: exponential
		ShiftTerminal float64  `json:"shift_terminal"`  // absent: off
		Invert        bool     `json:"invert_sigmas"`
		Karras        bool     `json:"use_karras_sigmas"`
		Exponential   bool     `json:"use_exponential_sigmas"`
		Beta          bool     `json:"use_beta_sigmas"`
		FlowShift     float64  `json:"flow_shift"`
	}
	Call struct {
		Steps     int `json:"num_inference_steps"`
		N         int
		Sigmas    arr
		Timesteps arr
		Mu        float64
		SeqLen    arr `json:"image_seq_len"`
	}
	Sigmas, Timesteps, Mu arr
}

func (c scheduleCase) shift() float64 {
	if c.Config.Shift == nil {
		return 1
	}
	return *c.Config.Shift
}

// flow returns the library's levels for the case.
func (c scheduleCase) flow(t *testing.T) schedule.Flow {
	switch c.Class {
	case "DPMSolverMultistepScheduler":
		return schedule.DPMSolver(c.Call.Steps, c.Config.FlowShift)
	case "UniPCMultistepScheduler":
		return schedule.UniPC(c.Call.Steps, c.Config.FlowShift)
	case "DanceGRPO sd3_time_shift(shift, linspace(1,0,n+1))":
		return schedule.Linear(c.Call.N).Shift(c.shift())
	case "FlowMatchHeunDiscreteScheduler":
		return schedule.DoubleShift(c.Call.Steps, c.shift())
	case "FlowMatchEulerDiscreteScheduler":
		return c.euler()
	}
	t.Fatalf("no test runs class %q", c.Class)
	return nil
}

func (c scheduleCase) euler() schedule.Flow {
	var f schedule.Flow
	switch n := c.Call.Steps; {
	case c.Call.Sigmas != nil:
		f = schedule.FlowOf(c.Call.Sigmas)
	case c.Call.Timesteps != nil:
		f = schedule.FlowOf(c.Call.Timesteps)
		for i := range f {
			f[i] /= 1000
		}
	default:
		f = schedule.DoubleShift(n, c.shift())
		hi, lo := f[0], f[n-1]
		switch {
		case c.Config.Karras:
			return schedule.Karras(n, hi, lo, 7)
		case c.Config.Exponential:
			return schedule.Exponential(n, hi, lo)
		case c.Config.Beta:
			return schedule.Beta(n, hi, lo, 0.6, 0.6)
		}
		return f
	}
	switch f = f.ToZero(); {
	case c.Config.Dynamic && c.Config.TimeShiftType == "linear":
		f = f.Shift(c.Call.Mu)
	case c.Config.Dynamic:
		f = f.DynamicShift(c.Call.Mu)
	default:
		f = f.Shift(c.shift())
	}
	if c.Config.ShiftTerminal != 0 {
		f = f.StretchTerminal(c.Config.ShiftTerminal)
	}
	return f
}

// refused lists the cases that the library cannot hold on purpose, and how to
// get them from the levels that it has instead.
var refused = map[string]struct {
	why  string
	from func(schedule.Flow) []float64
}{
	"invert_n10":      {"levels that rise, from data to noise, are no schedule for sampling", inverted},
	"heun_shift3_n10": {"a level written twice is a step of length 0; Heun's second evaluation is not a level", doubled},
}

func inverted(f schedule.Flow) []float64 {
	g := make([]float64, len(f))
	for i, t := range f {
		g[i] = 1 - t
	}
	return g
}

func doubled(f schedule.Flow) []float64 {
	g := []float64{f[0]}
	for _, t := range f[1 : len(f)-1] {
		g = append(g, t, t)
	}
	return append(g, f[len(f)-1])
}

func TestSchedules(t *testing.T) {
	var file struct{ Cases []scheduleCase }
	load(t, "schedules.json", &file)
	list := newChecklist(t, "schedules.json")
	for _, c := range file.Cases {
		list.tick(t, c.ID)
		t.Run(c.ID, func(t *testing.T) {
			if c.Mu != nil {
				mu := make([]float64, len(c.Call.SeqLen))
				for i, n := range c.Call.SeqLen {
					mu[i] = schedule.FluxMu(int(n))
				}
				near(t, "mu", mu, c.Mu, 1e-15) // float64 upstream; at most three roundings apart
				return
			}
			f := c.flow(t)
			if err := schedule.Validate(f); err != nil {
				t.Fatal(err)
			}
			levels := []float64(f)
			if r, ok := refused[c.ID]; ok {
				if err := schedule.Validate(schedule.FlowOf(c.Sigmas)); !errors.Is(err, schedule.ErrOrder) {
					t.Errorf("Validate(upstream levels) = %v, want %v: %s", err, schedule.ErrOrder, r.why)
				}
				levels = r.from(f)
			}
			near(t, "sigmas", levels, c.Sigmas, scheduleTol)
			if c.Timesteps != nil {
				checkTimesteps(t, c, levels)
			}
		})
	}
	for id := range refused {
		if !slices.ContainsFunc(file.Cases, func(c scheduleCase) bool { return c.ID == id }) {
			t.Errorf("refused case %q is not in the file", id)
		}
	}
}

// checkTimesteps compares Time with what upstream tells its model, a thousandth of
// it, for the errors are those of the levels. The last level has no timestep: no
// model is asked there.
func checkTimesteps(t *testing.T, c scheduleCase, levels []float64) {
	want := make([]float64, len(c.Timesteps))
	for i, step := range c.Timesteps {
		want[i] = step / 1000
	}
	got := slices.Clone(levels[:len(levels)-1])
	switch c.Class {
	case "DPMSolverMultistepScheduler", "UniPCMultistepScheduler":
		// Upstream cuts these to integers: it loses less than 1, never gains.
		for i := range min(len(got), len(want)) {
			if lost := got[i] - want[i]; lost >= -scheduleTol && lost < 0.001 {
				got[i] = want[i]
			}
		}
	}
	near(t, "timesteps/1000", got, want, scheduleTol)
}
