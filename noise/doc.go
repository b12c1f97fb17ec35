// Package noise provides reproducible Gaussian noise that need not be stored.
//
// A draw is a pure function of a [Key], an [ID] and a position: element e of the
// noise of sample n at step k is the same number on every machine, for every way
// of cutting a row into slices, every number of workers, every make-up of a batch
// and every order of calls. There is no generator to carry along, nothing to
// record for a replay and nothing to lock: noise is named, not consumed.
//
// # Names
//
// One Key is one experiment, as a seed is. From it derive a key for everything
// that repeats, so that the same samples never meet the same noise twice:
//
//	key := noise.Key(42).Derive(iteration)
//
// An ID then says whose noise it is. Sample is any number that identifies the
// sample within the key, such as its index among all samples of the iteration,
// over all workers. Step 0 is the initial latent and step i of a rollout draws
// with Step i+1, as package sampler does. A group that shares its initial latent
// names one Sample at Step 0.
//
// # Contract
//
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random
// numbers: as easy as 1, 2, 3, SC 2011). Its blocks are four words of 32 bits,
// computed from
//
//	counter = { e/4, ID.Step, lo(ID.Sample), hi(ID.Sample) },  key = { lo(Key), hi(Key) }
//
// Word e of a stream is word e%4 of its block, and a stream has 2³⁴ words. The
// words are cuRAND's of seed Key, subsequence ID.Sample and offset ID.Step·2³⁴ + e
// for Step < 2³⁰, beyond which cuRAND's 64-bit offset does not reach.
//
// Two consecutive words x, y give two normals by the transform of Box and Muller,
// the sine first:
//
//	u = float32(float32(x) + ½)·2⁻³²
//	√(-2·log u)·sin(2π·y·2⁻³²),  √(-2·log u)·cos(2π·y·2⁻³²)
//
// float32 rounds to nearest, ties to even, and it does so twice: the word, and the sum. To
// round x + ½ once gives another u for some words above 2²⁴. u is cuRAND's, which rounds
// so; it is never 0, so the largest draw is 6.7637, and it is 1
// for the 128 largest words, whose normals are 0. No word gives a NaN or an
// infinity.
//
// The float32 draws are evaluated in multiplications, additions and square roots
// that are each rounded to nearest, so they are the same bits on every
// architecture; the polynomials are in package cps/internal/kernel. Their error is below 1.6e-6, and they agree with cuRAND's, whose sine
// is a hardware approximation, to about 1e-6 of the radius. The float64 draws
// are the same uniforms evaluated in float64, portable to the bit as well. They
// have not more randomness: u keeps its 24 bits.
//
// Words and normals are frozen by known answers and do not change from version to
// version.
package noise
