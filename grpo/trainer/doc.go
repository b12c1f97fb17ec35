// Package trainer trains a flow model by GRPO. It draws samples, scores them, and computes
// ∂loss/∂v, the derivative of the loss by the model's output v. Your framework supplies a
// [Policy]: the network, its backward pass and its optimiser. The method is that of arXiv
// 2509.05952 ("the paper" in this package) and of the papers that it compares with.
//
// The package also has minibatches, accumulation, a divergence from a reference policy,
// early stop, averages, several ranks and checkpoints.
//
//	t, err := trainer.New(sampler.CPU{}, policy, trainer.Config[[]float32]{
//		Sampling: sampler.Config{Scheduler: schedule.Linear(10), Rule: sampler.FlowCPS{Eta: 0.9}},
//		Dim:      64, Prompts: 10, Group: 12,
//		Reward:   reward,
//	})
//	err = t.CheckOnPolicy(ctx)
//	err = t.CheckBackward(ctx)
//	err = t.Run(ctx, 100, func(it trainer.Iteration) error { … log it, t.Save(file) … })
//
// # The loop is the sum of its parts
//
// [Trainer.Step] is one iteration. A trainer with a loop of its own calls the parts:
//
//	r, err := t.Draw(ctx)              // samples of the iteration, a Run
//	err = t.Judge(ctx, r, &it)         // rewards and advantages
//	err = t.Prepare(ctx, r)            // old log p, velocities of the reference policy
//	err = t.Train(ctx, r, &it)         // a Run is the Task
//	t.Done()                           // without it, the same iteration is drawn again
//
// Instead of Train, a loop may take every minibatch of [Run.Minibatches] through:
//
//	b := t.NewMinibatch()                     // once
//	b.Fresh = updates == 0                    // before the first Update of the iteration, ratios must be 1
//	err = r.Fill(ctx, b, items)               // gathers rows, on the device
//	err = policy.Velocity(ctx, b.Call)
//	stats, err := r.Loss(ctx, b)              // leaves ∂loss/∂v in b.DV
//	err = policy.Backward(ctx, b.Call, b.DV)
//	err = policy.Update(ctx)
//
// Fresh is false unless the loop sets it, and ratios are then not checked. Train does more
// than this loop:
//
//   - It cuts minibatches by Config.Shape, and sets Share of each part, so that gradients
//     add up to that of the whole minibatch.
//   - It calls the policy as [Shaped] and [Guided] of this package return it. With
//     Config.Shape or Config.Guidance, the loop must do so too.
//   - It asks Config.Stop before Backward, and ends the iteration.
//   - It calls SumGradients of Config.Ranks before Update, and divides Share by the ranks.
//   - It calls Average and Follow after Update.
//   - It fills in the Iteration.
//
// # On policy
//
// Before the first update of an iteration, the policy is the one that drew the samples.
// Every ratio must then be exactly 1, so the trainer compares sums of squares bit for
// bit. [Trainer.CheckOnPolicy] does this at start-up, in the minibatches of training. It
// says whether a model draws random numbers or depends on its batch. It cannot find a
// wrong sign, scale or time of the output, since the rollout made the same mistake.
// [sampler.CheckModel] finds these: it compares Prediction and Clock of Config.Sampling
// with real data. [Trainer.CheckBackward] compares the gradient of Backward with
// differences of Velocity, and finds an Update that leaves the gradient. A policy that
// ignores its time or its condition passes all of these checks; [Trainer.Inputs] reports
// it.
//
// # Steps that look back
//
// The steps of a [sampler.Solver] train like other steps. Training keeps the rollout's
// latents and computes the outputs again: those of the minibatch's transitions, and the
// earlier ones that these use. The gradient flows through all of them. A solver's step
// starts from a base, a mix of x and earlier outputs. Two policies have different bases even
// on the same latents. The divergence therefore compares the means of the whole steps. With
// Divergence.Velocity it compares the outputs at the trained steps.
//
// A transition costs its own evaluation and one for every evaluation that it looks back
// at. Consecutive steps of a sample in one minibatch share evaluations, so InOrder of
// grpo.Minibatches costs least. Then n steps of a row take n evaluations, plus those that
// the first step looks back at.
//
// # Memory
//
// Everything is generic over the buffers of a [sampler.Memory]. Rows are gathered there,
// so latents stay on a GPU, and only one number a row comes to the host. Buffers are made
// once and kept until [Trainer.Close]. After the first iteration, filling a minibatch and
// computing its loss do not allocate.
//
// # Bits
//
// A run is a function of its configuration, the policy and the rewards. It has the same
// bits with any number of workers, and also if it was stopped and restored. In every
// iteration the samples of all ranks have the numbers 0 to n-1, under a key derived for
// the iteration. No two iterations share noise.
package trainer
