package golden

import (
	"testing"

	"cps/grpo"
)

// The objective of the published trainers. What they make of the model's output to
// get log p, the means and the gradients by them is tested with package logprob.
func TestGRPOLoss(t *testing.T) {
	const file = "grpo_loss.json"
	var f struct {
		Cases []struct {
			ID, Sampler, Precision string
			Beta                   float64
			Clip                   float64 `json:"clip_range"`
			AdvClip                float64 `json:"adv_clip_max"`
			LogProb                arr     `json:"log_prob"`
			Old                    arr     `json:"log_prob_old"`
			Advantages             arr
			Std                    arr
			MeanSqDiff             arr `json:"mean_sq_diff"`
			Ratio                  arr
			PolicyLoss             arr `json:"policy_loss"`
			KLLoss                 arr `json:"kl_loss"`
			Loss                   arr
			ApproxKL               arr `json:"approx_kl"`
			ClipFrac               arr
			ClipFracAbove          arr `json:"clipfrac_gt_one"`
			ClipFracBelow          arr `json:"clipfrac_lt_one"`
			GradLogProb            arr `json:"grad_log_prob"`
		}
	}
	load(t, file, &f)
	list := newChecklist(t, file)
	for _, c := range f.Cases {
		list.tick(t, c.ID)
		t.Run(c.ID, func(t *testing.T) {
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
			grad := make([]float64, n)
			o := grpo.Objective{ClipLow: c.Clip, ClipHigh: c.Clip}
			s, err := o.Loss(grad, c.LogProb, c.Old, adv)
			if err != nil {
				t.Fatal(err)
			}
			relative(t, "policy loss", s.Policy, c.PolicyLoss, tol)
			relative(t, "approximate KL", s.ApproxKL, c.ApproxKL, tol)
			near(t, "clip fractions", []float64{s.ClipFraction, s.ClipAbove, s.ClipBelow},
				[]float64{c.ClipFrac[0], c.ClipFracAbove[0], c.ClipFracBelow[0]}, 1e-15)
			for i, want := range c.GradLogProb {
				if want == 0 {
					near(t, "gradient where clipped", grad[i:i+1], []float64{0}, 0)
				} else {
					relative(t, "gradient", grad[i], c.GradLogProb[i:i+1], tol)
				}
			}

			// A single sample of advantage -1 has its ratio for a loss.
			for i := range c.Ratio {
				one, err := grpo.Objective{}.Loss(nil, c.LogProb[i:i+1], c.Old[i:i+1], []float64{-1})
				if err != nil {
					t.Fatal(err)
				}
				relative(t, "ratio", one.Loss, c.Ratio[i:i+1], tol)
				relative(t, "mean ratio", one.MeanRatio, c.Ratio[i:i+1], tol)
			}

			if c.Beta == 0 {
				relative(t, "loss", s.Loss, c.Loss, tol)
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
			relative(t, "loss", s.Loss, c.Loss, tol)
			relative(t, "weight of the divergences", weight, []float64{c.Beta / float64(n)}, 1e-15)
		})
	}
}

// relative reports a relative error above tol.
func relative(t *testing.T, what string, got float64, want []float64, tol float64) {
	t.Helper()
	if len(want) != 1 || want[0] == 0 {
		t.Fatalf("%s: no relative error to %v", what, want)
	}
	near(t, what+" over wanted", []float64{got / want[0]}, []float64{1}, tol)
}
