package trainer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"cps/grpo"
)

var (
	// ErrState reports what is no state of a trainer, or a damaged one.
	ErrState = errors.New("not the state of a trainer, or a damaged one")
	// ErrOtherRun reports the state of a run with other settings.
	ErrOtherRun = errors.New("the state is of another run")
)

// A State is all that a trainer must keep which is not the policy's. Keys of noise are
// functions of Config.Key and the iteration, so that there are none to store.
type State struct {
	Config    string // Config.String
	Iteration int
	Updates   int
	Prompts   []grpo.Record[int] `json:",omitempty"` // of the Tracker
}

// State returns the state between two iterations.
func (t *Trainer[B]) State() State {
	s := State{Config: t.config.String(), Iteration: t.iteration, Updates: t.updates}
	if t.config.Tracker != nil {
		s.Prompts = t.config.Tracker.Records()
	}
	return s
}

// Restore makes t go on from a state, with the bits of a run that was never interrupted if
// the policy is restored, too. The configuration must be that of the state; an error names
// the first setting that is not (ErrOtherRun), and t is then unchanged.
func (t *Trainer[B]) Restore(s State) error {
	if err := differ(s.Config, t.config.String()); err != nil {
		return err
	}
	if s.Iteration < 0 || s.Updates < 0 || len(s.Prompts) > 0 && t.config.Tracker == nil {
		return fmt.Errorf("trainer: %w", ErrState)
	}
	if t.config.Tracker != nil {
		if err := t.config.Tracker.Restore(s.Prompts); err != nil {
			return fmt.Errorf("trainer: %w: %w", ErrState, err)
		}
	}
	t.iteration, t.updates, t.failed = s.Iteration, s.Updates, nil
	return nil
}

// Save writes the state, a line of JSON, and after it the policy, which must be a [Saver].
func (t *Trainer[B]) Save(w io.Writer) error {
	p, ok := t.raw.(Saver)
	if !ok {
		return bad("%T is no Saver: store State beside what the framework saves", t.raw)
	}
	if t.failed != nil {
		return fmt.Errorf("trainer: iteration %d failed in the middle, and the policy is nothing to save: %w", t.iteration, t.failed)
	}
	if err := json.NewEncoder(w).Encode(t.State()); err != nil {
		return fmt.Errorf("trainer: %w", err)
	}
	if err := p.Save(w); err != nil {
		return fmt.Errorf("trainer: policy: %w", err)
	}
	return nil
}

// Load restores what Save wrote. If the policy's Load fails, t must not be used until
// another Load succeeds. The policy reads to the end of r, unless it knows where to stop.
func (t *Trainer[B]) Load(r io.Reader) error {
	p, ok := t.raw.(Saver)
	if !ok {
		return bad("%T is no Saver: pass a State to Restore, beside what the framework loads", t.raw)
	}
	in := bufio.NewReader(r)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("trainer: %w: %w", ErrState, err)
	}
	var s State
	if err := json.Unmarshal(line, &s); err != nil {
		return fmt.Errorf("trainer: %w: %w", ErrState, err)
	}
	if err := t.Restore(s); err != nil {
		return err
	}
	if err := p.Load(in); err != nil {
		t.failed = fmt.Errorf("policy: %w", err)
		return fmt.Errorf("trainer: %w", t.failed)
	}
	return nil
}

// differ returns an error with the first line in which two configurations differ.
func differ(stored, asked string) error {
	s, a := strings.Split(stored, "\n"), strings.Split(asked, "\n")
	for i := range min(len(s), len(a)) {
		if s[i] != a[i] {
			return fmt.Errorf("trainer: %w: it has %q, asked for is %q", ErrOtherRun, s[i], a[i])
		}
	}
	if len(s) != len(a) {
		return fmt.Errorf("trainer: %w", ErrOtherRun)
	}
	return nil
}
