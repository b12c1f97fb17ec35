package grpo

import "fmt"

// An EMA is the schedule of an exponential moving average of parameters. After
// optimiser step number step, from 0,
//
//	mean = mean + w·(params - mean)   w = 1 - min(Decay, (1 + step)/(10 + step))
//
// at steps Every-1, 2·Every-1 and so on. At other steps mean does not change. This is EMAModuleWrapper of
// flow_grpo (flow_grpo/ema.py). The first factors, .1, .18, .25 …, forget the
// initial mean. flow_grpo evaluates the mean in place of the trained parameters,
// with Decay 0.9 and Every 8. DiffusionNFT has a reference policy that follows the
// trained one slowly.
//
// The zero EMA does not average: Weight is 1, and mean equals the parameters. So does
// EMA{Every: 1}, which also copies at every step in settings whose zero EMA means
// something else. An EMA has no counter, so a resumed run need not restore one; the caller passes the step.
type EMA struct {
	Decay float64 // the greatest factor of the old mean, in [0, 1)
	Every int     // optimiser steps between updates; 0 means 1
}

// FlowGRPOEMA is the EMA of flow_grpo's scripts.
var FlowGRPOEMA = EMA{Decay: 0.9, Every: 8}

// Weight returns w of an optimiser step. It is 0 where the mean stays. A Decay
// outside [0, 1), a negative Every and a negative step are errors.
func (e EMA) Weight(step int) (float64, error) {
	switch {
	case !(e.Decay >= 0 && e.Decay < 1):
		return 0, fmt.Errorf("grpo: EMA.Decay %v is not in [0, 1): %w", e.Decay, ErrSetting)
	case e.Every < 0:
		return 0, fmt.Errorf("grpo: EMA.Every %d is negative: %w", e.Every, ErrSetting)
	case step < 0:
		return 0, fmt.Errorf("grpo: EMA at step %d, which is negative: %w", step, ErrSetting)
	}
	if e.Every > 1 && (step+1)%e.Every != 0 {
		return 0, nil
	}
	n := float64(step)
	return 1 - min(e.Decay, (1+n)/(10+n)), nil
}

// Average moves mean towards params by the weight of an optimiser step. With w = 1
// mean equals params bit for bit. Errors are those of Weight, and mean is then
// unchanged. Average panics if lengths differ. It does not allocate. It computes in
// the type T. It does not look for parameters that are not finite. Such a parameter
// makes its mean not finite until a step with w = 1, so check parameters where they
// are updated.
func Average[T float32 | float64](mean, params []T, e EMA, step int) error {
	checkLength("mean", len(mean), "params", len(params))
	weight, err := e.Weight(step)
	if err != nil || weight == 0 {
		return err
	}
	if weight == 1 {
		copy(mean, params)
		return nil
	}
	w := T(weight)
	for i, x := range params {
		mean[i] += T(w * (x - mean[i]))
	}
	return nil
}
