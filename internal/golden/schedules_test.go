package golden

import (
	"errors"
	"math"
	"slices"

	"cps/schedule"
)

// Upstream keeps levels in float32. In [0, 1] a rounding is at most 2⁻²⁵ = 3e-8. Cases that
// start from float32 sigmas round three times.
const scheduleTol = 1e-7

// A scheduleCase has the levels of a scheduler, by Class, or of a pipeline or another
// program, by Name.
type scheduleCase struct {
	presetCase
	Class  string
	Config scheduleConfig
	Call   struct {
		Steps     int `json:"num_inference_steps"`
		N         int
		Sigmas    arr
		Timesteps arr
		Mu        float64
		SeqLen    arr `json:"image_seq_len"`
	}
	Sigmas, Timesteps arr
}

// scheduleConfig has the settings of a scheduler. Absent ones have its defaults.
type scheduleConfig struct {
	Shift         float64
	Dynamic       bool    `json:"use_dynamic_shifting"`
	TimeShiftType string  `json:"time_shift_type"`
	ShiftTerminal float64 `json:"shift_terminal"` // 0: off
	Invert        bool    `json:"invert_sigmas"`
	Karras        bool    `json:"use_karras_sigmas"`
	Exponential   bool    `json:"use_exponential_sigmas"`
	Beta          bool    `json:"use_beta_sigmas"`
	FlowSigmas    bool    `json:"use_flow_sigmas"`
	FlowShift     float64 `json:"flow_shift"`
	Prediction    string  `json:"prediction_type"`

	// Settings of a pipeline. They determine Mu, which is recorded.
	BaseShift float64 `json:"base_shift"`
	MaxShift  float64 `json:"max_shift"`
	BaseLen   int     `json:"base_image_seq_len"`
	MaxLen    int     `json:"max_image_seq_len"`
}

func (c *scheduleConfig) UnmarshalJSON(b []byte) error {
	type plain scheduleConfig
	*c = scheduleConfig{Shift: 1, FlowShift: 1, TimeShiftType: "exponential"}
	return strict(b, (*plain)(c))
}

func judgeSchedules(t tester, path string) {
	eachCase(t, path, func(c scheduleCase, t tester) {
		if c.Kind != "" {
			c.runPreset(t)
		} else {
			c.run(t)
		}
	})
}

// flow returns the library's levels for the case.
func (c scheduleCase) flow(t tester) schedule.Flow {
	switch c.Class {
	case "DPMSolverMultistepScheduler":
		return schedule.DPMSolver(c.Call.Steps, c.Config.FlowShift)
	case "UniPCMultistepScheduler":
		return schedule.UniPC(c.Call.Steps, c.Config.FlowShift)
	case "DanceGRPO sd3_time_shift(shift, linspace(1,0,n+1))":
		return schedule.Linear(c.Call.N).Shift(c.Config.Shift)
	case "FlowMatchHeunDiscreteScheduler":
		return schedule.DoubleShift(c.Call.Steps, c.Config.Shift)
	case "FlowMatchEulerDiscreteScheduler":
		return c.euler()
	}
	t.Fatalf("no judge knows class %q", c.Class)
	return nil
}

func (c scheduleCase) euler() schedule.Flow {
	var f schedule.Flow
	switch n := c.Call.Steps; {
	case c.Call.Sigmas != nil:
		f = schedule.FlowOf(c.Call.Sigmas).ToZero()
	case c.Call.Timesteps != nil:
		f = schedule.FlowOf(c.Call.Timesteps)
		for i := range f {
			f[i] /= 1000
		}
		f = f.ToZero()
	case c.Config.Dynamic: // this shift does not change the low end
		f = schedule.Even(n, 1, 1.0/1000)
	default:
		return c.spaced(schedule.DoubleShift(n, c.Config.Shift))
	}
	switch {
	case c.Config.Dynamic && c.Config.TimeShiftType == "linear":
		f = f.Shift(c.Call.Mu)
	case c.Config.Dynamic:
		f = f.DynamicShift(c.Call.Mu)
	default:
		f = f.Shift(c.Config.Shift)
	}
	return c.spaced(f)
}

// spaced returns the levels f with upstream's changes after the shift.
func (c scheduleCase) spaced(f schedule.Flow) schedule.Flow {
	if c.Config.ShiftTerminal != 0 {
		f = f.StretchTerminal(c.Config.ShiftTerminal)
	}
	n := f.Steps()
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

// scheduleDifferences are levels that the library refuses on purpose, each with the way to get
// them from levels that the library has.
var scheduleDifferences = []struct {
	why     reason
	applies func(levels []float64) bool // looks at upstream's
	from    func(schedule.Flow) []float64
}{
	{levelsRise, slices.IsSorted[[]float64], inverted},
	{levelsTwice, twice, doubled},
}

// twice reports whether every level except the first and the last occurs twice.
func twice(levels []float64) bool {
	n := len(levels)
	for i := 1; i+1 < n; i += 2 {
		if i+2 >= n || levels[i] != levels[i+1] {
			return false
		}
	}
	return n > 2
}

// unstretched reports whether upstream stretched the single level 1, which gives NaN.
func unstretched(levels []float64) bool {
	return len(levels) == 2 && math.IsNaN(levels[0]) && levels[1] == 0
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

func (c scheduleCase) run(t tester) {
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
	if c.Config.ShiftTerminal != 0 && unstretched(c.Sigmas) {
		t.differs(oneLevel)
		near(t, "sigmas", levels, []float64{1, 0}, 0)
		return
	}
	for _, d := range scheduleDifferences {
		if d.applies(c.Sigmas) {
			t.differs(d.why)
			if err := schedule.Validate(schedule.FlowOf(c.Sigmas)); !errors.Is(err, schedule.ErrOrder) {
				t.Errorf("Validate(upstream levels) = %v, want %v", err, schedule.ErrOrder)
			}
			if err := schedule.Validate(schedule.Inversion{Scheduler: schedule.FlowOf(c.Sigmas)}); (err == nil) != (d.why == levelsRise) {
				t.Errorf("Validate(upstream levels as an Inversion) = %v", err)
			}
			levels = d.from(f)
		}
	}
	near(t, "sigmas", levels, c.Sigmas, scheduleTol)
	if c.Timesteps != nil {
		checkTimesteps(t, c.Class, levels, c.Timesteps)
	}
}

// checkTimesteps compares Time with a thousandth of the timestep that upstream gives its model,
// since the errors are those of the levels. The last level has no timestep: no model is called
// there.
func checkTimesteps(t tester, class string, levels, timesteps []float64) {
	t.Helper()
	want := make([]float64, len(timesteps))
	for i, step := range timesteps {
		want[i] = step / 1000
	}
	got := slices.Clone(levels[:len(levels)-1])
	switch class {
	case "DPMSolverMultistepScheduler", "UniPCMultistepScheduler":
		// Upstream truncates these to integers, which lowers them by less than 1.
		for i := range min(len(got), len(want)) {
			if lost := got[i] - want[i]; lost >= -scheduleTol && lost < 0.001 {
				got[i] = want[i]
			}
		}
	}
	near(t, "timesteps/1000", got, want, scheduleTol)
}
