package cuda

import (
	"testing"

	"cps/sampler/devicetest"
)

// The committed PTX, run by an interpreter, gives the bits of the
// specification.
func TestInterpreted(t *testing.T) {
	devicetest.Run(t, func(t testing.TB) devicetest.Subject[Buffer] {
		d, _ := open(t, 1)
		return subject(t, d)
	})
}
