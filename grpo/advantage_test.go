package grpo

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var norms = map[string]Norm{
	"zero": {}, "sample": {Sample: true}, "global": {Scope: GlobalStd}, "batch": {Scope: PerBatch},
	"FlowGRPO": FlowGRPO, "FlowGRPOGlobal": FlowGRPOGlobal, "FlowGRPOBatch": FlowGRPOBatch,
	"DanceGRPO": DanceGRPO, "DanceGRPOBatch": DanceGRPOBatch,
	"FlowFactory": FlowFactory, "FlowFactoryGlobal": FlowFactoryGlobal,
}

func TestAdvantagesByHand(t *testing.T) {
	r2, r26 := math.Sqrt2, math.Sqrt(26)
	for _, tc := range []struct {
		name    string
		norm    Norm
		size    int
		rewards []float64
		want    []float64
	}{
		{"population", Norm{}, 2, []float64{1, 2, 8, 4}, []float64{-1, 1, 1, -1}},
		{"sample", Norm{Sample: true}, 2, []float64{0, 2}, []float64{-1 / r2, 1 / r2}},
		{"global", Norm{Scope: GlobalStd}, 2, []float64{0, 2, 10, 12}, []float64{-1 / r26, 1 / r26, -1 / r26, 1 / r26}},
		{"batch", Norm{Scope: PerBatch}, 2, []float64{0, 2, 10, 12}, []float64{-6 / r26, -4 / r26, 4 / r26, 6 / r26}},
		{"eps is added", Norm{Eps: 1}, 2, []float64{0, 2}, []float64{-0.5, 0.5}},
		{"floor is not", Norm{Floor: 0.5}, 2, []float64{0, 2}, []float64{-1, 1}},
		{"floor", Norm{Floor: 4}, 2, []float64{0, 2}, []float64{-0.25, 0.25}},
		{"floor and eps", Norm{Floor: 4, Eps: 1}, 2, []float64{0, 2}, []float64{-0.2, 0.2}},
		{"singletons", Norm{}, 1, []float64{3, 5}, []float64{0, 0}},
		{"singletons, sample", DanceGRPO, 1, []float64{3, 5}, []float64{0, 0}},
		{"one sample", DanceGRPOBatch, 1, []float64{3}, []float64{0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := must(BySize(len(tc.rewards), tc.size))(t)
			got := must(tc.norm.Advantages(make([]float64, len(tc.rewards)), tc.rewards, g))(t)
			near(t, "advantages", got, tc.want, 4*eps) // a handful of roundings of numbers near 1
		})
	}
}

// The function is the method with the population's standard deviation.
func TestAdvantagesFunction(t *testing.T) {
	rewards := []float64{0.1, 0.7, 0.2, 5, 5, 9}
	got := must(Advantages(make([]float64, 6), rewards, 3, 1e-4))(t)
	want := must(FlowGRPO.Advantages(make([]float64, 6), rewards, must(BySize(6, 3))(t)))(t)
	same(t, "advantages", got, want)
}

type batch struct {
	rewards []float64
	ids     []int
	groups  Groups
}

func drawBatch(t *rapid.T) batch {
	n := rapid.IntRange(1, 24).Draw(t, "n")
	b := batch{
		rewards: some(t, "rewards", n, -10, 10),
		ids:     rapid.SliceOfN(rapid.IntRange(0, 4), n, n).Draw(t, "ids"),
	}
	b.groups = must(ByID(b.ids))(t)
	return b
}

// scale returns the least standard deviation that any sample of b is divided by,
// groups of equal rewards left out, or 0 if there are no others.
func (b batch) scale(t tb, c Norm) float64 {
	least := inf
	g, n := b.groups, len(b.rewards)
	if c.Scope != PerGroup {
		g = Groups{}
	}
	for k := range g.Len() {
		if m := must(measure(b.rewards, g.at(k, n), c.Sample))(t); m.std > 0 {
			least = min(least, m.std)
		}
	}
	if least == inf {
		return 0
	}
	return least
}

// Advantages do not change when rewards are shifted, and scaled with eps and floor.
func propShiftScale(t *rapid.T) {
	b := drawBatch(t)
	c := norms[rapid.SampledFrom(slices.Sorted(maps.Keys(norms))).Draw(t, "norm")]
	scale := rapid.Float64Range(0.1, 10).Draw(t, "scale")
	shift := rapid.Float64Range(-100, 100).Draw(t, "shift")
	std := b.scale(t, c)
	if std < 1e-3 && std > 0 {
		t.Skip("the shifted rewards do not hold so small a spread")
	}
	moved := make([]float64, len(b.rewards))
	for i, r := range b.rewards {
		moved[i] = scale*r + shift
	}
	want := must(c.Advantages(make([]float64, len(moved)), b.rewards, b.groups))(t)
	c.Eps *= scale
	c.Floor *= scale
	got := must(c.Advantages(moved, moved, b.groups))(t)
	// A moved reward is off by half an ulp of 200, 1.4e-14, over 0.1·1e-3: 2e-10 for
	// a reward, as much again for the means. The std moves by as much, relatively,
	// times an advantage of at most √24.
	near(t, "advantages", got, want, 2e-9)
}

func TestShiftScale(t *testing.T) { rapid.Check(t, propShiftScale) }

// In every group advantages sum to 0, and their squares to n over what eps leaves.
func propMoments(t *rapid.T) {
	b := drawBatch(t)
	for name, c := range norms {
		adv := must(c.Advantages(make([]float64, len(b.rewards)), b.rewards, b.groups))(t)
		g := b.groups
		if c.Scope == PerBatch {
			g = Groups{}
		}
		for k, list := range members(g, len(adv)) {
			var sum, squares float64
			lo, hi := inf, -inf
			for _, i := range list {
				sum += adv[i]
				squares += adv[i] * adv[i]
				lo, hi = min(lo, b.rewards[i]), max(hi, b.rewards[i])
			}
			if lo == hi {
				continue
			}
			n := float64(len(list))
			m := must(measure(b.rewards, g.at(k, len(adv)), c.Sample))(t)
			std := m.std
			if c.Scope == GlobalStd {
				std = must(measure(b.rewards, group{n: len(adv)}, false))(t).std
			}
			// The mean is right to an ulp of rewards up to 10, seen over std.
			divisor := max(std, c.Floor) + c.Eps
			if tol := 2 * n * (10*eps/divisor + n*eps); math.Abs(sum) > tol {
				t.Errorf("%s: group %d sums to %v, tolerance %v", name, k, sum, tol)
			}
			if m.std < 1e-6 {
				continue // rounding of the mean shows in the spread
			}
			if c.Sample {
				n--
			}
			want := n * (m.std / divisor) * (m.std / divisor)
			if math.Abs(squares-want) > 1e-8*want {
				t.Errorf("%s: group %d has squares %v, want %v", name, k, squares, want)
			}
		}
	}
}

func TestMoments(t *testing.T) { rapid.Check(t, propMoments) }

// The mean of many rewards far from 0 is right to an ulp, 1.2e-10 at a million, though
// their sum is not. The test sees it in 30000 advantages, over a standard deviation of
// ½.
func TestMeanOfMany(t *testing.T) {
	rewards := make([]float64, 30000)
	for i := range rewards {
		rewards[i] = 1e6/3 + float64(i%2)
	}
	adv := must(Norm{}.Advantages(rewards, rewards, Groups{}))(t)
	var sum float64
	for _, a := range adv {
		sum += a
	}
	near(t, "mean", []float64{sum / 30000}, []float64{0}, 1.2e-10/2/0.5)
}

// Equal rewards have advantage exactly 0, though their mean may round: ten times 0.1
// does not sum to 1.
func propEqual(t *rapid.T) {
	r := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0.1, -0.7, 1e300, 5e-324})).Draw(t, "r")
	n := rapid.IntRange(1, 20).Draw(t, "n")
	// Samples n and n+1 differ from each other, those before do not.
	rewards := append(slices.Repeat([]float64{r}, n), 1, 2)
	ids := append(make([]int, n), 1, 1)
	g := must(ByID(ids))(t)
	for name, c := range norms {
		adv := make([]float64, n+2)
		if c.Scope == PerBatch {
			must(c.Advantages(adv[:n], rewards[:n], Groups{}))(t)
		} else if _, err := c.Advantages(adv, rewards, g); err != nil {
			if math.Abs(r) > 1e150 && c.Scope == GlobalStd {
				continue // the batch's spread overflows
			}
			t.Fatalf("%s: %v", name, err)
		}
		for i, a := range adv[:n] {
			if a != 0 {
				t.Errorf("%s: equal rewards %v: advantage %d is %v", name, r, i, a)
			}
		}
		if c.Scope != PerBatch && math.Abs(r) < 1e3 && !(adv[n] < 0 && adv[n+1] > 0) {
			t.Errorf("%s: rewards 1 and 2 have advantages %v", name, adv[n:])
		}
	}
}

func TestEqualRewards(t *testing.T) { rapid.Check(t, propEqual) }

// The order of samples and the names of groups do not matter.
func propOrder(t *rapid.T) {
	b := drawBatch(t)
	c := norms[rapid.SampledFrom(slices.Sorted(maps.Keys(norms))).Draw(t, "norm")]
	if std := b.scale(t, c); std < 1e-3 && std > 0 {
		t.Skip("rounding of the mean shows")
	}
	n := len(b.rewards)
	want := must(c.Advantages(make([]float64, n), b.rewards, b.groups))(t)

	names := make([]string, n)
	for i, id := range b.ids {
		names[i] = []string{"a cat", "a dog", "", "two cats", "rain"}[id]
	}
	got := must(c.Advantages(make([]float64, n), b.rewards, must(ByID(names))(t)))(t)
	same(t, "advantages by name", got, want)

	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	moved := batch{make([]float64, n), make([]int, n), Groups{}}
	perm := rapid.Permutation(index).Draw(t, "order")
	for i, p := range perm {
		moved.rewards[i], moved.ids[i] = b.rewards[p], b.ids[p]
	}
	got = must(c.Advantages(make([]float64, n), moved.rewards, must(ByID(moved.ids))(t)))(t)
	back := make([]float64, n)
	for i, p := range perm {
		back[p] = got[i]
	}
	near(t, "advantages in another order", back, want, 1e-10) // an ulp of 10 over 1e-3, and sums of 24
}

func TestOrder(t *testing.T) { rapid.Check(t, propOrder) }

// Runs of one size are the groups of as many ids; dst may be the rewards.
func propBySize(t *rapid.T) {
	size := rapid.IntRange(1, 6).Draw(t, "size")
	n := size * rapid.IntRange(1, 5).Draw(t, "groups")
	rewards := some(t, "rewards", n, 0, 1)
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i / size
	}
	for name, c := range norms {
		want := must(c.Advantages(make([]float64, n), rewards, must(ByID(ids))(t)))(t)
		got := slices.Clone(rewards)
		must(c.Advantages(got, got, must(BySize(n, size))(t)))(t)
		same(t, name, got, want)
	}
}

func TestBySizeIsByID(t *testing.T) { rapid.Check(t, propBySize) }

// Any rewards give an error or finite advantages, within √n in units of the standard
// deviation.
func propFinite(t *rapid.T) {
	rewards := rapid.SliceOfN(rapid.Float64(), 1, 12).Draw(t, "rewards")
	ids := rapid.SliceOfN(rapid.IntRange(0, 2), len(rewards), len(rewards)).Draw(t, "ids")
	g := must(ByID(ids))(t)
	n := float64(len(rewards))
	tiny := false
	for i := range rewards {
		for j := range rewards {
			if d := math.Abs(rewards[i] - rewards[j]); d > 0 && d < 1e-150 {
				tiny = true // squares lose their digits
			}
		}
	}
	for name, c := range norms {
		adv, err := c.Advantages(make([]float64, len(rewards)), rewards, g)
		if err != nil {
			if adv != nil {
				t.Errorf("%s: result beside the error %v", name, err)
			}
			continue
		}
		for i, a := range adv {
			if !finite(a) {
				t.Fatalf("%s: advantage %d is %v", name, i, a)
			}
			if !tiny && math.Abs(a) > math.Sqrt(n)*(1+1e-12) {
				t.Errorf("%s: advantage %d is %v of %v samples", name, i, a, n)
			}
		}
	}
}

func TestFinite(t *testing.T)       { rapid.Check(t, propFinite) }
func FuzzAdvantages(f *testing.F)   { f.Fuzz(rapid.MakeFuzz(propFinite)) }
func FuzzEqualRewards(f *testing.F) { f.Fuzz(rapid.MakeFuzz(propEqual)) }
func FuzzMoments(f *testing.F)      { f.Fuzz(rapid.MakeFuzz(propMoments)) }

func TestWeightedSum(t *testing.T) {
	got := must(WeightedSum(make([]float64, 2), []float64{1, -0.5}, [][]float64{{1, 2}, {10, 20}}))(t)
	same(t, "sum", got, []float64{-4, -8})
}

// Samples whose exact weighted sums are equal have equal sums, whatever the order of
// their terms. Summed naively, three decimals in two orders may differ by an ulp.
func TestWeightedSumOfEqualSums(t *testing.T) {
	orders := [][]float64{{0.1, 0.2, 0.3}, {0.3, 0.2, 0.1}, {0.2, 0.3, 0.1}, {0.3, 0.1, 0.2}}
	rewards := make([][]float64, 3)
	for k := range rewards {
		for _, o := range orders {
			rewards[k] = append(rewards[k], o[k])
		}
	}
	got := must(WeightedSum(make([]float64, 4), []float64{1, 1, 1}, rewards))(t)
	adv := must(Norm{}.Advantages(got, got, Groups{}))(t)
	same(t, "advantages", adv, make([]float64, 4))
	// 10·0.1 and 1 are not equal: 0.1 is 5.55e-18 above a tenth.
	got = must(WeightedSum(make([]float64, 1), []float64{10, -1}, [][]float64{{0.1}, {1}}))(t)
	same(t, "an exact difference", got, []float64{0x1p-54})

	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "terms")
		weights, terms := some(t, "weights", n, -10, 10), some(t, "terms", n, -10, 10)
		sum := func(order []int) float64 {
			w, r := make([]float64, n), make([][]float64, n)
			for k, o := range order {
				w[k], r[k] = weights[o], terms[o:o+1]
			}
			return must(WeightedSum([]float64{0}, w, r))(t)[0]
		}
		exact := new(big.Float).SetPrec(2000)
		order := make([]int, n)
		size := 0.0
		for k := range order {
			order[k] = k
			x := new(big.Float).SetPrec(2000).SetFloat64(weights[k])
			exact.Add(exact, x.Mul(x, big.NewFloat(terms[k])))
			size += math.Abs(weights[k] * terms[k])
		}
		want, _ := exact.Float64()
		// As good as computed with twice the digits, and rounded once.
		if got := sum(rapid.Permutation(order).Draw(t, "order")); math.Abs(got-want) > eps*math.Abs(want)+float64(n*n)*eps*eps*size {
			t.Errorf("sum %v, want %v", got, want)
		}
	})
}

// Rewards that cancel in the weighted sum leave rounding, which is no advantage.
func TestGDPOOfCancelledRewards(t *testing.T) {
	for name, rewards := range map[string][][]float64{
		"one of five":  {{1, 0, 0, 0, 0}, {0, 1, 1, 1, 1}},
		"a tenth":      {{1, 2, 4}, {-0.1, -0.2, -0.4}},
		"three":        {{1, 2, 4, 9}, {-0.1, -0.2, -0.4, -0.9}, {5, 5, 5, 5}},
		"a third each": {{1, 2, 4}, {-2, -4, -8}, {7, 7, 7}},
	} {
		weights := slices.Repeat([]float64{1}, len(rewards))
		n := len(rewards[0])
		for setting, c := range norms {
			if c.Eps > 0 {
				continue // eps counts in units of each reward, so that they do not cancel
			}
			got := must(c.GDPO(make([]float64, n), weights, rewards, Groups{}))(t)
			same(t, name+", "+setting, got, make([]float64, n))
		}
	}
	// A difference that is none of rounding stays.
	got := must(Norm{}.GDPO(make([]float64, 3), []float64{1, 1}, [][]float64{{1, 2, 4}, {-1, -2, -4 - 1e-9}}, Groups{}))(t)
	if d := slices.Max(got) - slices.Min(got); d < 1 {
		t.Errorf("rewards that differ by 1e-9 have advantages %v", got)
	}
}

// A reward and its opposite in another unit cancel. A product rounds by 2^-53 of a
// number up to 1, with a standard deviation of .3. Means and quotients round by as
// much again. For 8 samples or more, the sums are within n·2^-52·(1+1) of each other.
func propGDPOCancels(t *rapid.T) {
	n := rapid.IntRange(8, 24).Draw(t, "n")
	rewards := some(t, "rewards", n, 0, 1)
	scale := rapid.Float64Range(0.01, 100).Draw(t, "scale")
	if s := must(MeasureSpread(rewards, Groups{}))(t); s.MeanStd < 0.3 {
		t.Skip("the rewards round more, beside their spread")
	}
	opposite := make([]float64, n)
	for i, r := range rewards {
		opposite[i] = -scale * r
	}
	weight := rapid.Float64Range(0.1, 10).Draw(t, "weight")
	got := must(Norm{}.GDPO(make([]float64, n), []float64{weight, weight}, [][]float64{rewards, opposite}, Groups{}))(t)
	same(t, "advantages", got, make([]float64, n))
}

func TestGDPOCancels(t *testing.T) { rapid.Check(t, propGDPOCancels) }

// Rewards anywhere in float64 whose standard deviation float64 holds have advantages.
func TestHugeSpread(t *testing.T) {
	const most = math.MaxFloat64
	for _, tc := range []struct {
		rewards, want []float64
	}{
		{[]float64{2e154, -2e154}, []float64{1, -1}},
		{[]float64{1e200, -1e200}, []float64{1, -1}},
		{[]float64{most, -most}, []float64{1, -1}},
		{[]float64{most, -most, 0, 0}, []float64{math.Sqrt2, -math.Sqrt2, 0, 0}},
		{[]float64{most, most, most, -most}, []float64{1 / math.Sqrt(3), 1 / math.Sqrt(3), 1 / math.Sqrt(3), -math.Sqrt(3)}},
	} {
		got := must(Norm{}.Advantages(make([]float64, len(tc.want)), tc.rewards, Groups{}))(t)
		near(t, fmt.Sprint(tc.rewards), got, tc.want, 8*eps)
		var tr Tracker[int]
		got = must(tr.Advantages(make([]float64, len(tc.want)), tc.rewards, make([]int, len(tc.want))))(t)
		near(t, fmt.Sprint("tracked ", tc.rewards), got, tc.want, 8*eps)
	}
	// Also with an Eps as large.
	got := must(Norm{Eps: most}.Advantages(make([]float64, 2), []float64{most, -most}, Groups{}))(t)
	near(t, "eps", got, []float64{0.5, -0.5}, 4*eps)
	spread := must(MeasureSpread([]float64{2e154, -2e154}, Groups{}))(t)
	if math.Abs(spread.MeanStd/2e154-1) > 4*eps {
		t.Errorf("spread %v", spread.MeanStd)
	}
}

// GDPO does not care about the scale of a reward; the weighted sum does.
func TestGDPOScale(t *testing.T) {
	g := must(BySize(4, 2))(t)
	weights := []float64{1, 0.5}
	a, b := []float64{0, 1, 3, 2}, []float64{1, 0, 0, 2}
	large := []float64{1000, 0, 0, 2000}
	// a is -1, 1, 1, -1 and b the opposite at half weight: they make half of a.
	for name, c := range map[string]Norm{"population": {}, "floor": {Floor: 1e-6}} {
		got := must(c.GDPO(make([]float64, 4), weights, [][]float64{a, b}, g))(t)
		near(t, name, got, []float64{-1, 1, 1, -1}, 4*eps)
		got = must(c.GDPO(make([]float64, 4), weights, [][]float64{a, large}, g))(t)
		near(t, name+", large", got, []float64{-1, 1, 1, -1}, 4*eps)
	}
	sum := must(WeightedSum(make([]float64, 4), weights, [][]float64{a, large}))(t)
	got := must(Norm{}.Advantages(sum, sum, g))(t)
	near(t, "weighted sum follows the large reward", got, []float64{1, -1, -1, 1}, 4*eps)
}

// GDPO of one reward in groups that differ is its advantages: they have batch mean 0
// and, with groups of one size, standard deviation 1 already.
func propGDPOOne(t *rapid.T) {
	size := rapid.IntRange(2, 6).Draw(t, "size")
	n := size * rapid.IntRange(1, 4).Draw(t, "groups")
	rewards := some(t, "rewards", n, -10, 10)
	g := must(BySize(n, size))(t)
	spread := must(MeasureSpread(rewards, g))(t)
	if spread.ZeroStd > 0 || (batch{rewards: rewards, groups: g}).scale(t, Norm{}) < 1e-3 {
		t.Skip("a group without spread")
	}
	weight := rapid.Float64Range(0.1, 10).Draw(t, "weight")
	want := must(Norm{}.Advantages(make([]float64, n), rewards, g))(t)
	got := must(Norm{}.GDPO(make([]float64, n), []float64{weight}, [][]float64{rewards}, g))(t)
	near(t, "advantages", got, want, 1e-10) // means off by an ulp of 10 over 1e-3
}

func TestGDPOOfOneReward(t *testing.T) { rapid.Check(t, propGDPOOne) }

func TestClamp(t *testing.T) {
	adv := []float64{-7, -5, 0, 4, 5, inf}
	got := must(Clamp(adv, adv, 5))(t)
	same(t, "clamped", got, []float64{-5, -5, 0, 4, 5, 5})
}

func TestMeasureSpread(t *testing.T) {
	got := must(MeasureSpread([]float64{0.1, 0.1, 0.1, 1, 3, 7}, must(ByID([]int{0, 0, 0, 1, 1, 2}))(t)))(t)
	want := Spread{Groups: 3, ZeroStd: 2.0 / 3, MeanStd: 1.0 / 3, MeanSize: 2}
	if got != want {
		t.Errorf("spread is %+v, want %+v", got, want)
	}
}

func TestAdvantageErrors(t *testing.T) {
	g := must(BySize(4, 2))(t)
	norm := func(c Norm, rewards ...float64) error {
		_, err := c.Advantages(make([]float64, len(rewards)), rewards, Groups{})
		return err
	}
	grouped := func(c Norm, rewards ...float64) error {
		_, err := c.Advantages(make([]float64, len(rewards)), rewards, g)
		return err
	}
	several := func(f func(dst, weights []float64, rewards [][]float64) error, weights []float64, rewards ...[]float64) error {
		return f(make([]float64, 4), weights, rewards)
	}
	sum := func(dst, weights []float64, rewards [][]float64) error {
		_, err := WeightedSum(dst, weights, rewards)
		return err
	}
	gdpo := func(dst, weights []float64, rewards [][]float64) error {
		_, err := Norm{}.GDPO(dst, weights, rewards, g)
		return err
	}
	good := []float64{1, 2, 3, 4}
	_, negativeFloor := Norm{Floor: -1}.GDPO(make([]float64, 4), []float64{1}, [][]float64{good}, g)
	_, size := Advantages(make([]float64, 10), make([]float64, 10), 4, 0)
	_, zero := Clamp(good, good, 0)
	_, nanLimit := Clamp(good, good, nan)
	_, nanAdv := Clamp([]float64{1, 1}, []float64{1, nan}, 5)
	_, spread := MeasureSpread([]float64{1, inf}, Groups{})
	_, none := MeasureSpread(nil, Groups{})
	for _, tc := range []struct {
		err, kind error
		text      string
	}{
		{norm(Norm{}), ErrEmpty, "grpo: batch: empty"},
		{norm(Norm{}, 1, 2, nan), ErrNotFinite, "grpo: reward of sample 2 is NaN: not a finite number"},
		{norm(FlowGRPOBatch, -inf, 2), ErrNotFinite, "grpo: reward of sample 0 is -Inf: not a finite number"},
		{norm(Norm{Eps: -1}, 1), ErrSetting, "grpo: Norm.Eps -1 is not at least 0 and finite: setting out of range"},
		{norm(Norm{Eps: nan}, 1), ErrSetting, "grpo: Norm.Eps NaN is not at least 0 and finite: setting out of range"},
		{norm(Norm{Floor: inf}, 1), ErrSetting, "grpo: Norm.Floor +Inf is not at least 0 and finite: setting out of range"},
		{norm(Norm{Scope: 3}, 1), ErrSetting, "grpo: Norm.Scope 3 is none of PerGroup, GlobalStd and PerBatch: setting out of range"},
		{grouped(DanceGRPO, 1, 2, -1.5e308, 1.5e308), ErrOverflow, "grpo: group 1: spread of rewards from -1.5e+308 to 1.5e+308: overflows float64"},
		{norm(DanceGRPOBatch, 1.5e308, -1.5e308), ErrOverflow, "grpo: batch: spread of rewards from -1.5e+308 to 1.5e+308: overflows float64"},
		{size, ErrSize, "grpo: 10 samples in groups of 4: groups do not divide the samples"},

		{several(sum, nil), ErrEmpty, "grpo: list of rewards: empty"},
		{several(sum, []float64{1, inf}, good, good), ErrNotFinite, "grpo: weight 1 is +Inf: not a finite number"},
		{several(sum, []float64{1}, []float64{1, nan, 3, 4}), ErrNotFinite, "grpo: reward 0 of sample 1 is NaN: not a finite number"},
		{several(sum, []float64{1, 10}, good, []float64{1, 2, 1e308, 0}), ErrOverflow, "grpo: weighted reward of sample 2: overflows float64"},
		{several(gdpo, nil), ErrEmpty, "grpo: list of rewards: empty"},
		{gdpo(nil, []float64{1}, [][]float64{nil}), ErrEmpty, "grpo: batch: empty"},
		{negativeFloor, ErrSetting, "grpo: Norm.Floor -1 is not at least 0 and finite: setting out of range"},
		{several(gdpo, []float64{nan}, good), ErrNotFinite, "grpo: weight 0 is NaN: not a finite number"},
		{several(gdpo, []float64{1, 1}, good, []float64{1, nan, 3, 4}), ErrNotFinite, "grpo: reward 1: reward of sample 1 is NaN: not a finite number"},

		{zero, ErrSetting, "grpo: advantage limit 0 is not above 0: setting out of range"},
		{nanLimit, ErrSetting, "grpo: advantage limit NaN is not above 0: setting out of range"},
		{nanAdv, ErrNotFinite, "grpo: advantage of sample 1 is NaN: not a finite number"},
		{spread, ErrNotFinite, "grpo: reward of sample 1 is +Inf: not a finite number"},
		{none, ErrEmpty, "grpo: batch: empty"},
	} {
		wantError(t, tc.err, tc.kind, tc.text)
	}
}

func TestAdvantagePanics(t *testing.T) {
	two, three := make([]float64, 2), make([]float64, 3)
	wantPanic(t, "grpo: length of dst is 2, not that of rewards, 3", func() { Advantages(two, three, 1, 0) })
	wantPanic(t, "grpo: length of dst is 2, not that of rewards, 3", func() { Norm{}.Advantages(two, three, Groups{}) })
	wantPanic(t, panicGroups, func() { Norm{}.Advantages(three, three, must(BySize(4, 2))(t)) })
	wantPanic(t, panicGroups, func() { MeasureSpread(three, must(ByID([]int{1, 2}))(t)) })
	wantPanic(t, "grpo: length of dst is 2, not that of adv, 3", func() { Clamp(two, three, 5) })
	wantPanic(t, panicWeights, func() { WeightedSum(two, []float64{1}, nil) })
	wantPanic(t, "grpo: length of rewards[0] is 3, not that of dst, 2", func() { WeightedSum(two, []float64{1}, [][]float64{three}) })
	wantPanic(t, panicAlias, func() { WeightedSum(two, []float64{1}, [][]float64{two}) })
	wantPanic(t, panicAlias, func() { Norm{}.GDPO(two, []float64{1}, [][]float64{two}, Groups{}) })
}

func TestAdvantagesDoNotAllocate(t *testing.T) {
	g := must(ByID([]int{0, 1, 0, 1}))(t)
	dst, rewards := make([]float64, 4), []float64{1, 2, 3, 5}
	weights, lists := []float64{1, 2}, [][]float64{rewards, {4, 1, 2, 0}}
	wantNoAllocs(t, "Advantages", func() { Advantages(dst, rewards, 2, 1e-4) })
	wantNoAllocs(t, "Norm.Advantages", func() { FlowGRPOGlobal.Advantages(dst, rewards, g) })
	wantNoAllocs(t, "WeightedSum", func() { WeightedSum(dst, weights, lists) })
	wantNoAllocs(t, "GDPO", func() { FlowFactory.GDPO(dst, weights, lists, g) })
	wantNoAllocs(t, "Clamp", func() { Clamp(dst, rewards, 5) })
	wantNoAllocs(t, "MeasureSpread", func() { MeasureSpread(rewards, g) })
}
