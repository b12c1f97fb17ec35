package golden

import (
	"math"
	"slices"

	"cps/grpo"
)

// judgeGRPOLoss judges the objective of the published trainers. It also judges how they get log
// p, means and gradients from the model's output.
func judgeGRPOLoss(t tester, path string) {
	t.Run("objective", func(t tester) { eachCase(t, path, objectiveCase.run) })
	t.Run("policy", func(t tester) {
		w := worst{}
		defer w.log(t)
		eachCase(t, path, func(c lossCase, t tester) { c.run(t, w) })
	})
}

// An objectiveCase has the numbers that a trainer computes from log p.
type objectiveCase struct {
	Sampler, Precision string
	Beta               float64
	Clip               float64 `json:"clip_range"`
	AdvClip            float64 `json:"adv_clip_max"`
	LogProb            arr     `json:"log_prob"`
	Old                arr     `json:"log_prob_old"`
	Advantages         arr
	Std                arr
	MeanSqDiff         arr `json:"mean_sq_diff"`
	Ratio              arr
	PolicyLoss         arr `json:"policy_loss"`
	KLLoss             arr `json:"kl_loss"`
	Loss               arr
	ApproxKL           arr `json:"approx_kl"`
	ClipFrac           arr
	ClipFracAbove      arr `json:"clipfrac_gt_one"`
	ClipFracBelow      arr `json:"clipfrac_lt_one"`
	GradLogProb        arr `json:"grad_log_prob"`
}

func (c objectiveCase) run(t tester) {
	tol := 1e-12
	if c.Precision == "f32" {
		// exp, the products and the mean each round to 6e-8, and the mean
		// of A·r cancels to a third of its terms.
		tol = 5e-7
	}
	if c.Precision == "f32" {
		c.LogProb, c.Old, c.Advantages = narrow(c.LogProb), narrow(c.Old), narrow(c.Advantages)
	}
	n := len(c.LogProb)
	adv := make([]float64, n)
	if _, err := grpo.Clamp(adv, c.Advantages, c.AdvClip); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(c.LogProb, math.IsNaN) {
		t.differs(noDensity)
		if s, err := (grpo.Objective{}).Loss(nil, c.LogProb, c.Old, adv); err == nil || !silent(c.Loss) {
			t.Errorf("loss of log p %v is %v, %v upstream; want an error, NaN", c.LogProb, s.Loss, c.Loss)
		}
		return
	}
	grad := make([]float64, n)
	o := grpo.Objective{ClipLow: c.Clip, ClipHigh: c.Clip}
	s, err := o.Loss(grad, c.LogProb, c.Old, adv)
	if err != nil {
		t.Fatal(err)
	}
	// The terms of the loss may cancel.
	var terms float64
	for i, a := range adv {
		terms += math.Abs(a) * c.Ratio[i] / float64(n)
	}
	about(t, "policy loss", s.Policy, c.PolicyLoss, max(math.Abs(c.PolicyLoss[0]), terms/3), tol)
	relative(t, "approximate KL", s.ApproxKL, c.ApproxKL, tol)

	// At the edge of the clip, rounding may decide on which side a ratio is.
	edges := 0
	for i, r := range c.Ratio {
		if math.Abs(math.Abs(r-1)-c.Clip) <= 4*ulp(t, c.Precision) {
			t.differs(clipEdge)
			edges++
			c.GradLogProb[i] = grad[i]
		}
	}
	for _, f := range []struct {
		what string
		got  float64
		want arr
	}{{"clip fraction", s.ClipFraction, c.ClipFrac}, {"above", s.ClipAbove, c.ClipFracAbove}, {"below", s.ClipBelow, c.ClipFracBelow}} {
		if len(f.want) != 1 {
			t.Fatalf("%s: %d numbers, want 1", f.what, len(f.want))
		}
		// Both fractions count the same samples, except those on the edge.
		count := math.Round(f.want[0] * float64(n))
		if d := math.Abs(math.Round(f.got*float64(n)) - count); d > float64(edges) {
			t.Errorf("%s is of %v samples of %d, %v upstream", f.what, f.got*float64(n), n, count)
		}
		fraction := []float64{count / float64(n), f.got}
		recorded := []float64{f.want[0], math.Round(f.got*float64(n)) / float64(n)}
		if c.Precision == "f32" {
			fraction[0], recorded[0] = float64(float32(fraction[0])), float64(float32(recorded[0]))
		}
		near(t, f.what, fraction, recorded, 1e-15)
	}
	for i, want := range c.GradLogProb {
		if want == 0 {
			near(t, "gradient where clipped", grad[i:i+1], []float64{0}, 0)
		} else {
			relative(t, "gradient", grad[i], c.GradLogProb[i:i+1], tol)
		}
	}

	// The loss of a single sample with advantage -1 is its ratio.
	for i := range c.Ratio {
		one, err := grpo.Objective{}.Loss(nil, c.LogProb[i:i+1], c.Old[i:i+1], []float64{-1})
		if err != nil {
			t.Fatal(err)
		}
		relative(t, "ratio", one.Loss, c.Ratio[i:i+1], tol)
		relative(t, "mean ratio", one.MeanRatio, c.Ratio[i:i+1], tol)
	}

	if c.Beta == 0 {
		about(t, "loss", s.Loss, c.Loss, max(math.Abs(c.Loss[0]), terms/3), tol)
		return
	}
	// The divergence as upstream has it, without step length or, for CPS,
	// without the variance.
	kl := make([]float64, n)
	for i, d := range c.MeanSqDiff {
		kl[i] = d
		if c.Sampler == "flow_sde" {
			kl[i] /= 2 * c.Std[i] * c.Std[i]
		}
	}
	weight, err := s.Penalize(c.Beta, kl)
	if err != nil {
		t.Fatal(err)
	}
	relative(t, "KL", s.KL, c.KLLoss, tol)
	about(t, "loss", s.Loss, c.Loss, max(math.Abs(c.Loss[0]), terms/3), tol)
	relative(t, "weight of the divergences", weight, []float64{c.Beta / float64(n)}, 1e-15)
}

// relative reports a relative error above tol.
func relative(t tester, what string, got float64, want []float64, tol float64) {
	t.Helper()
	if len(want) != 1 {
		t.Fatalf("%s: %d numbers, want 1", what, len(want))
	}
	about(t, what, got, want, math.Abs(want[0]), tol)
}

// about reports an error above tol in units of scale, and any error if scale is 0.
func about(t tester, what string, got float64, want []float64, scale, tol float64) {
	t.Helper()
	if len(want) != 1 {
		t.Fatalf("%s: %d numbers, want 1", what, len(want))
	}
	t.judged(1)
	if d := math.Abs(got - want[0]); !(d <= tol*scale) {
		t.Errorf("%s = %v, want %v: off by %.3g of %.3g, tolerance %g", what, got, want[0], d/scale, scale, tol)
	}
}
