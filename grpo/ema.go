package grpo

import "fmt"

// An EMA is the schedule of an exponential moving average of parameters. After
// optimiser step number step, from 0,
//
//	mean = mean + w·(params - mean)   w = 1 - min(Decay, (1 + step)/(10 + step))
//
// at every Every-th step, and not at the others: EMAModuleWrapper of flow_grpo
// (flow_grpo/ema.py). The first factors, .1, .18, .25 …, forget the initial mean.
// It serves parameters that are evaluated in place of the trained ones, flow_grpo's
// use (Decay 0.9, Every 8 there), and a reference policy that follows the trained
// one slowly, as that of DiffusionNFT.
//
// The zero EMA is no average: Weight is 1 and the mean is the parameters. One
// deviation: flow_grpo's optimiser steps are counted by its caller, here they are the
// argument, so that a resumed run needs no counter of its own.
type EMA struct {
	Decay float64 // the greatest, in [0, 1)
	Every int     // optimiser steps between updates; 0: 1
}

// FlowGRPOEMA is that of flow_grpo's scripts.
var FlowGRPOEMA = EMA{Decay: 0.9, Every: 8}

// Weight returns w of an optimiser step, 0 where the mean stays. It reports a Decay
// outside [0, 1) and a negative Every or step.
func (e EMA) Weight(step int) (float64, error) {
	switch {
	case !(e.Decay >= 0 && e.Decay < 1):
		return 0, fmt.Errorf("grpo: EMA.Decay %v is not in [0, 1): %w", e.Decay, ErrSetting)
	case e.Every < 0:
		return 0, fmt.Errorf("grpo: EMA.Every %d: %w", e.Every, ErrSetting)
	case step < 0:
		return 0, fmt.Errorf("grpo: EMA at step %d: %w", step, ErrSetting)
	}
	if e.Every > 1 && (step+1)%e.Every != 0 {
		return 0, nil
	}
	n := float64(step)
	return 1 - min(e.Decay, (1+n)/(10+n)), nil
}

// Average moves mean towards params by the weight of an optimiser step. A mean that
// takes w = 1 is params to the bit. Errors are those of Weight, and mean is then
// unchanged; it panics if lengths differ. It does not allocate. Sums are in the type
// of the parameters, of which one that is not finite makes its mean so, for good
// unless w is 1: the place to look for it is where the parameters are made.
func Average[T float32 | float64](mean, params []T, e EMA, step int) error {
	if len(mean) != len(params) {
		panic(panicLength)
	}
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
