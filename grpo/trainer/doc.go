// Package trainer is the half of a reinforcement-learning trainer that no framework has:
// from a prompt to the gradient by the model's output. A framework brings a [Policy],
// which evaluates a velocity network, takes ∂loss/∂v back through it and makes steps of an
// optimiser. All else is here: rollouts, advantages, log p of the policy that drew the
// samples, minibatches, the loss and its gradient, divergence from a reference policy,
// early stop, accumulation, averages, several ranks, and the state of a checkpoint.
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
// and instead of Train, for every minibatch of [Run.Minibatches]:
//
//	err = r.Fill(ctx, b, items)               // gathers rows, on the device
//	err = policy.Velocity(ctx, b.Call)
//	stats, err := r.Loss(ctx, b)              // leaves ∂loss/∂v in b.DV
//	err = policy.Backward(ctx, b.Call, b.DV)
//	err = policy.Update(ctx)
//
// # On policy
//
// In the minibatches of an iteration before its first update, the policy is the one that
// drew the samples, and every ratio must be exactly 1: the sums of squares are compared to
// the bit. [Trainer.CheckOnPolicy] does it at start-up in the minibatches that training
// uses, and says whether a model draws random numbers or depends on its batch. It cannot
// see a wrong sign, scale or time of the output, for the rollout made the same mistake:
// [sampler.CheckModel] compares Prediction and Clock of Config.Sampling with real data. Nor
// can it see a wrong gradient: [Trainer.CheckBackward] compares that with differences. A
// policy that ignores its time or its condition passes them all: [Trainer.Inputs] reports it.
//
// # Memory
//
// Everything is generic over the buffers of a [sampler.Memory]. Rows are gathered there, so
// that latents stay on a GPU; what comes to the host is one number a row. Buffers are made
// once and kept until [Trainer.Close]: filling a minibatch and its loss do not allocate
// once warm.
//
// # Bits
//
// A run is a function of its configuration, the policy and the rewards: the same bits
// whether it was stopped and restored or not, and whatever the number of workers. Samples
// have the numbers 0 to n-1 in every iteration, over all ranks, under a key derived for the
// iteration, so that no two iterations share noise.
package trainer
