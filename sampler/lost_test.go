package sampler_test

import (
	"math"
	"testing"

	"cps/sampler"
	"cps/schedule"
)

// New refuses noise that the rounding of latents swallows, and accepts the least noise
// that survives.
func TestLostNoise(t *testing.T) {
	eta := func(x float64) sampler.Rule { return sampler.FlowCPS{Eta: x} }
	inject := func(eps float64) sampler.Rule {
		return fixed{sampler.Coeffs{X0: 0.8, X1: 0.6, Eps: eps}} // latents of size 1
	}
	for name, tc := range map[string]struct {
		levels   schedule.Flow
		rule     sampler.Rule
		storage  sampler.Storage
		culprits []string // none: accepted
	}{
		"tiny levels":      {schedule.Flow{1e-22, 1e-23}, eta(0.5), sampler.Float32, []string{"step 0", "noise 7.07", "Float32"}},
		"tiny eta":         {schedule.Linear(4), sampler.Exact{Diffusion: sampler.Constant(1e-8)}, sampler.Float32, []string{"step 0", "noise"}},
		"beyond float32":   {schedule.Linear(4), eta(1e-60), sampler.Float32, []string{"step 0", "noise"}},
		"bfloat16, 1e-4":   {schedule.Flow{1, 0.5}, inject(1e-4), sampler.BFloat16, []string{"step 0", "0.0001", "size 1 ", "BFloat16", "0.002", "Storage"}},
		"float16, 1e-4":    {schedule.Flow{1, 0.5}, inject(1e-4), sampler.Float16, []string{"Float16", "0.00049"}},
		"float32, 1e-4":    {schedule.Flow{1, 0.5}, inject(1e-4), sampler.Float32, nil},
		"float32, below":   {schedule.Flow{1, 0.5}, inject(0x1p-24 * (1 - 1e-6)), sampler.Float32, []string{"Float32"}},
		"float32, above":   {schedule.Flow{1, 0.5}, inject(0x1p-24 * (1 + 1e-6)), sampler.Float32, nil},
		"bfloat16, below":  {schedule.Flow{1, 0.5}, inject(0x1p-9 * (1 - 1e-4)), sampler.BFloat16, []string{"BFloat16"}},
		"bfloat16, above":  {schedule.Flow{1, 0.5}, inject(0x1p-9 * (1 + 1e-4)), sampler.BFloat16, nil},
		"float16, below":   {schedule.Flow{1, 0.5}, inject(0x1p-11 * (1 - 1e-4)), sampler.Float16, []string{"Float16"}},
		"float16, above":   {schedule.Flow{1, 0.5}, inject(0x1p-11 * (1 + 1e-4)), sampler.Float16, nil},
		"none at all":      {schedule.Linear(4), eta(0), sampler.BFloat16, nil},
		"none at level 0":  {schedule.Flow{0.1, 0}, eta(1), sampler.BFloat16, nil},
		"small latents":    {schedule.Flow{1, 0.5}, fixed{sampler.Coeffs{X0: 8e-7, X1: 6e-7, Eps: 1e-12}}, sampler.Float32, nil},
		"large latents":    {schedule.Flow{1, 0.5}, fixed{sampler.Coeffs{X0: 800, X1: 600, Eps: 1e-5}}, sampler.Float32, []string{"size 1e+03"}},
		"published trains": {schedule.Linear(50).Shift(3), sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)}, sampler.BFloat16, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sampler.New(sampler.Config{Scheduler: tc.levels, Rule: tc.rule, Storage: tc.storage, Start: sampler.FromData, End: sampler.ToPart})
			if tc.culprits != nil {
				wantError(t, err, sampler.ErrLost, append(tc.culprits, "sampler: ")...)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	// A window leaves out the step that would lose its noise.
	levels := schedule.Flow{1, 0.5, 1e-3}
	c := sampler.Config{Scheduler: levels, Rule: eta(0.5), Storage: sampler.BFloat16}
	_, err := sampler.New(c)
	wantError(t, err, sampler.ErrLost, "step 1")
	c.Window = sampler.Window{Start: 0, End: 1}
	if s := mustNew(t, c); math.Abs(s.At(0).Coeffs.Eps-0.5*math.Sqrt(0.5)) > 1e-15 {
		t.Errorf("%+v", s.At(0))
	}
}
