package grpo

import (
	"fmt"
	"math"
	"slices"
)

// A Scope says which samples give the mean and the standard deviation of a [Norm].
type Scope uint8

const (
	PerGroup  Scope = iota // mean and standard deviation of the group
	GlobalStd              // mean of the group, standard deviation of all rewards
	PerBatch               // mean and standard deviation of all rewards
)

// An Estimator turns the rewards of groups into advantages. [Norm] is one. A trainer
// takes any other in its place, such as one that leaves a sample's own reward out of the
// mean. Walk the groups with [Groups.All]. Keep the contract of [Norm.Advantages] for
// results, aliasing and errors.
type Estimator interface {
	Advantages(dst, rewards []float64, g Groups) ([]float64, error)
}

var _ Estimator = Norm{}

// A Norm turns rewards into advantages,
//
//	A = (r - mean) / (max(std, Floor) + Eps)
//
// with mean and std over the samples that Scope names. The sum of squares is divided
// by n, or by n-1 if Sample is set. The variables below are the settings of the
// published trainers. The zero Norm gives mean 0 and standard deviation 1 in every
// group.
//
// Rewards that are all equal have advantage exactly 0. Rewards count as equal if the
// greatest equals the least, over the samples that give std. In published code the
// rounding error of the mean remains, and with an eps of 1e-8 it becomes a visible
// advantage. A sample that is alone under a sample standard deviation also has
// advantage 0. Published code (torch.std of one element) gives NaN; this is a
// deviation of this package. Rewards may differ by so little that the square of the
// difference underflows. They are not equal, and std is computed in units of their
// spread, so it is not 0.
type Norm struct {
	Scope  Scope
	Sample bool    // divide by n-1 (torch.std), not by n (numpy.std)
	Eps    float64 // added to the standard deviation, in units of the reward
	Floor  float64 // the least standard deviation, in units of the reward
}

// Settings of published trainers. Copy them, and do not assign to them.
//
// FlowGRPO is PerPromptStatTracker.update of flow_grpo and FlowCPS
// (flow_grpo/stat_tracking.py). FlowGRPOGlobal is the same with global_std, their
// default. FlowGRPOBatch is their scripts without statistics per prompt. DanceGRPO is
// fastvideo/train_grpo_flux.py with use_group, and DanceGRPOBatch without it; that
// code computes in float32. FlowFactory and FlowFactoryGlobal are
// src/flow_factory/advantage/advantage_processor.py. For its aggregation "gdpo" call
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
// with the mean and the population standard deviation of the group. Flow-GRPO's eps
// is 1e-4. It is Norm{Eps: eps} on the groups of [BySize]: results, aliasing, errors
// and panics are those of [Norm.Advantages] and BySize. It does not allocate.
func Advantages(dst, rewards []float64, size int, eps float64) ([]float64, error) {
	checkLength("dst", len(dst), "rewards", len(rewards))
	g, err := BySize(len(rewards), size)
	if err != nil {
		return nil, err
	}
	return Norm{Eps: eps}.Advantages(dst, rewards, g)
}

// Advantages stores the advantages of rewards in dst and returns dst, which may be
// rewards. Except under PerBatch, the mean of a group's advantages is 0, up to the
// rounding of rewards.
//
// Advantages returns an error for an empty batch, a reward that is not finite, a
// spread that overflows, and a setting that is negative or not finite. The error
// names the sample, the group or the field. The result is then nil, and the contents
// of dst are unspecified. Advantages panics if dst, rewards and the batch of g differ
// in length. It does not allocate.
func (c Norm) Advantages(dst, rewards []float64, g Groups) ([]float64, error) {
	checkLength("dst", len(dst), "rewards", len(rewards))
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
// and returns dst. rewards[k] holds the k-th reward of every sample. dst must be none
// of them. WeightedSum compensates the rounding errors of products and sums (Ogita,
// Rump and Oishi, 2005). Samples whose exact sums are equal thus get equal results,
// and [Norm] gives them advantage 0. An empty list, an empty batch and a value or sum
// that is not finite are errors. WeightedSum panics if lengths differ or dst is one
// of the rewards. It does not allocate.
//
// Applied to advantages instead of rewards, it is MixGRPO's multi_reward_mix
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

// GDPO stores in dst the advantages of several rewards and returns dst. It normalises
// every reward on its own, so that a reward of large spread does not hide the others.
// It then normalises the weighted sum over the batch:
//
//	S = Σ_k weights[k]·A_k   A = (S - mean S) / (max(std S, Floor) + Eps)
//
// A_k are c's advantages of reward k in the groups g (arXiv 2601.05242; Flow-Factory's
// aggregation "gdpo"). Arguments, errors and panics are those of [WeightedSum] and
// [Norm.Advantages]. It does not allocate.
//
// Where the A_k cancel, only rounding errors are left in S. Their standard deviation
// is as small, so normalising would turn them into full advantages. GDPO therefore
// takes the sums S of n samples as equal, with A exactly 0, if they lie within
// n·2⁻⁵²·Σ_k |weights[k]|·max|A_k| of each other. Published code does not.
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

// Clamp stores in dst the advantages limited to [-limit, limit], and returns dst,
// which may be adv. limit is adv_clip_max of the published trainers, 5 there. A limit
// that is not above 0 and an advantage that is NaN are errors. Clamp panics if
// lengths differ. It does not allocate.
func Clamp(dst, adv []float64, limit float64) ([]float64, error) {
	checkLength("dst", len(dst), "adv", len(adv))
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

// A Spread describes how much the rewards of a batch differ within groups. Groups of
// equal rewards give no gradient.
type Spread struct {
	Groups   int
	ZeroStd  float64 // fraction of groups whose rewards are all equal
	MeanStd  float64 // mean over groups of the population standard deviation
	MeanSize float64 // samples per group
}

// MeasureSpread returns the Spread of rewards in groups. flow_grpo logs its fields as
// zero_std_ratio, reward_std_mean and group_size. Errors and panics are those of
// [Norm.Advantages]. It does not allocate.
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
		return fmt.Errorf("Norm.Scope %d is none of PerGroup, GlobalStd and PerBatch: %w", c.Scope, ErrSetting)
	case !finite(c.Eps) || c.Eps < 0:
		return fmt.Errorf("Norm.Eps %v is not at least 0 and finite: %w", c.Eps, ErrSetting)
	case !finite(c.Floor) || c.Floor < 0:
		return fmt.Errorf("Norm.Floor %v is not at least 0 and finite: %w", c.Floor, ErrSetting)
	}
	return nil
}

// eachGroup calls put with the advantage of every sample, in the order of groups. It
// measures the batch first, and a group before any put of its samples.
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

// advantage returns the advantage of a reward, given the moments of its scope.
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

// moments are the mean and standard deviation of rewards. std is 0 only if all are
// equal.
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
	// The second pass removes the rounding error of the mean.
	rest := 0.0
	for j := range g.n {
		rest += (rewards[g.sample(j)] - sum) / n
	}
	mean := sum + rest
	if !finite(mean) { // rewards at both ends of float64: keep the first pass
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
	if !finite(squares) || squares < 1e-280 { // out of range: measure in units of the spread
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
	for k, r := range rewards {
		if len(r) != len(dst) {
			wrongLength(fmt.Sprintf("rewards[%d]", k), len(r), "dst", len(dst))
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
