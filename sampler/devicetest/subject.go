package devicetest

import (
	"testing"

	"cps/sampler"
)

// A Subject is a device under test with the memory that the suite needs for it. Its
// functions end the test if they fail.
type Subject[B any] struct {
	Device sampler.Memory[B]

	// Types are the storage types that buffers may have. The first is that of buffers
	// where a test needs no other, so that it is Float32 if that is among them.
	Types []sampler.Storage

	// Upload stores src, whose values are of the buffer's type, in dst. Download
	// stores the values of src in dst, when all calls before it have run.
	Upload   func(dst B, src []float32)
	Download func(dst []float32, src B)
}

// plain is the type of buffers where a test needs no other.
func (s *Subject[B]) plain() sampler.Storage { return s.Types[0] }

// storages returns those of some types to which a step into a plain buffer may round: all
// if it holds float32s, otherwise its own.
func (s *Subject[B]) storages(of ...sampler.Storage) []sampler.Storage {
	if s.plain() == sampler.Float32 {
		return of
	}
	return s.Types[:1]
}

// Run runs the suite. Open returns a new subject, or one that is idle; what it needs to
// close it leaves to t.Cleanup.
func Run[B any](t *testing.T, open func(t testing.TB) Subject[B]) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s Subject[B])
	}{
		{"Step", testStep[B]},
		{"Squares", testSquares[B]},
		{"Grad", testGrad[B]},
		{"Shapes", testShapes[B]},
		{"LongRows", testLongRows[B]},
		{"ManyRows", testManyRows[B]},
		{"Order", testOrder[B]},
		{"Ties", testTies[B]},
		{"Queue", testQueue[B]},
		{"NothingRead", testNothingRead[B]},
		{"NonFinite", testNonFinite[B]},
		{"Subnormal", testSubnormal[B]},
		{"Streams", testStreams[B]},
		{"Spans", testSpans[B]},
		{"Cuts", testCuts[B]},
		{"KnownAnswers", testKnownAnswers[B]},
		{"Gather", testGather[B]},
		{"Rollout", testRollout[B]},
		{"Panics", testPanics[B]},
		{"Empty", testEmpty[B]},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}
