package strips

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// Every pixel of every image is in its place, and more ink gives a brighter shade.
func TestEncode(t *testing.T) {
	const columns = 3
	var strips []Strip
	for range 2 {
		strips = append(strips, Strip{Label: "label", Remark: "remark", Images: make([]float32, columns*side*side)})
	}
	for i := range strips[1].Images {
		strips[1].Images[i] = float32(i%(side*side))/31.5 - 1 // -1 to 1 in every image
	}
	strips[0].Images[0], strips[0].Images[1] = -9, 9
	var b bytes.Buffer
	if err := Encode(&b, "title", "remark", strips); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	shade := func(row, image, pixel int) uint32 {
		x := margin + labels + image*pitch + pixel%side*zoom + zoom/2
		y := margin + heading + row*pitch + pixel/side*zoom + zoom/2
		r, g, b, _ := m.At(x, y).RGBA()
		if r != g || g != b {
			t.Errorf("row %d, image %d, pixel %d is no grey", row, image, pixel)
		}
		return r
	}
	for image := range columns {
		for pixel := 1; pixel < side*side; pixel++ {
			if shade(1, image, pixel) <= shade(1, image, pixel-1) {
				t.Errorf("image %d: pixel %d is not brighter than the one before", image, pixel)
			}
		}
	}
	if shade(0, 0, 0) != 0 || shade(0, 0, 1) != 0xffff || shade(1, 0, 0) != 0 || shade(1, 2, side*side-1) != 0xffff {
		t.Error("what lies beyond [-1, 1] is not cut off, or the ends are not black and white")
	}
	if shade(0, 1, 0) != shade(0, 2, 40) {
		t.Error("equal pixels have different shades")
	}
}

func TestSave(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.png")
	strips := []Strip{{Images: make([]float32, side*side)}}
	if err := Save(name, "", "", strips); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
	if err := Save(filepath.Join(name, "b.png"), "", "", strips); err == nil {
		t.Error("a file in a file is no error")
	}
}
