package golden

import (
	"math"
	"slices"
	"strings"
	"testing"

	"cps/grpo"
)

type advantagesCase struct {
	ID           string
	Method       string
	GlobalStd    bool `json:"global_std"`
	Group        []int
	Rewards      arr
	RewardsMulti []arr `json:"rewards_multi"`
	Weights      arr
	Advantages   arr
	AvgGroupSize *float64 `json:"avg_group_size"`
	ZeroStdRatio *float64 `json:"zero_std_ratio"`
	MeanGroupStd *float64 `json:"mean_group_std"`
}

// advantagesDifferences says where the module differs from upstream on purpose, as
// package grpo documents.
var advantagesDifferences = []struct {
	why     string
	applies func(n grpo.Norm, equal bool, size int) bool
	want    float64
}{
	{"a group of one under torch.std: NaN upstream", func(n grpo.Norm, _ bool, size int) bool { return n.Sample && size == 1 }, 0},
	{"a group of equal rewards: rounding of their mean over eps upstream", func(_ grpo.Norm, equal bool, _ int) bool { return equal }, 0},
}

func TestAdvantages(t *testing.T) {
	const file = "advantages.json"
	var f struct{ Cases []advantagesCase }
	load(t, file, &f)
	list := newChecklist(t, file)
	for _, c := range f.Cases {
		list.tick(t, c.ID)
		t.Run(c.ID, c.run)
	}
}

func (c advantagesCase) run(t *testing.T) {
	// Upstream computes the statistics of Flow-GRPO and of Flow-Factory's weighted
	// sum in float64; GDPO's per reward in the rewards' float32, which rounds
	// numbers up to 2 a few times by 6e-8. DanceGRPO is float32 throughout: its mean
	// is off by up to an ulp of rewards at 20, 2e-6, over a std of 0.6.
	norms := map[string]struct {
		group, global grpo.Norm
		tol           float64
	}{
		"flow_grpo_per_prompt": {grpo.FlowGRPO, grpo.FlowGRPOGlobal, 1e-12},
		"flow_grpo_batch":      {grpo.FlowGRPOBatch, grpo.FlowGRPOBatch, 1e-12},
		"dance_group":          {grpo.DanceGRPO, grpo.DanceGRPO, 5e-6},
		"dance_batch":          {grpo.DanceGRPOBatch, grpo.DanceGRPOBatch, 5e-6},
		"ff_weighted_sum":      {grpo.FlowFactory, grpo.FlowFactoryGlobal, 1e-12},
		"ff_gdpo":              {grpo.FlowFactory, grpo.FlowFactoryGlobal, 2e-7},
	}
	m, ok := norms[c.Method]
	if !ok {
		t.Fatalf("method %q is unknown", c.Method)
	}
	norm := m.group
	if c.GlobalStd {
		norm = m.global
	}
	groups, err := grpo.ByID(c.Group)
	if err != nil {
		t.Fatal(err)
	}

	got := make([]float64, len(c.Advantages))
	rewards := []float64(c.Rewards)
	if strings.HasPrefix(c.Method, "dance") {
		rewards = narrow(c.Rewards)
	}
	switch c.Method {
	case "ff_weighted_sum":
		rewards = make([]float64, len(got))
		if _, err := grpo.WeightedSum(rewards, c.Weights, c.multi()); err != nil {
			t.Fatal(err)
		}
		_, err = norm.Advantages(got, rewards, groups)
	case "ff_gdpo":
		_, err = norm.GDPO(got, c.Weights, c.multi(), groups)
	default:
		_, err = norm.Advantages(got, rewards, groups)
	}
	if err != nil {
		t.Fatal(err)
	}

	want := slices.Clone(c.Advantages)
	if rewards != nil {
		for i := range want {
			equal, size := c.competitors(norm, rewards, i)
			for _, d := range advantagesDifferences {
				if d.applies(norm, equal, size) {
					want[i] = d.want
					if got[i] != d.want {
						t.Errorf("advantage %d is %v, want exactly %v (%s)", i, got[i], d.want, d.why)
					}
				}
			}
		}
	}
	near(t, "advantages", got, want, m.tol)

	if c.AvgGroupSize == nil {
		return
	}
	s, err := grpo.MeasureSpread(c.Rewards, groups)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "group size, zero-std ratio, mean group std",
		[]float64{s.MeanSize, s.ZeroStd, s.MeanStd},
		[]float64{*c.AvgGroupSize, *c.ZeroStdRatio, *c.MeanGroupStd}, 1e-12)
}

// competitors describes the samples that sample i is compared with.
func (c advantagesCase) competitors(n grpo.Norm, rewards []float64, i int) (equal bool, size int) {
	lo, hi := math.Inf(1), math.Inf(-1)
	for j, r := range rewards {
		if n.Scope == grpo.PerBatch || c.Group[j] == c.Group[i] {
			lo, hi = min(lo, r), max(hi, r)
			size++
		}
	}
	return lo == hi, size
}

// multi returns the rewards of Flow-Factory's cases, which are float32.
func (c advantagesCase) multi() [][]float64 {
	out := make([][]float64, len(c.RewardsMulti))
	for k, r := range c.RewardsMulti {
		out[k] = narrow(r)
	}
	return out
}

// narrow returns the float32 values that shortest decimals stand for.
func narrow(a arr) []float64 {
	out := make([]float64, len(a))
	for i, x := range a {
		out[i] = float64(float32(x))
	}
	return out
}
