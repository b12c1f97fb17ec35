package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"
	"cps/noise"
)

// A job is a message of work: a part of an iteration. It is JSON.
type job struct {
	Session string // of the learner's process, 16 bytes in hexadecimal
	Version string // of the policy: the SHA-256 of its weights in hexadecimal

	Iteration int
	Key       uint64 // of the iteration's noise
	Samples   []uint64
	Classes   []int
}

// jobID identifies what an answer is a function of.
type jobID [sha256.Size]byte

func (id jobID) String() string { return hex.EncodeToString(id[:]) }

// Limits of what a message may ask for.
const (
	maxSamples = 4096 // of a part
	maxJob     = 128 << 10
)

// newJob returns the message of a part.
func newJob(session, version string, p finetune.Part) job {
	return job{Session: session, Version: version, Iteration: p.Iteration, Key: uint64(p.Key), Samples: p.Samples, Classes: p.Classes}
}

// part returns what is to be drawn.
func (j job) part() finetune.Part {
	return finetune.Part{Iteration: j.Iteration, Key: noise.Key(j.Key), Samples: j.Samples, Classes: j.Classes}
}

// id hashes all that the answer is a function of: the job and the configuration, whose
// digest is given, but not the session. Two learners of one run ask for the same.
func (j job) id(config string) jobID {
	j.Session = config
	return sha256.Sum256(marshal(j))
}

// decodeJob reads a job from the network. What it returns can be drawn by any
// configuration whose runs have the iteration.
func decodeJob(b []byte) (job, error) {
	var j job
	if err := unmarshal(b, maxJob, &j); err != nil {
		return job{}, fmt.Errorf("job: %w", err)
	}
	if err := j.check(); err != nil {
		return job{}, fmt.Errorf("job: %w", err)
	}
	return j, nil
}

func (j job) check() error {
	switch {
	case !isHex(j.Session, sessionSize):
		return errors.New("its session is not 16 bytes in hexadecimal")
	case !isHex(j.Version, sha256.Size):
		return errors.New("its version of the policy is not 32 bytes in hexadecimal")
	case j.Iteration < 0:
		return fmt.Errorf("it is of iteration %d", j.Iteration)
	case len(j.Samples) == 0 || len(j.Samples) > maxSamples || len(j.Classes) != len(j.Samples):
		return fmt.Errorf("it has %d samples and %d classes; a part has 1 to %d of both", len(j.Samples), len(j.Classes), maxSamples)
	}
	for _, c := range j.Classes {
		if c < 0 || c >= digits.Classes {
			return fmt.Errorf("it asks for digit %d", c)
		}
	}
	return nil
}

// isHex reports whether s is n bytes in lower-case hexadecimal.
func isHex(s string, n int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == n && hex.EncodeToString(b) == s
}
