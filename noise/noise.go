package noise

import (
	"math"

	"cps/internal/kernel"
)

// A Key selects a family of independent streams, like a seed. The zero Key is
// valid. Derive all keys of a program from one, with [Key.Derive].
type Key uint64

// An ID names the noise of one sample at one step. The zero ID is valid. Step
// 2³²-1 is reserved for [Key.Derive], and a draw from it panics.
type ID struct {
	Sample uint64
	Step   uint32
}

// streamLen is the number of words of a stream, and of its normals. The block
// counter has 32 bits, and a block has four words.
const streamLen = 1 << 34

const (
	panicStep = "noise: ID.Step 1<<32 - 1 is reserved for Key.Derive"
	panicEnd  = "noise: beyond the end of the stream"
)

// Derive returns an independent key for n, such as an iteration, an epoch or a
// worker. In the notation of the package comment, the key is words 0 (low) and 1
// (high) of the block with
//
//	counter = { 0, 2³²-1, lo(n), hi(n) },  key = k
//
// No ID reaches this block. Two derived keys coincide as rarely as 64-bit random
// numbers do: among m keys, with probability m²·2⁻⁶⁵.
func (k Key) Derive(n uint64) Key {
	w := kernel.Stream{Key: uint64(k), Sample: n, Step: math.MaxUint32}.Block(0)
	return Key(uint64(w[1])<<32 | uint64(w[0]))
}

// Normal stores in dst the standard normal draws off, off+1, … of the stream of k
// and id. Float32 and float64 draws agree to within 1.6e-6. Both are the same
// bits on every architecture. Normal does not allocate and is safe for concurrent
// use.
//
// It panics if id.Step is reserved, or if off+len(dst) is above 2³⁴, the length
// of the stream.
func Normal[T float32 | float64](dst []T, k Key, id ID, off uint64) {
	s := stream(k, id, len(dst), off)
	switch dst := any(dst).(type) {
	case []float32:
		s.Normal(dst, off)
	case []float64:
		s.Normal64(dst, off)
	}
}

// Uint32s stores in dst the uniform words off, off+1, … of the stream of k and
// id. They never change from version to version. Uint32s does not allocate and is
// safe for concurrent use.
//
// It panics if id.Step is reserved, or if off+len(dst) is above 2³⁴, the length
// of the stream.
func Uint32s(dst []uint32, k Key, id ID, off uint64) {
	stream(k, id, len(dst), off).Words(dst, off)
}

// stream returns the stream of k and id after checking that draws off … off+n-1
// exist.
func stream(k Key, id ID, n int, off uint64) kernel.Stream {
	if id.Step == math.MaxUint32 {
		panic(panicStep)
	}
	if off > streamLen || uint64(n) > streamLen-off {
		panic(panicEnd)
	}
	return kernel.Stream{Key: uint64(k), Sample: id.Sample, Step: id.Step}
}
