// Package finetune fine-tunes the velocity network of package digits by GRPO, the
// paper's experiment (arXiv 2509.05952, Section 5) in small. Package cps/grpo/trainer is
// the loop; here are the network as its Policy, rewards, evaluation and checkpoints.
//
//	reward, err := finetune.NewReward("taste")
//	t, err := finetune.New(finetune.Config{Rule: sampler.FlowCPS{Eta: 0.9}, Reward: reward})
//	err = t.CheckOnPolicy(ctx)
//	err = t.Run(ctx, 60, func(finetune.Iteration) error { return t.Save(file) })
//	e, err := t.Evaluate(ctx) // by the ODE
//
// # An iteration
//
// Every prompt, a digit, gets a group of samples, drawn with the rule. Their rewards
// become advantages. The transitions of the trained steps are replayed in minibatches,
// for one inner epoch or several: the ratio of probabilities, its clipped loss and
// divergence from the reference policy give ∂loss/∂v, the network ∂loss/∂weights, and
// Adam moves the weights. The first minibatch of an iteration is on policy, and its
// ratios are checked to be exactly 1.
//
// The samples may be drawn and scored elsewhere, part by part: [Trainer.Remote] asks for
// them, and [Config.Draw] draws them.
//
// # Bits
//
// A run is a function of its Config: the same bits for any number of processors of one
// architecture, and the same whether it was stopped and resumed or not. What time it
// takes is the only thing that differs, so [Timing] is not part of a checkpoint.
package finetune
