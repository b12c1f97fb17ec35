//go:build !(cuda && linux && cgo)

package cuda

import (
	"errors"
	"testing"
)

func TestUnavailable(t *testing.T) {
	if Available() {
		t.Error("available without the tag cuda")
	}
	if d, err := Open(0); d != nil || !errors.Is(err, ErrUnavailable) {
		t.Errorf("Open: %v, %v", d, err)
	}
	if d, err := OpenStream(0, 0); d != nil || !errors.Is(err, ErrUnavailable) {
		t.Errorf("OpenStream: %v, %v", d, err)
	}
	if d, err := OpenCurrent(0); d != nil || !errors.Is(err, ErrUnavailable) {
		t.Errorf("OpenCurrent: %v, %v", d, err)
	}
}
