package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"

	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"
	"cps/noise"
)

// A checksum does not catch a worker that lies, nor a processor that computes wrongly. Two
// things do: before it works, a worker draws a known rollout, whose digest must be the
// learner's; and the learner draws some parts again.

// probeSamples is the size of the known rollout. Vector code works on four rows at a time, so
// that an odd number tries what is left over, too.
const probeSamples = 13

// probe is the known rollout: a part whose noise the learner picks anew at every start, so
// that no answer can be known beforehand. It is drawn with the committed network.
func probe(key noise.Key) finetune.Part {
	p := finetune.Part{Key: key}
	for i := range probeSamples {
		p.Samples = append(p.Samples, uint64(i))
		p.Classes = append(p.Classes, i%digits.Classes)
	}
	return p
}

// probeNet is the network of the known rollout. A test gives a worker another.
var probeNet = digits.Velocity

// proof returns the digest of the known rollout of a session: of all bits that an answer has.
func proof(ctx context.Context, c finetune.Config, key noise.Key) (string, error) {
	net, err := probeNet()
	if err != nil {
		return "", err
	}
	o, err := c.Draw(ctx, net, probe(key))
	if err != nil {
		return "", fmt.Errorf("the known rollout: %w", err)
	}
	sum := sha256.Sum256(appendOutcome(nil, o))
	return hex.EncodeToString(sum[:]), nil
}

// A checker says which answers the learner computes again: the first of every worker, and a
// random fraction of the others, which no worker can foresee.
type checker struct {
	fraction float64
	random   *mathrand.Rand
}

func newChecker(fraction float64) *checker {
	var seed [32]byte
	rand.Read(seed[:]) // which never fails
	return &checker{fraction, mathrand.New(mathrand.NewChaCha8(seed))}
}

// wants reports whether to check an answer of a worker of which some are already taken.
func (c *checker) wants(taken int) bool { return taken == 0 || c.random.Float64() < c.fraction }

// recheck draws a part again and compares. lie tells what is wrong with the answer, if
// anything is. An error is the learner's own: the part cannot be drawn at all.
func recheck(ctx context.Context, c finetune.Config, net *digits.Net, p finetune.Part, a *answer) (lie string, err error) {
	want, err := c.Draw(ctx, net, p)
	switch {
	case err != nil:
		return "", err
	case a.outcome == nil:
		return fmt.Sprintf("it says that samples %d to %d cannot be drawn (%q), and they can", p.Samples[0], p.Samples[len(p.Samples)-1], a.failure), nil
	case !equalOutcomes(a.outcome, want):
		return fmt.Sprintf("its answer for samples %d to %d of iteration %d is not what they are", p.Samples[0], p.Samples[len(p.Samples)-1], p.Iteration), nil
	}
	return "", nil
}

// newKey returns n random bytes.
func newKey(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// randomNoise returns a random key of noise.
func randomNoise() noise.Key { return noise.Key(binary.LittleEndian.Uint64(newKey(8))) }
