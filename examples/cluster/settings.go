package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"cps/examples/internal/finetune"
	"cps/grpo"
	"cps/sampler"
)

// settings say what is trained. The learner sends them to its workers.
type settings struct {
	Seed    uint64
	Reward  string
	Eta     float64 // exploration of FlowCPS
	Steps   int     // of sampling
	Prompts int     // groups of an iteration
	Group   int     // samples of a group
	Rate    float64 // of Adam
	Shared  bool    // samples of a group share their initial latent
	Sliding int     // trained steps of a window that slides by one an iteration; 0: all steps
}

// defaultSettings are those of the paper's experiment in small.
func defaultSettings() settings {
	return settings{Seed: 1, Reward: "glyph", Eta: 0.9, Steps: 10, Prompts: 10, Group: 12, Rate: 5e-4}
}

// config returns the configuration of a run, checked.
func (s settings) config() (finetune.Config, error) {
	reward, err := finetune.NewReward(s.Reward)
	if err != nil {
		return finetune.Config{}, err
	}
	const clip = 5e-4
	c := finetune.Config{
		Seed: s.Seed, Rule: sampler.FlowCPS{Eta: s.Eta}, Steps: s.Steps, SharedStart: s.Shared,
		Reward: reward, Prompts: s.Prompts, Group: s.Group, Rate: s.Rate,
		Objective: grpo.Objective{ClipLow: clip, ClipHigh: clip},
		Every:     -1,
	}
	if s.Sliding != 0 {
		c.Window = grpo.Sliding{Size: s.Sliding, Stride: 1, Interval: grpo.Every(1)}
	}
	t, err := finetune.New(c)
	if err != nil {
		return finetune.Config{}, err
	}
	return t.Config(), nil
}

// digest names a configuration. Networks and code that results depend on are part of it.
func digest(c finetune.Config) string { return hexSum([]byte(c.String())) }

// hexSum returns the SHA-256 of b in hexadecimal.
func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// unmarshal reads one JSON value of at most limit bytes into v. Unknown fields and anything
// after the value are errors.
func unmarshal(b []byte, limit int, v any) error {
	if len(b) > limit {
		return fmt.Errorf("a message of %d bytes, more than %d", len(b), limit)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows the message")
	}
	return nil
}

// marshal is json.Marshal of a value that has a JSON form.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("cluster: " + err.Error())
	}
	return b
}
