package grpo

import (
	"fmt"
	"math"
	"slices"
)

// A Scope says over which samples a reward is centred and scaled.
type Scope uint8

const (
	PerGroup  Scope = iota // mean and standard deviation of the group
	GlobalStd              // mean of the group, standard deviation of all rewards
	PerBatch               // mean and standard deviation of all rewards
)

// An Estimator turns the rewards of groups into advantages. [Norm] is one; trainers take
// any other in its place, such as one that leaves the own reward out of the mean. Walk the
// groups by [Groups.All]. Results, aliasing and errors are to be those of [Norm.Advantages].
type Estimator interface {
	Advantages(dst, rewards []float64, g Groups) ([]float64, error)
}

var _ Estimator = Norm{}

// A Norm turns rewards into advantages,
//
//	A = (r - mean) / (max(std, Floor) + Eps)
//
// with mean and std over what Scope says. The variance is divided by n, or by n-1 if
// Sample is set. The variables below are the settings of the published trainers.
// The zero Norm is exact: mean 0 and standard deviation 1 in every group.
//
// Rewards that are all equal have advantage exactly 0, whatever rounding makes of
// their mean; published code leaves a residue there, which an eps of 1e-8 lets
// through. So has a sample that is alone under a sample standard deviation, where
// published code (torch.std of one element) gives NaN: a deviation of this package.
// Equal means max = min over the samples of std; a spread whose square float64 does
// not hold is not equal.
type Norm struct {
	Scope  Scope
	Sample bool    // divide by n-1 (torch.std), not by n (numpy.std)
	Eps    float64 // added to the standard deviation, in units of the reward
	Floor  float64 // the least standard deviation, in units of the reward
}

// Settings of published trainers. They are values to copy, not to assign to.
//
// FlowGRPO is PerPromptStatTracker.update of flow_grpo and FlowCPS
// (flow_grpo/stat_tracking.py), FlowGRPOGlobal the same with global_std, their
// default, and FlowGRPOBatch their scripts without statistics per prompt.
// DanceGRPO is fastvideo/train_grpo_flux.py with use_group, DanceGRPOBatch
// without; that code computes in float32. FlowFactory and FlowFactoryGlobal are
// src/flow_factory/advantage/advantage_processor.py; for its aggregation "gdpo" call
// [Norm.GDPO] on them.
var (
	FlowGRPO          = Norm{Eps: 1e-4}
	FlowGRPOGlobal    = Norm{Scope: GlobalStd, Eps: 1e-4}
	FlowGRPOBatch     = Norm{Scope: PerBatch, Eps: 1e-4}
	DanceGRPO         = Norm{Sample: true, Eps: 1e-8}
	DanceGRPOBatch    = Norm{Scope: PerBatch, Sample: true, Eps: 1e-8}
	FlowFactory       = Norm{Floor: 1e-6}
	FlowFactoryGlobal = Norm{Scope: GlobalStd, Floor: 1e-6}
)

// Advantages normalises rewards in consecutive groups of size,
//
//	A = (r - mean) / (std + eps)
//
// with the mean and the population standard deviation of the group: the common case
// of [Norm.Advantages], which says the rest. Flow-GRPO's eps is 1e-4.
func Advantages(dst, rewards []float64, size int, eps float64) ([]float64, error) {
	if len(dst) != len(rewards) {
		panic(panicLength)
	}
	g, err := BySize(len(rewards), size)
	if err != nil {
		return nil, err
	}
	return Norm{Eps: eps}.Advantages(dst, rewards, g)
}

// Advantages stores the advantages of rewards in dst and returns dst, which may be
// rewards. The group means of the result are 0 to the rounding of
// rewards, except under PerBatch.
//
// It reports no rewards, a reward that is not finite, a spread that overflows, and a
// setting that is negative or not finite, by sample, group or field; dst is then
// unspecified and the result nil. It panics if lengths differ, that of g's batch
// included. It does not allocate.
func (c Norm) Advantages(dst, rewards []float64, g Groups) ([]float64, error) {
	if len(dst) != len(rewards) {
		panic(panicLength)
	}
	if err := c.validate(); err != nil {
		return nil, wrap(err)
	}
	if err := c.eachGroup(rewards, g, func(i int, a float64) { dst[i] = a }); err != nil {
		return nil, wrap(err)
	}
	return dst, nil
}

// WeightedSum stores in dst the weighted sum of several rewards,
//
//	r = Σ_k weights[k]·rewards[k]
//
// and returns dst. rewards[k] holds the k-th reward of every sample; dst must be
// none of them. The sum is computed with the roundings of its products and sums added
// (Ogita, Rump and Oishi, 2005), so that samples whose exact sums are equal get equal
// ones, and [Norm] sees that they are. It reports no rewards and values that are not
// finite, the sum included, and panics if lengths differ. It does not allocate.
//
// On advantages instead of rewards it is MixGRPO's multi_reward_mix
// "advantage_aggr".
func WeightedSum(dst, weights []float64, rewards [][]float64) ([]float64, error) {
	if err := checkRewards(dst, weights, rewards); err != nil {
		return nil, wrap(err)
	}
	for i := range dst {
		var sum, rest float64 // the weighted reward is their sum
		for k, w := range weights {
			r := rewards[k][i]
			if !finite(r) {
				return nil, fmt.Errorf("grpo: reward %d of sample %d is %v: %w", k, i, r, ErrNotFinite)
			}
			product := float64(w * r)
			total := sum + product
			back := total - sum
			rest += math.FMA(w, r, -product) + ((sum - (total - back)) + (product - back))
			sum = total
		}
		if dst[i] = sum + rest; !finite(dst[i]) {
			return nil, fmt.Errorf("grpo: weighted reward of sample %d: %w", i, ErrOverflow)
		}
	}
	return dst, nil
}

// GDPO stores in dst the advantages of several rewards and returns dst: every reward
// is normalised on its own, so that none drowns in the spread of another, and the
// weighted sum is normalised over the batch.
//
//	S = Σ_k weights[k]·A_k   A = (S - mean S) / (max(std S, Floor) + Eps)
//
// A_k are c's advantages of reward k in the groups g (arXiv 2601.05242; Flow-Factory's
// aggregation "gdpo"). Arguments, errors and panics are those of [WeightedSum] and
// [Norm.Advantages]. It does not allocate.
//
// Where the A_k cancel, rounding is left, which a standard deviation as small would turn
// into full advantages. So all sums S of n samples are equal, and A exactly 0, if they lie
// within n·2⁻⁵²·Σ_k |weights[k]|·max|A_k| of each other: a deviation from published code.
func (c Norm) GDPO(dst, weights []float64, rewards [][]float64, g Groups) ([]float64, error) {
	if err := checkRewards(dst, weights, rewards); err != nil {
		return nil, wrap(err)
	}
	if err := c.validate(); err != nil {
		return nil, wrap(err)
	}
	clear(dst)
	size := 0.0
	for k, w := range weights {
		most := 0.0
		err := c.eachGroup(rewards[k], g, func(i int, a float64) {
			dst[i] += float64(w * a)
			most = max(most, math.Abs(a))
		})
		if err != nil {
			return nil, fmt.Errorf("grpo: reward %d: %w", k, err)
		}
		size += float64(math.Abs(w) * most)
	}
	if finite(size) && slices.Max(dst)-slices.Min(dst) <= float64(len(dst))*0x1p-52*size {
		clear(dst)
		return dst, nil
	}
	return c.Advantages(dst, dst, Groups{})
}

// Clamp stores in dst the advantages limited to [-limit, limit], the adv_clip_max
// of the published trainers (5 there), and returns dst, which may be adv. It
// reports a limit that is not above 0 and an advantage that is NaN, and panics if
// lengths differ. It does not allocate.
func Clamp(dst, adv []float64, limit float64) ([]float64, error) {
	if len(dst) != len(adv) {
		panic(panicLength)
	}
	if !(limit > 0) {
		return nil, fmt.Errorf("grpo: advantage limit %v is not above 0: %w", limit, ErrSetting)
	}
	for i, a := range adv {
		if math.IsNaN(a) {
			return nil, fmt.Errorf("grpo: advantage of sample %d is NaN: %w", i, ErrNotFinite)
		}
		dst[i] = max(-limit, min(a, limit))
	}
	return dst, nil
}

// A Spread says how much there is to learn from the rewards of a batch.
type Spread struct {
	Groups   int
	ZeroStd  float64 // fraction of groups whose rewards are all equal: no gradient
	MeanStd  float64 // mean over groups of the population standard deviation
	MeanSize float64 // samples per group
}

// MeasureSpread describes rewards in groups, the zero_std_ratio, reward_std_mean and
// group_size that flow_grpo logs. Errors and panics are those of [Norm.Advantages].
// It does not allocate.
func MeasureSpread(rewards []float64, g Groups) (Spread, error) {
	n := len(rewards)
	if err := checkBatch(rewards, g); err != nil {
		return Spread{}, wrap(err)
	}
	s := Spread{Groups: g.Len(), MeanSize: float64(n) / float64(g.Len())}
	for k := range s.Groups {
		m, err := measure(rewards, g.at(k, n), false)
		if err != nil {
			return Spread{}, fmt.Errorf("grpo: group %d: %w", k, err)
		}
		if m.std == 0 {
			s.ZeroStd++
		}
		s.MeanStd += m.std / float64(s.Groups)
	}
	s.ZeroStd /= float64(s.Groups)
	return s, nil
}

func (c Norm) validate() error {
	switch {
	case c.Scope > PerBatch:
		return fmt.Errorf("Norm.Scope %d: %w", c.Scope, ErrSetting)
	case !finite(c.Eps) || c.Eps < 0:
		return fmt.Errorf("Norm.Eps %v: %w", c.Eps, ErrSetting)
	case !finite(c.Floor) || c.Floor < 0:
		return fmt.Errorf("Norm.Floor %v: %w", c.Floor, ErrSetting)
	}
	return nil
}

// eachGroup calls put with the advantage of every sample, in the order of groups.
// A group is measured before any of its samples is put, and so is the batch.
func (c Norm) eachGroup(rewards []float64, g Groups, put func(i int, a float64)) error {
	n := len(rewards)
	if err := checkBatch(rewards, g); err != nil {
		return err
	}
	var all moments
	if c.Scope != PerGroup {
		var err error
		if all, err = measure(rewards, group{n: n}, c.Sample); err != nil {
			return fmt.Errorf("batch: %w", err)
		}
	}
	for k := range g.Len() {
		members := g.at(k, n)
		m := all
		if c.Scope != PerBatch {
			var err error
			if m, err = measure(rewards, members, c.Sample); err != nil {
				return fmt.Errorf("group %d: %w", k, err)
			}
			if c.Scope == GlobalStd {
				m.std = all.std
			}
		}
		for j := range members.n {
			i := members.sample(j)
			put(i, c.advantage(rewards[i], m))
		}
	}
	return nil
}

// advantage returns that of a reward among others.
func (c Norm) advantage(reward float64, m moments) float64 {
	if m.std == 0 {
		return 0
	}
	d, std := reward-m.mean, max(m.std, c.Floor)+c.Eps
	if finite(d) && finite(std) {
		return d / std
	}
	return (reward/2 - m.mean/2) / (max(m.std, c.Floor)/2 + c.Eps/2)
}

// moments of a group. std 0 means that its rewards are equal.
type moments struct{ mean, std float64 }

func measure(rewards []float64, g group, sample bool) (moments, error) {
	lo, hi, sum := math.Inf(1), math.Inf(-1), 0.0
	n := float64(g.n)
	for j := range g.n {
		r := rewards[g.sample(j)]
		lo, hi = min(lo, r), max(hi, r)
		sum += r / n
	}
	if lo == hi {
		return moments{mean: lo}, nil
	}
	// The second pass takes from the mean what rounding left in it.
	rest := 0.0
	for j := range g.n {
		rest += (rewards[g.sample(j)] - sum) / n
	}
	mean := sum + rest
	if !finite(mean) { // rewards at both ends of float64: the first pass must do
		mean = sum
	}
	var squares float64
	for j := range g.n {
		d := rewards[g.sample(j)] - mean
		squares += float64(d * d)
	}
	if sample {
		n--
	}
	std := math.Sqrt(squares / n)
	if !finite(squares) || squares < 1e-280 { // out of range: take them in units of the spread
		half := hi/2 - lo/2
		if half == 0 { // two subnormal neighbours
			half = hi - lo
		}
		squares = 0
		for j := range g.n {
			r := rewards[g.sample(j)]
			d := (r - mean) / half
			if !finite(d) {
				d = r/half - mean/half
			}
			squares += float64(d * d)
		}
		std = max(half*math.Sqrt(squares/n), math.SmallestNonzeroFloat64)
	}
	if !finite(std) {
		return moments{}, fmt.Errorf("spread of rewards from %v to %v: %w", lo, hi, ErrOverflow)
	}
	return moments{mean, std}, nil
}

func checkBatch(rewards []float64, g Groups) error {
	g.check(len(rewards))
	if len(rewards) == 0 {
		return fmt.Errorf("batch: %w", ErrEmpty)
	}
	for i, r := range rewards {
		if !finite(r) {
			return fmt.Errorf("reward of sample %d is %v: %w", i, r, ErrNotFinite)
		}
	}
	return nil
}

func checkRewards(dst, weights []float64, rewards [][]float64) error {
	if len(weights) != len(rewards) {
		panic(panicWeights)
	}
	for _, r := range rewards {
		if len(r) != len(dst) {
			panic(panicLength)
		}
		if len(r) > 0 && &r[0] == &dst[0] {
			panic(panicAlias)
		}
	}
	switch {
	case len(weights) == 0:
		return fmt.Errorf("list of rewards: %w", ErrEmpty)
	case len(dst) == 0:
		return fmt.Errorf("batch: %w", ErrEmpty)
	}
	for k, w := range weights {
		if !finite(w) {
			return fmt.Errorf("weight %d is %v: %w", k, w, ErrNotFinite)
		}
	}
	return nil
}

func finite(x float64) bool { return math.Abs(x) <= math.MaxFloat64 }
