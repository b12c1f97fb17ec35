package grpo

import (
	"fmt"
	"slices"
)

// A Tracker gives advantages against what it has seen of every prompt, over as many
// iterations as it is not cleared:
//
//	A = (r - mean) / (max(std, Floor) + Eps)
//
// with mean and std over the last Limit rewards of the prompt, those of this call
// included. Norm says what else: under GlobalStd std is that of this call's rewards,
// all prompts together. It is PerPromptStatTracker of flow_grpo and FlowCPS
// (flow_grpo/stat_tracking.py, type "grpo"), with Norm FlowGRPO or, with global_std,
// FlowGRPOGlobal. With Limit and MinCount it is that of ddpo-pytorch
// (ddpo_pytorch/stat_tracking.py, buffer_size and min_count, Norm{Eps: 1e-6}), whose
// prompts with fewer than MinCount rewards take mean and std of the call.
//
// Deviations from that code: rewards that are equal have advantage exactly 0
// ([Norm]); flow_grpo's update fails if it is not cleared before each call, where this one goes
// on; history is counted by prompts, not by their hashes.
//
// The zero Tracker is ready, remembers everything and has the zero Norm. It is for
// one goroutine at a time.
type Tracker[K comparable] struct {
	Norm     Norm // PerGroup: of the prompt's history; PerBatch has none and is an error
	Limit    int  // rewards remembered of a prompt, the latest; 0: all
	MinCount int  // rewards of a prompt below which those of the call count instead

	history map[K]int // index in stats
	stats   []Record[K]
	seen    map[K]bool // prompts, cleared ones too
}

// A Record is the rewards that a Tracker remembers of a prompt, oldest first.
type Record[K comparable] struct {
	Prompt  K
	Rewards []float64
}

// Advantages remembers the rewards, one a sample, stores their advantages in dst and
// returns dst, which may be rewards. prompts[i] is that of sample i; samples of a prompt may stand
// anywhere.
//
// It reports no rewards, a reward that is not finite, a spread that overflows, a NaN
// prompt and a bad setting, by sample or field; dst is then unspecified and nothing is
// remembered. It panics if lengths differ. It allocates.
func (t *Tracker[K]) Advantages(dst, rewards []float64, prompts []K) ([]float64, error) {
	if len(dst) != len(rewards) || len(prompts) != len(rewards) {
		panic(panicLength)
	}
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
			dst[i] = t.Norm.advantage(rewards[i], m)
		}
	}
	for _, r := range updated {
		t.remember(r)
	}
	return dst, nil
}

// scale returns mean and std for a prompt with these rewards, past and present.
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
		return fmt.Errorf("Tracker.Norm: PerBatch has no history: %w", ErrSetting)
	case t.Limit < 0:
		return fmt.Errorf("Tracker.Limit %d: %w", t.Limit, ErrSetting)
	case t.MinCount < 0:
		return fmt.Errorf("Tracker.MinCount %d: %w", t.MinCount, ErrSetting)
	}
	return t.Norm.validate()
}

// Clear forgets all rewards, as flow_grpo does after every epoch, but not which
// prompts there were.
func (t *Tracker[K]) Clear() { t.history, t.stats = nil, nil }

// Prompts returns the mean number of rewards remembered of a prompt, 0 if there are
// none, and the number of prompts ever seen: what flow_grpo logs as group_size and
// trained_prompt_num (get_stats).
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

// Records returns a copy of what t remembers, prompts in the order of their first
// appearance: the state to store with a checkpoint.
func (t *Tracker[K]) Records() []Record[K] {
	all := make([]Record[K], len(t.stats))
	for i, r := range t.stats {
		all[i] = Record[K]{r.Prompt, slices.Clone(r.Rewards)}
	}
	return all
}

// Restore forgets everything and remembers a copy of records instead. The tracker goes
// on as the one they came from, whose cleared prompts count as never seen. It reports
// a reward that is not finite and a prompt that is NaN or there twice; t is then
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
