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
	// ErrState reports data that is not the state of a trainer, or is damaged.
	ErrState = errors.New("not the state of a trainer, or a damaged one")
	// ErrOtherRun reports the state of a run with other settings.
	ErrOtherRun = errors.New("the state is of another run")
)

// A State is all that a trainer must store besides the policy. It stores no keys of noise,
// since they are functions of Config.Key and the iteration.
type State struct {
	Config    string             // of Config.String
	Iteration int                // iterations done
	Updates   int                // steps of the optimiser done
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

// Restore makes t go on from a state. If the policy is restored too, the run has the bits
// of a run that was never interrupted. The configuration must be that of the state.
// Otherwise the error names the first setting that differs (ErrOtherRun), and t is
// unchanged. A state that is damaged is ErrState.
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

// Save writes the state as a line of JSON, and then the policy, which must be a [Saver].
// Call it between iterations.
func (t *Trainer[B]) Save(w io.Writer) error {
	p, ok := t.raw.(Saver)
	if !ok {
		return bad("%T is no Saver: implement it, or store State beside the framework's own file", t.raw)
	}
	if t.failed != nil {
		return fmt.Errorf("trainer: iteration %d failed in the middle, so the policy must not be saved: %w", t.iteration, t.failed)
	}
	if err := json.NewEncoder(w).Encode(t.State()); err != nil {
		return fmt.Errorf("trainer: %w", err)
	}
	if err := p.Save(w); err != nil {
		return fmt.Errorf("trainer: policy: %w", err)
	}
	return nil
}

// Load restores what Save wrote. If the Load of the policy fails, t must not be used until
// another Load succeeds. Load may read beyond the policy, up to the end of r.
func (t *Trainer[B]) Load(r io.Reader) error {
	p, ok := t.raw.(Saver)
	if !ok {
		return bad("%T is no Saver: implement it, or pass a State to Restore and load the framework's own file", t.raw)
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
			return fmt.Errorf("trainer: %w: it has %q, and this trainer has %q", ErrOtherRun, s[i], a[i])
		}
	}
	if len(s) != len(a) {
		return fmt.Errorf("trainer: %w", ErrOtherRun)
	}
	return nil
}
