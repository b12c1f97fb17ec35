// Package devicetest is a conformance suite for implementations of [sampler.Device],
// in the manner of testing/fstest:
//
//	func TestDevice(t *testing.T) {
//		devicetest.Run(t, func(t testing.TB) devicetest.Subject[Buffer] {
//			d := open(t)
//			return devicetest.Subject[Buffer]{Device: d, New: …}
//		})
//	}
//
// It compares a device with the specification, which is written out in plain Go,
// element by element. Every result must agree bit for bit. The suite varies the shape
// of batches, the types and the alignment of buffers, weights, aliasing, and the order
// of calls. NaNs equal each other whatever their bits, which depend on the processor.
package devicetest
