package grpo

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestEarlyStop(t *testing.T) {
	for _, c := range []struct {
		e    EarlyStop
		kl   float64
		want bool
	}{
		{EarlyStop{}, inf, false},
		{EarlyStop{Target: 1}, 1.5, false}, // not beyond
		{EarlyStop{Target: 1}, 1.6, true},
		{EarlyStop{Target: 1, Factor: 2}, 1.6, false},
		{EarlyStop{Target: 1, Factor: 2}, 2.1, true},
		{EarlyStop{Target: inf}, 1e300, false},
		{EarlyStop{Target: 1e-6}, 0, false}, // on policy
	} {
		if got := must(c.e.Reached(Stats{ApproxKL: c.kl}))(t); got != c.want {
			t.Errorf("%+v at %v: %v", c.e, c.kl, got)
		}
	}
}

// On policy an iteration never stops before its first update, and policies that are
// further away stop once nearer ones do.
func TestEarlyStopMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := EarlyStop{Target: rapid.Float64Range(0, 0.1).Draw(t, "Target")}
		stopped := false
		logp, old, adv := []float64{0, 0}, []float64{0, 0}, []float64{1, -1}
		for k := range 6 {
			logp[0] = float64(k) * 0.2
			s := must(Objective{}.Loss(nil, logp, old, adv))(t)
			now := must(e.Reached(s))(t)
			if k == 0 && now || stopped && !now {
				t.Fatalf("at log-ratio %v: %v after %v", logp[0], now, stopped)
			}
			stopped = now
		}
		if stopped != (e.Target > 0) { // 1.5·0.1 is less than ½·1²/2
			t.Fatalf("Target %v: stopped %v", e.Target, stopped)
		}
	})
}

func TestEarlyStopErrors(t *testing.T) {
	_, err := EarlyStop{Target: -1}.Reached(Stats{})
	wantError(t, err, ErrSetting, "grpo: EarlyStop.Target -1 is not at least 0: setting out of range")
	_, err = EarlyStop{Target: nan}.Reached(Stats{})
	wantError(t, err, ErrSetting, "grpo: EarlyStop.Target NaN is not at least 0: setting out of range")
	_, err = EarlyStop{Factor: -1}.Reached(Stats{})
	wantError(t, err, ErrSetting, "grpo: EarlyStop.Factor -1 is not at least 0: setting out of range")
	_, err = EarlyStop{}.Reached(Stats{ApproxKL: nan})
	wantError(t, err, ErrNotFinite, "grpo: EarlyStop: ApproxKL is NaN: not a finite number")
}

func ExampleEarlyStop() {
	stop := EarlyStop{Target: 0.01}
	old, adv := []float64{-1, -2}, []float64{1, -1}
	for epoch := range 5 {
		moved := 0.1 * float64(epoch)
		s, err := Objective{ClipLow: 0.2, ClipHigh: 0.2}.Loss(nil, []float64{-1 + moved, -2 - moved}, old, adv)
		if err != nil {
			fmt.Println(err)
			return
		}
		if reached, _ := stop.Reached(s); reached {
			fmt.Printf("epoch %d: approximate KL %.3f, enough\n", epoch, s.ApproxKL)
			break
		}
	}
	// Output:
	// epoch 2: approximate KL 0.020, enough
}
