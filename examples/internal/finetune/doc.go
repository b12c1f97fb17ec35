// Package finetune fine-tunes the velocity network of package digits by GRPO. It is the
// paper's experiment (arXiv 2509.05952, Section 5) in small. Package cps/grpo/trainer is
// the loop. This package has the network as its Policy, rewards, evaluation and
// checkpoints.
//
//	reward, err := finetune.NewReward("taste")
//	t, err := finetune.New(finetune.Config{Rule: sampler.FlowCPS{Eta: 0.9}, Reward: reward})
//	err = t.CheckOnPolicy(ctx)
//	err = t.Run(ctx, 60, func(finetune.Iteration) error { return t.Save(file) })
//	e, err := t.Evaluate(ctx) // by the ODE
//
// # An iteration
//
// A prompt is a digit. Every prompt gets a group of samples, drawn with the rule. Their
// rewards become advantages. Minibatches replay the transitions of the trained steps,
// for one inner epoch or several. The clipped loss of the ratios and the divergence from
// the reference policy give ∂loss/∂v. The network turns it into ∂loss/∂weights, and Adam
// moves the weights. The first minibatch of an iteration is on policy: a check makes
// sure that its ratios are exactly 1.
//
// The samples may be drawn and scored elsewhere, part by part: [Trainer.Remote] asks for
// them, and [Config.Draw] draws them.
//
// # Bits
//
// A run is a function of its Config. On one architecture it has the same bits with any
// number of processors, and also if it was stopped and resumed. Only its time differs,
// so [Timing] is not part of a checkpoint.
package finetune
