// Package trainer is the half of a reinforcement-learning trainer that no framework has.
// It takes a prompt to the gradient by the model's output. A framework brings a [Policy],
// which evaluates a velocity network, takes ∂loss/∂v back through it and makes the
// optimiser's steps. This package brings rollouts, advantages, log p of the policy that
// drew the samples, minibatches, and the loss with its gradient. It also brings the
// divergence from a reference policy, early stop, accumulation, averages, several ranks
// and the state of a checkpoint.
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
//
// Instead of Train, a loop may take every minibatch of [Run.Minibatches] through:
//
//	err = r.Fill(ctx, b, items)               // gathers rows, on the device
//	err = policy.Velocity(ctx, b.Call)
//	stats, err := r.Loss(ctx, b)              // leaves ∂loss/∂v in b.DV
//	err = policy.Backward(ctx, b.Call, b.DV)
//	err = policy.Update(ctx)
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
// differences of Velocity. A policy that ignores its time or its condition passes all of
// these checks; [Trainer.Inputs] reports it.
//
// # Steps that look back
//
// The steps of a [sampler.Solver] train like other steps. Latents are stored, and outputs
// are not: the policy evaluates the transitions of a minibatch and their history again. The
// gradient reaches all of these outputs. Divergences compare the means of steps, since two
// policies make different bases from one history. With Divergence.Velocity they compare the
// outputs at the trained steps.
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
