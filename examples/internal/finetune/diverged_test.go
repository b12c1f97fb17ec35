package finetune

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"cps/grpo"
	"cps/logprob"
	"cps/sampler"
)

// Only errors about numbers that outgrew their type count as divergence.
func TestDiverged(t *testing.T) {
	for _, err := range []error{&sampler.NonFiniteError{}, logprob.ErrNotFinite, grpo.ErrNotFinite, grpo.ErrOverflow} {
		if !Diverged(fmt.Errorf("x: %w", err)) {
			t.Errorf("%v is of numbers", err)
		}
	}
	for _, err := range []error{errors.New("x"), context.DeadlineExceeded, sampler.ErrConfig, grpo.ErrSetting, sampler.ErrOffPolicy} {
		if Diverged(err) {
			t.Errorf("%v is not of numbers", err)
		}
	}
}
