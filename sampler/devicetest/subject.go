package devicetest

import (
	"testing"

	"cps/sampler"
)

// A Subject is a device under test, with the memory that the suite needs for it. Its
// functions must end the test if they fail.
type Subject[B any] struct {
	Device sampler.Memory[B]

	// Types are the storage types that buffers may have. Tests that need no special type
	// use the first, which must be Float32 if that is among them.
	Types []sampler.Storage

	// Upload stores src in dst; the values of src are of the buffer's type. Download
	// stores the values of src in dst, after all earlier calls have run.
	Upload   func(dst B, src []float32)
	Download func(dst []float32, src B)
}

// plain returns the type of buffers in tests that need no special type.
func (s *Subject[B]) plain() sampler.Storage { return s.Types[0] }

// storages returns the types to which a step into a plain buffer may round. These are
// all of the given types if the buffer holds float32, else its own type alone.
func (s *Subject[B]) storages(of ...sampler.Storage) []sampler.Storage {
	if s.plain() == sampler.Float32 {
		return of
	}
	return s.Types[:1]
}

// Run runs the suite. open returns a new or an idle subject, and closes it by t.Cleanup.
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
