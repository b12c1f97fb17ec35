package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"cps/examples/internal/finetune"
)

// An answer is what a worker sends for a job:
//
//	magic     8 bytes
//	session   16 bytes, of the learner that admitted the worker
//	member    uint32, the worker's number in that session
//	job       32 bytes, its jobID
//	kind      1 byte
//	body      an outcome, or the text of a failure
//	MAC       32 bytes: HMAC-SHA-256 of all before, by the member's key
//
// An outcome is three uint32, the lengths of its lists, then latents as float32, sums of
// squares and rewards as float64. All is little-endian, without gaps. The MAC says which
// worker made it, and that nothing changed it on the way. It does not say that it is right.
type answer struct {
	session [sessionSize]byte
	member  uint32
	job     jobID
	outcome *finetune.Outcome // nil: a failure
	failure string
}

const (
	answerMagic = "cpsansw1"
	sessionSize = 16
	keySize     = 32

	answerHead = len(answerMagic) + sessionSize + 4 + sha256.Size + 1

	kindOutcome, kindFailure = 1, 2

	maxFailure = 1024 // bytes of text
)

var (
	errDamaged = errors.New("the message is damaged, or is no answer")
	errForged  = errors.New("the message is not by the worker that it names, or was changed on the way")
)

// answerSize returns the length of the answer with an outcome of a shape.
func answerSize(s finetune.Shape) int {
	return answerHead + outcomeSize(s) + sha256.Size
}

func outcomeSize(s finetune.Shape) int { return 3*4 + 4*s.Latents + 8*s.SumSquares + 8*s.Rewards }

// seal returns the message, with its MAC.
func (a answer) seal(key []byte) []byte {
	b := append([]byte(answerMagic), a.session[:]...)
	b = binary.LittleEndian.AppendUint32(b, a.member)
	b = append(b, a.job[:]...)
	if a.outcome != nil {
		b = appendOutcome(append(b, kindOutcome), a.outcome)
	} else {
		text := a.failure[:min(len(a.failure), maxFailure)]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1] // of a rune that was cut, or of none
		}
		b = append(append(b, kindFailure), text...)
	}
	return append(b, mac(b, key)...)
}

func mac(b, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(b)
	return h.Sum(nil)
}

// appendOutcome appends the bytes of an outcome to b. Equal bits give equal bytes.
func appendOutcome(b []byte, o *finetune.Outcome) []byte {
	s := o.Shape()
	for _, n := range [...]int{s.Latents, s.SumSquares, s.Rewards} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	for _, x := range o.Latents {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	for _, list := range [...][]float64{o.SumSquares, o.Rewards} {
		for _, x := range list {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
	}
	return b
}

// decodeAnswer reads the head of an answer: who says that it answers what. Nothing of it is
// to be believed before authentic, and the body is not read.
func decodeAnswer(b []byte) (answer, error) {
	var a answer
	if len(b) < answerHead+sha256.Size || string(b[:len(answerMagic)]) != answerMagic {
		return a, errDamaged
	}
	b = b[len(answerMagic):]
	b = b[copy(a.session[:], b):]
	a.member = binary.LittleEndian.Uint32(b)
	copy(a.job[:], b[4:])
	return a, nil
}

// authentic reports whether the answer b has the MAC of a key.
func authentic(b, key []byte) bool {
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	return hmac.Equal(mac(body, key), sum)
}

// decodeBody reads the body of an answer whose outcome, if it is one, must have a shape. It
// allocates no more than that. Numbers may be anything: [finetune.Rollout.Put] refuses
// those that are not finite.
func (a *answer) decodeBody(b []byte, want finetune.Shape) error {
	kind, body := b[answerHead-1], b[answerHead:len(b)-sha256.Size]
	switch kind {
	case kindFailure:
		if len(body) > maxFailure || !utf8.Valid(body) {
			return fmt.Errorf("a failure of %d bytes that are no short text: %w", len(body), errDamaged)
		}
		a.failure = string(body)
		return nil
	case kindOutcome:
		o, err := decodeOutcome(body, want)
		a.outcome = o
		return err
	}
	return fmt.Errorf("an answer of kind %d: %w", kind, errDamaged)
}

func decodeOutcome(b []byte, want finetune.Shape) (*finetune.Outcome, error) {
	if len(b) != outcomeSize(want) {
		return nil, fmt.Errorf("an outcome of %d bytes, want %d: %w", len(b), outcomeSize(want), errDamaged)
	}
	var lengths [3]uint32
	for i := range lengths {
		lengths[i] = binary.LittleEndian.Uint32(b)
		b = b[4:]
	}
	if got := (finetune.Shape{Latents: int(lengths[0]), SumSquares: int(lengths[1]), Rewards: int(lengths[2])}); got != want {
		return nil, fmt.Errorf("an outcome of the shape %+v, want %+v: %w", got, want, errDamaged)
	}
	o := &finetune.Outcome{
		Latents:    make([]float32, want.Latents),
		SumSquares: make([]float64, want.SumSquares),
		Rewards:    make([]float64, want.Rewards),
	}
	for i := range o.Latents {
		o.Latents[i] = math.Float32frombits(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	for _, list := range [...][]float64{o.SumSquares, o.Rewards} {
		for i := range list {
			list[i] = math.Float64frombits(binary.LittleEndian.Uint64(b))
			b = b[8:]
		}
	}
	return o, nil
}

// equalOutcomes reports whether two outcomes have the same bits.
func equalOutcomes(a, b *finetune.Outcome) bool {
	return bytes.Equal(appendOutcome(nil, a), appendOutcome(nil, b))
}
