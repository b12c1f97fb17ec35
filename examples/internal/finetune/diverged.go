package finetune

import (
	"errors"

	"cps/grpo"
	"cps/logprob"
	"cps/sampler"
)

// Diverged reports whether an error is that of numbers which outgrew their type: the
// policy has diverged, and a smaller learning rate may help.
func Diverged(err error) bool {
	var sum *sampler.NonFiniteError
	return errors.As(err, &sum) || errors.Is(err, logprob.ErrNotFinite) || errors.Is(err, grpo.ErrNotFinite) || errors.Is(err, grpo.ErrOverflow)
}
