package finetune

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"cps/grpo"
	"cps/grpo/trainer"
)

// A checkpoint is
//
//	magic      8 bytes
//	length     uint32, of the state
//	state      JSON
//	weights    float32: policy, Adam's m and v, average, reference
//	checksum   SHA-256 of all before
//
// little-endian, without gaps. It stores no keys of noise, since they are functions of
// Config.Seed and the iteration.
const magic = "cpstune1"

type state struct {
	Config    string // Config.String
	Iteration int
	Updates   int // steps of Adam
	Weights   int // numbers in each of the five lists
	Prompts   []grpo.Record[int]
	History   []Iteration
}

var (
	// ErrCheckpoint reports a file that is not a checkpoint, or is damaged.
	ErrCheckpoint = errors.New("not a checkpoint, or a damaged one")
	// ErrConfig reports a checkpoint of a run with other settings.
	ErrConfig = errors.New("the checkpoint is of another run")
)

// Save writes to a file all that t needs to go on. It writes all of it or nothing
// ([WriteFile]).
func (t *Trainer) Save(path string) error {
	if err := WriteFile(path, t.write); err != nil {
		return fmt.Errorf("finetune: checkpoint: %w", err)
	}
	return nil
}

func (t *Trainer) write(w io.Writer) error {
	text, err := json.Marshal(state{
		Config:    t.config.String(),
		Iteration: t.loop.Iteration(),
		Updates:   t.loop.Updates(),
		Weights:   len(t.policy.net.Params()),
		Prompts:   t.past.Records(),
		History:   t.history,
	})
	if err != nil {
		return err
	}
	b := []byte(magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = append(b, text...)
	for _, list := range t.policy.lists() {
		for _, x := range list {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	sum := sha256.Sum256(b)
	_, err = w.Write(append(b, sum[:]...))
	return err
}

// Load returns the trainer that Save stored. It goes on with the bits of a run that
// was never interrupted. c must be the configuration of that run. Otherwise the error
// names the first setting that differs (ErrConfig). A file that is no checkpoint is
// ErrCheckpoint.
func Load(c Config, path string) (*Trainer, error) {
	t, err := New(c)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = t.read(b)
	}
	if err != nil {
		return nil, fmt.Errorf("finetune: checkpoint %s: %w", path, err)
	}
	return t, nil
}

func (t *Trainer) read(b []byte) error {
	const head = len(magic) + 4
	if len(b) < head+sha256.Size || string(b[:len(magic)]) != magic {
		return ErrCheckpoint
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return ErrCheckpoint
	}
	length := uint64(binary.LittleEndian.Uint32(body[len(magic):]))
	body = body[head:]
	if length > uint64(len(body)) {
		return ErrCheckpoint
	}
	var s state
	if err := json.Unmarshal(body[:length], &s); err != nil {
		return fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if err := differ(s.Config, t.config.String()); err != nil {
		return err
	}
	body = body[length:]
	lists := t.policy.lists()
	if n := len(lists[0]); s.Weights != n || len(body) != 4*len(lists)*n || s.Iteration < 0 || s.Iteration != len(s.History) || s.Updates < 0 {
		return ErrCheckpoint
	}
	err := t.loop.Restore(trainer.State{Config: t.loop.Config().String(), Iteration: s.Iteration, Updates: s.Updates, Prompts: s.Prompts})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	for _, list := range lists {
		for i := range list {
			list[i] = math.Float32frombits(binary.LittleEndian.Uint32(body))
			body = body[4:]
		}
	}
	t.policy.adam.Restore(lists[1], lists[2], s.Updates)
	t.history = s.History
	return nil
}

// differ returns an error with the first line in which two configurations differ.
func differ(stored, asked string) error {
	s, a := strings.Split(stored, "\n"), strings.Split(asked, "\n")
	for i := range min(len(s), len(a)) {
		if s[i] != a[i] {
			return fmt.Errorf("%w: it has %q, and this run has %q", ErrConfig, s[i], a[i])
		}
	}
	if len(s) != len(a) {
		return ErrConfig
	}
	return nil
}
