// Package noise provides reproducible Gaussian noise that need not be stored.
//
// A draw is a pure function of a [Key], an [ID] and a position. Element e of the noise
// of sample n at step k is the same number on every machine. The number of workers, the
// order of calls, the rows of a batch and cuts of a row do not matter. Noise is named,
// not consumed: there is no generator to carry along, nothing to record for a replay and
// nothing to lock.
//
// # Names
//
// One Key is one experiment, like a seed. Derive a key from it for everything that
// repeats, such as an iteration. The same samples then never meet the same noise twice:
//
//	key := noise.Key(42).Derive(iteration)
//
// An ID says whose noise it is. Sample is any number that identifies the sample under
// the key, such as its index among the samples of all workers in the iteration. Package
// sampler draws the initial latent with Step 0, and the noise of step i of a rollout
// with Step i+1. A group that shares its initial latent uses one Sample at Step 0.
//
// # Contract
//
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random
// numbers: as easy as 1, 2, 3, SC 2011). Its blocks are four words of 32 bits,
// computed from
//
//	counter = { e/4, ID.Step, lo(ID.Sample), hi(ID.Sample) },  key = { lo(Key), hi(Key) }
//
// Word e of a stream is word e%4 of its block. A stream has 2³⁴ words. For Step below
// 2³⁰ they are cuRAND's words of seed Key, subsequence ID.Sample and offset ID.Step·2³⁴
// + e. cuRAND's 64-bit offset does not reach further.
//
// Two consecutive words x, y give two normals by the Box-Muller transform, the sine
// first:
//
//	u = float32(float32(x) + ½)·2⁻³²
//	√(-2·log u)·sin(2π·y·2⁻³²),  √(-2·log u)·cos(2π·y·2⁻³²)
//
// float32 rounds to nearest, ties to even, and here it rounds twice: first the word,
// then the sum. One rounding of x + ½ would give another u for some words above 2²⁴.
// cuRAND rounds twice too, so u is cuRAND's. u is never 0, so the largest draw is
// 6.7637. u is 1 for the 128 largest words, whose normals are 0. No word gives a NaN or
// an infinity.
//
// The float32 draws take only multiplications, additions and square roots, each rounded
// to nearest. They are therefore the same bits on every architecture. Package
// cps/internal/kernel has the polynomials. Their error is below 1.6e-6. They agree with
// cuRAND's, whose sine is a hardware approximation, to about 1e-6 of the radius. The
// float64 draws evaluate the same uniforms in float64, and are the same bits on every
// architecture too. They have no more randomness: u keeps its 24 bits.
//
// Words and normals do not change from version to version. Tests hold them to known
// answers.
package noise
