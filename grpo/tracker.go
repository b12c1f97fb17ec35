package grpo

import (
	"fmt"
	"slices"
)

// A Tracker remembers the rewards of every prompt over iterations, until it is cleared, and
// computes advantages against this history:
//
//	A = (r - mean) / (max(std, Floor) + Eps)
//
// mean and std are over the last Limit rewards of the prompt, including those of this call.
// Under GlobalStd, std is that of all rewards of this call. Prompts with fewer than MinCount
// rewards take the mean and std of this call.
//
// With Norm FlowGRPO this is PerPromptStatTracker of flow_grpo and FlowCPS
// (flow_grpo/stat_tracking.py, type "grpo"). With FlowGRPOGlobal it is the same with
// global_std. With Limit, MinCount and Norm{Eps: 1e-6} it is that of ddpo-pytorch
// (ddpo_pytorch/stat_tracking.py, buffer_size and min_count).
//
// Deviations from that code: equal rewards have advantage exactly 0 ([Norm]). A Tracker goes on
// without being cleared; flow_grpo's update fails unless it is cleared before each call.
// History is kept by prompt, not by a prompt's hash.
//
// The zero Tracker is ready, remembers everything and has the zero Norm. A Tracker serves one
// goroutine at a time.
type Tracker[K comparable] struct {
	Norm     Norm // PerGroup means per prompt; PerBatch is an error, since it has no history
	Limit    int  // number of latest rewards remembered per prompt; 0 means all
	MinCount int  // a prompt with fewer rewards takes mean and std of the call

	history map[K]int // index in stats
	stats   []Record[K]
	seen    map[K]bool // prompts, including cleared ones
}

// A Record holds the rewards that a Tracker remembers of a prompt, oldest first.
type Record[K comparable] struct {
	Prompt  K
	Rewards []float64
}

// Advantages remembers the rewards, one a sample. It stores their advantages in dst and returns
// dst, which may be rewards. prompts[i] is the prompt of sample i. Samples of a prompt may
// stand anywhere.
//
// These are errors: no rewards, a reward that is not finite, a prompt that is NaN, a spread or
// an advantage that overflows, and a bad setting. The error names the sample, the prompt or the
// field. The contents of dst are then unspecified, and nothing is remembered. Advantages panics
// if lengths differ. It allocates.
func (t *Tracker[K]) Advantages(dst, rewards []float64, prompts []K) ([]float64, error) {
	checkLength("dst", len(dst), "rewards", len(rewards))
	checkLength("prompts", len(prompts), "rewards", len(rewards))
	if err := t.validate(); err != nil {
		return nil, wrap(err)
	}
	if err := checkBatch(rewards, Groups{}); err != nil {
		return nil, wrap(err)
	}
	groups, err := ByID(prompts)
	if err != nil {
		return nil, err
	}
	all, err := measure(rewards, group{n: len(rewards)}, t.Norm.Sample)
	if err != nil {
		return nil, fmt.Errorf("grpo: batch: %w", err)
	}
	// All prompts are measured before anything is remembered or stored.
	updated := make([]Record[K], groups.Len())
	scales := make([]moments, groups.Len())
	for k := range updated {
		members := groups.at(k, len(rewards))
		prompt := prompts[members.sample(0)]
		var past []float64
		if i, ok := t.history[prompt]; ok {
			past = slices.Clone(t.stats[i].Rewards)
		}
		for j := range members.n {
			past = append(past, rewards[members.sample(j)])
		}
		if t.Limit > 0 {
			past = past[max(0, len(past)-t.Limit):]
		}
		updated[k] = Record[K]{prompt, past}
		if scales[k], err = t.scale(past, all); err != nil {
			return nil, fmt.Errorf("grpo: prompt %v: %w", prompt, err)
		}
	}
	for k, m := range scales {
		members := groups.at(k, len(rewards))
		for j := range members.n {
			i := members.sample(j)
			a := t.Norm.advantage(rewards[i], m)
			if !finite(a) { // possible if Limit leaves this reward out of the history
				return nil, fmt.Errorf("grpo: advantage of sample %d, with reward %v and standard deviation %v: %w", i, rewards[i], m.std, ErrOverflow)
			}
			dst[i] = a
		}
	}
	for _, r := range updated {
		t.remember(r)
	}
	return dst, nil
}

// scale returns mean and std for a prompt with these rewards, past and present. all is for the
// rewards of the call.
func (t *Tracker[K]) scale(rewards []float64, all moments) (moments, error) {
	if len(rewards) < t.MinCount {
		return all, nil
	}
	m, err := measure(rewards, group{n: len(rewards)}, t.Norm.Sample)
	if t.Norm.Scope == GlobalStd {
		m.std = all.std
	}
	return m, err
}

func (t *Tracker[K]) remember(r Record[K]) {
	if i, ok := t.history[r.Prompt]; ok {
		t.stats[i] = r
		return
	}
	if t.history == nil {
		t.history = make(map[K]int)
	}
	if t.seen == nil {
		t.seen = make(map[K]bool)
	}
	t.history[r.Prompt] = len(t.stats)
	t.seen[r.Prompt] = true
	t.stats = append(t.stats, r)
}

func (t *Tracker[K]) validate() error {
	switch {
	case t.Norm.Scope == PerBatch:
		return fmt.Errorf("Tracker.Norm.Scope is PerBatch, which has no history; take PerGroup or GlobalStd: %w", ErrSetting)
	case t.Limit < 0:
		return fmt.Errorf("Tracker.Limit %d is negative: %w", t.Limit, ErrSetting)
	case t.MinCount < 0:
		return fmt.Errorf("Tracker.MinCount %d is negative: %w", t.MinCount, ErrSetting)
	}
	return t.Norm.validate()
}

// Clear forgets all rewards, as flow_grpo does after every epoch. It keeps the set of prompts
// seen.
func (t *Tracker[K]) Clear() { t.history, t.stats = nil, nil }

// Prompts returns the mean number of rewards remembered per prompt, or 0 if there are none, and
// the number of prompts ever seen. flow_grpo logs them as group_size and trained_prompt_num
// (get_stats).
func (t *Tracker[K]) Prompts() (size float64, seen int) {
	if len(t.stats) == 0 {
		return 0, len(t.seen)
	}
	n := 0
	for _, r := range t.stats {
		n += len(r.Rewards)
	}
	return float64(n) / float64(len(t.stats)), len(t.seen)
}

// Records returns a copy of what t remembers, with prompts in the order of their first
// appearance. It is the state to store in a checkpoint.
func (t *Tracker[K]) Records() []Record[K] {
	all := make([]Record[K], len(t.stats))
	for i, r := range t.stats {
		all[i] = Record[K]{r.Prompt, slices.Clone(r.Rewards)}
	}
	return all
}

// Restore forgets everything and remembers a copy of records instead. t then goes on like the
// Tracker that records came from, except that prompts without a record count as never seen. A
// reward that is not finite and a prompt that is NaN or occurs twice are errors. t is then
// unchanged.
func (t *Tracker[K]) Restore(records []Record[K]) error {
	fresh := Tracker[K]{Norm: t.Norm, Limit: t.Limit, MinCount: t.MinCount}
	for _, r := range records {
		if r.Prompt != r.Prompt {
			return fmt.Errorf("grpo: record of prompt %v: %w", r.Prompt, ErrNotFinite)
		}
		if _, twice := fresh.history[r.Prompt]; twice {
			return fmt.Errorf("grpo: two records of prompt %v: %w", r.Prompt, ErrSetting)
		}
		for i, x := range r.Rewards {
			if !finite(x) {
				return fmt.Errorf("grpo: record of prompt %v: reward %d is %v: %w", r.Prompt, i, x, ErrNotFinite)
			}
		}
		fresh.remember(Record[K]{r.Prompt, slices.Clone(r.Rewards)})
	}
	*t = fresh
	return nil
}
