package golden

import (
	"math"
	"slices"

	"cps/grpo"
)

type advantagesCase struct {
	Kind         string // "" is "advantages"
	Method       string
	Config       any      // settings of stepwise rewards; the rewards are recorded too, so it is not used
	GlobalStd    bool     `json:"global_std"`
	NormByStd    *bool    `json:"norm_by_std"` // absent means true
	Epsilon      float64  // 0 if the trainer does not record it
	ClipMax      float64  `json:"clip_max"`            // 0: off
	Trim         float64  `json:"trim_outliers_ratio"` // part of a group, at both ends
	Sentinel     *float64 // value that stands for no reward
	Normalize    *bool    // absent means true
	Group        []int
	Rewards      arr
	RewardsMulti []arr `json:"rewards_multi"`
	Weights      arr
	Advantages   arr
	AvgGroupSize *float64 `json:"avg_group_size"`
	ZeroStdRatio *float64 `json:"zero_std_ratio"`
	MeanGroupStd *float64 `json:"mean_group_std"`

	// The following are for rewards of steps, row-major [rows, steps], and of nodes of a tree.
	Rows, Steps   int
	GroupSize     int `json:"group_size"`
	Granularities int
	StepRewards   arr `json:"step_rewards"`
	Depth         []int
	NodeRewards   arr `json:"node_rewards"`
}

func judgeAdvantages(t tester, path string) {
	eachCase(t, path, advantagesCase.run)
}

// advantagesDifferences are the cases in which the module differs from upstream on purpose: it
// gives advantage 0, as package grpo documents.
var advantagesDifferences = []struct {
	why     reason
	applies func(n grpo.Norm, equal bool, size int) bool
}{
	{aloneSample, func(n grpo.Norm, _ bool, size int) bool { return n.Sample && size == 1 }},
	{equalRewards, func(_ grpo.Norm, equal bool, size int) bool { return equal && size > 1 }},
}

func (c advantagesCase) run(t tester) {
	switch c.Kind {
	case "", "advantages":
		c.runAdvantages(t)
	case "stepwise":
		c.runStepwise(t)
	case "branch":
		// A node is compared with the nodes of its depth.
		n := normed{norm: grpo.Norm{Sample: true, Eps: c.Epsilon}, tol: 1e-12}
		n.judge(t, c.NodeRewards, c.Depth, c.Advantages)
	case "pairs", "neighbor_loss", "neighbor_noise":
		t.notJudged(noStepReward)
	default:
		t.Fatalf("no judge knows kind %q", c.Kind)
	}
}

// A normed is a Norm, with the tolerance for upstream's advantages.
type normed struct {
	norm   grpo.Norm
	tol    float64
	single bool
	clip   float64 // 0: off
}

// norm returns the Norm of c's method.
func (c advantagesCase) norm(t tester) normed {
	// Flow-GRPO and the weighted sum of Flow-Factory compute statistics in float64.
	// Flow-Factory's GDPO computes those of each reward in float32. DanceGRPO is float32
	// throughout. Its mean may be off by an ulp of rewards at 20, 2e-6, over a std of 0.6.
	// For rewards farther from 0 singleTol is the bound.
	either := func(group, global grpo.Norm) grpo.Norm {
		if c.GlobalStd {
			return global
		}
		return group
	}
	scope := grpo.PerGroup
	if c.GlobalStd {
		scope = grpo.GlobalStd
	}
	switch c.Method {
	case "flow_grpo_per_prompt":
		return normed{norm: either(grpo.FlowGRPO, grpo.FlowGRPOGlobal), tol: 1e-12}
	case "flow_grpo_batch":
		return normed{norm: grpo.FlowGRPOBatch, tol: 1e-12}
	case "dance_group":
		return normed{norm: grpo.DanceGRPO, tol: 5e-6, single: true}
	case "dance_batch":
		return normed{norm: grpo.DanceGRPOBatch, tol: 5e-6, single: true}
	case "ff_weighted_sum", "ff_gdpo":
		return normed{norm: either(grpo.FlowFactory, grpo.FlowFactoryGlobal), tol: 1e-12, single: c.Method == "ff_gdpo"}
	case "verl_omni_flow_grpo", "verl_omni_nft":
		if c.NormByStd != nil && !*c.NormByStd {
			t.notJudged(noOtherAdvantage)
		}
		return normed{norm: grpo.Norm{Scope: scope, Sample: true, Eps: c.Epsilon}, tol: 1e-12}
	case "unirl_grouped":
		if c.Trim != 0 {
			t.notJudged(noTrim)
		}
		return normed{norm: grpo.Norm{Scope: scope, Sample: true, Eps: c.Epsilon}, tol: 1e-12, clip: c.ClipMax}
	case "unirl_global":
		return normed{norm: grpo.Norm{Scope: grpo.PerBatch, Sample: true, Eps: c.Epsilon}, tol: 1e-12}
	case "precise_sentinel":
		return normed{norm: grpo.Norm{Scope: scope, Eps: c.Epsilon}, tol: 1e-12}
	case "rloo", "flow_grpo_rwr", "flow_grpo_sft", "flow_grpo_dpo", "neighbor_quasi_norm", "gardo":
		t.notJudged(noOtherAdvantage)
	}
	t.Fatalf("no judge knows method %q", c.Method)
	return normed{}
}

func (c advantagesCase) runAdvantages(t tester) {
	n := c.norm(t)
	switch c.Method {
	case "ff_weighted_sum":
		n.judge(t, c.weightedSum(t), c.Group, c.Advantages)
	case "ff_gdpo":
		c.runGDPO(t, n)
	case "precise_sentinel":
		c.runSentinel(t, n)
	default:
		rewards := []float64(c.Rewards)
		if n.single {
			rewards = narrow(rewards)
		}
		n.judge(t, rewards, c.Group, c.Advantages)
	}
	if c.AvgGroupSize == nil {
		return
	}
	s, err := grpo.MeasureSpread(c.Rewards, groupsOf(t, c.Group))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "group size, zero-std ratio, mean group std",
		[]float64{s.MeanSize, s.ZeroStd, s.MeanStd},
		[]float64{*c.AvgGroupSize, *c.ZeroStdRatio, *c.MeanGroupStd}, 1e-12)
}

func groupsOf(t tester, ids []int) grpo.Groups {
	t.Helper()
	groups, err := grpo.ByID(ids)
	if err != nil {
		t.Fatal(err)
	}
	return groups
}

// judge compares the advantages of rewards with upstream's.
func (n normed) judge(t tester, rewards []float64, group []int, advantages arr) {
	t.Helper()
	got, err := n.norm.Advantages(make([]float64, len(rewards)), rewards, groupsOf(t, group))
	if err == nil && n.clip > 0 {
		_, err = grpo.Clamp(got, got, n.clip)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(advantages) != len(got) {
		t.Fatalf("%d advantages of %d rewards", len(advantages), len(got))
	}
	want := slices.Clone(advantages)
	tol := n.tol
	for i := range want {
		rivals := n.rivals(rewards, group, i)
		equal := slices.Min(rivals) == slices.Max(rivals)
		for _, d := range advantagesDifferences {
			if !d.applies(n.norm, equal, len(rivals)) {
				continue
			}
			t.differs(d.why)
			if got[i] != 0 {
				t.Errorf("advantage %d is %v, want exactly 0 (%s)", i, got[i], d.why)
			}
			for j, a := range advantages {
				if d.why == equalRewards && n.same(group, i, j) && a != advantages[i] {
					t.Errorf("advantages %d and %d of equal rewards are %v and %v upstream", i, j, advantages[i], a)
				}
			}
			if r := n.residue(rivals); !(math.Abs(advantages[i]) <= r) && !(d.why == aloneSample && math.IsNaN(advantages[i])) {
				t.Errorf("advantage %d is %v upstream, above %.3g (%s)", i, advantages[i], r, d.why)
			}
			want[i] = 0
		}
		if n.single && !equal && largest(rivals) > 75*deviation(rivals) {
			tol = max(tol, singleTol(rivals, got[i]))
		}
	}
	near(t, "advantages", got, want, tol)
}

// rivals returns the rewards that reward i is compared with.
func (n normed) rivals(rewards []float64, group []int, i int) []float64 {
	if n.norm.Scope == grpo.PerBatch {
		return rewards
	}
	var r []float64
	for j, x := range rewards {
		if n.same(group, i, j) {
			r = append(r, x)
		}
	}
	return r
}

// same reports whether rewards i and j have their mean in common.
func (n normed) same(group []int, i, j int) bool {
	return n.norm.Scope == grpo.PerBatch || group[i] == group[j]
}

// residue returns the largest advantage that upstream can compute for equal rewards: the
// rounding of their mean over the denominator. If all partial sums are exact, the mean is exact
// in any order of summation.
func (n normed) residue(equal []float64) float64 {
	round, u := func(x float64) float64 { return x }, 0x1p-53
	if n.single {
		round, u = func(x float64) float64 { return float64(float32(x)) }, ulp32
	}
	r := equal[0]
	exact := true
	for k := range equal {
		count := float64(k + 1)
		sum := round(count * r)
		exact = exact && math.FMA(count, r, -sum) == 0
	}
	if exact {
		return 0
	}
	return float64(len(equal)) * u * math.Abs(r) / max(n.norm.Eps, n.norm.Floor)
}

// singleTol bounds the error of an advantage that upstream computes in float32 from rewards r.
// The mean is off by up to an ulp of the largest reward. The distance from the mean is divided
// by the standard deviation. Quotient and root round too.
func singleTol(r []float64, advantage float64) float64 {
	return ulp32 * (2*largest(r)/deviation(r) + 4*math.Abs(advantage))
}

// deviation returns the population standard deviation.
func deviation(r []float64) float64 {
	var sum float64
	for _, x := range r {
		sum += x
	}
	return math.Sqrt(meanSquare(r, slices.Repeat([]float64{sum / float64(len(r))}, len(r))))
}

// weightedSum compares the library's weighted sum of rewards with upstream's, and returns
// upstream's. Upstream's rewards, weights and products are float32; the sum is float64.
func (c advantagesCase) weightedSum(t tester) []float64 {
	t.Helper()
	multi, weights := c.multi(), narrow(c.Weights)
	got, err := grpo.WeightedSum(make([]float64, len(c.Advantages)), weights, multi)
	if err != nil {
		t.Fatal(err)
	}
	sum := make([]float64, len(got))
	var tol float64
	for k, r := range multi {
		for i, x := range r {
			sum[i] += float64(float32(weights[k]) * float32(x))
		}
		tol += ulp32 * math.Abs(weights[k]) * largest(r)
	}
	near(t, "weighted sum", got, sum, tol)
	return sum
}

// runGDPO judges advantages of several rewards. Upstream normalises each reward in its groups in
// float32. Then it weights and sums them, and normalises over the batch, in float64.
func (c advantagesCase) runGDPO(t tester, n normed) {
	multi := c.multi()
	got, err := n.norm.GDPO(make([]float64, len(c.Advantages)), c.Weights, multi, groupsOf(t, c.Group))
	if err != nil {
		t.Fatal(err)
	}
	// The sum, whose standard deviation divides, and its error.
	sum := make([]float64, len(got))
	var off float64
	for k, r := range multi {
		a, err := n.norm.Advantages(make([]float64, len(got)), r, groupsOf(t, c.Group))
		if err != nil {
			t.Fatal(err)
		}
		var worst float64
		for i := range a {
			sum[i] += c.Weights[k] * a[i]
			rivals := n.rivals(r, c.Group, i)
			if slices.Min(rivals) != slices.Max(rivals) {
				worst = max(worst, singleTol(rivals, a[i]))
				continue
			}
			t.differs(equalRewards)
			worst = max(worst, n.residue(rivals))
			if a[i] != 0 {
				t.Errorf("advantage %d of reward %d is %v, want exactly 0 (%s)", i, k, a[i], equalRewards)
			}
		}
		off += math.Abs(c.Weights[k]) * worst
	}
	// Roundings seldom add up to a fifth of that.
	near(t, "advantages", got, c.Advantages, max(2e-7, off/deviation(sum)/5))
}

// multi returns the rewards of Flow-Factory's cases, which are float32.
func (c advantagesCase) multi() [][]float64 {
	out := make([][]float64, len(c.RewardsMulti))
	for k, r := range c.RewardsMulti {
		out[k] = narrow(r)
	}
	return out
}

// runSentinel judges statistics that leave out the sentinel. A sentinel has advantage 0. A group
// of sentinels alone has no statistics.
func (c advantagesCase) runSentinel(t tester, n normed) {
	if c.Sentinel == nil {
		t.Fatal("no sentinel is recorded")
	}
	var rewards, advantages []float64
	var group []int
	for i, r := range c.Rewards {
		if r == *c.Sentinel {
			near(t, "advantage of the sentinel", c.Advantages[i:i+1], []float64{0}, 0)
			continue
		}
		rewards, advantages, group = append(rewards, r), append(advantages, c.Advantages[i]), append(group, c.Group[i])
	}
	n.judge(t, rewards, group, advantages)
}

// runStepwise judges advantages of rewards for single steps. The rewards of each step are
// normalised on their own. The module does not compute such rewards.
func (c advantagesCase) runStepwise(t tester) {
	var n normed
	group := c.Group
	layers := []arr{c.StepRewards} // each row-major [rows, steps]
	switch c.Method {
	case "tp_grpo":
		n = normed{norm: grpo.FlowGRPO, tol: 1e-12}
	case "egrpo":
		if c.Normalize != nil && !*c.Normalize {
			t.notJudged(noOtherAdvantage)
		}
		n = normed{norm: grpo.Norm{Sample: true, Eps: c.Epsilon}, tol: 1e-12}
		size := c.Rows * c.Steps
		layers = nil
		for g := range c.Granularities {
			layers = append(layers, c.Rewards[g*size:][:size])
		}
		group = make([]int, c.Rows)
		for i := range group {
			group[i] = i / c.GroupSize
		}
	default:
		t.Fatalf("no judge knows method %q", c.Method)
	}
	got := make([]float64, c.Rows*c.Steps)
	for _, layer := range layers {
		if len(layer) != len(got) {
			t.Fatalf("%d rewards of %d rows and %d steps", len(layer), c.Rows, c.Steps)
		}
		for s := range c.Steps {
			column := make([]float64, c.Rows)
			for i := range column {
				column[i] = layer[i*c.Steps+s]
			}
			if _, err := n.norm.Advantages(column, column, groupsOf(t, group)); err != nil {
				t.Fatal(err)
			}
			for i, a := range column {
				got[i*c.Steps+s] += a
			}
		}
	}
	near(t, "advantages", got, c.Advantages, n.tol)
}

// narrow returns the float32 values that shortest decimals stand for.
func narrow(a arr) []float64 {
	out := make([]float64, len(a))
	for i, x := range a {
		out[i] = float64(float32(x))
	}
	return out
}
