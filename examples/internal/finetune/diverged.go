package finetune

import (
	"errors"

	"cps/grpo"
	"cps/logprob"
	"cps/sampler"
)

// Diverged reports whether an error says that numbers outgrew their type. The policy
// has then diverged, and a smaller learning rate may help.
func Diverged(err error) bool {
	var sum *sampler.NonFiniteError
	return errors.As(err, &sum) || errors.Is(err, logprob.ErrNotFinite) || errors.Is(err, grpo.ErrNotFinite) || errors.Is(err, grpo.ErrOverflow)
}
