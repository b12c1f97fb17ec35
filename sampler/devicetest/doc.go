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
// It compares a device with the specification written out in plain Go, element by
// element: every result to the bit, whatever the shape of the batch, the types and the
// alignment of buffers, the weights, aliasing and the order of calls. NaNs equal each
// other whatever their bits, which depend on the processor.
package devicetest
