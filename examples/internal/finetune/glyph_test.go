package finetune

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"image"
	"math"
	"os"
	"testing"

	"cps/examples/internal/digits"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

var update = flag.Bool("update", false, "write glyphs.bin anew, on amd64 with GOAMD64=v1")

// The stored glyphs are those of the font. Drawing takes floating-point arithmetic that compilers
// may fuse, so a pixel of the screen can be off by a grey level or two. A pixel of the image is
// the mean of 1024 screen pixels.
func TestGlyphsAreDrawn(t *testing.T) {
	want := drawnGlyphs(t)
	if *update {
		var b bytes.Buffer
		binary.Write(&b, binary.LittleEndian, want) // a buffer reports no errors
		if err := os.WriteFile("glyphs.bin", b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := Glyphs()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d pixels, want %d", len(got), len(want))
	}
	for i, x := range got {
		if math.Abs(float64(x-want[i])) > 2*2/255. {
			t.Errorf("pixel %d of glyph %d is %v, drawn %v", i%digits.Dim, i/digits.Dim, x, want[i])
		}
	}
}

// The file equals that of GOAMD64=v1 bit for bit, whatever the tests are built for.
func TestGlyphsAreFrozen(t *testing.T) {
	x, err := Glyphs()
	if err != nil {
		t.Fatal(err)
	}
	const want = "9c79662d7c1629bea794e348b562ce46607eb7ba0bcad82ef03cd884473e8f4b"
	sum := sha256.New()
	binary.Write(sum, binary.LittleEndian, x) // a hash reports no errors
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		t.Errorf("the checksum is %s, want %s", got, want)
	}
	x[0] = 7
	if y, _ := Glyphs(); y[0] == 7 {
		t.Error("Glyphs returns memory of its own")
	}
}

// drawnGlyphs draws the glyphs.
func drawnGlyphs(t *testing.T) []float32 {
	f, err := opentype.Parse(gobold.TTF)
	if err != nil {
		t.Fatal(err)
	}
	const zoom = 32 // screen pixels a pixel
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: 12 * zoom, DPI: 72})
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, digits.Classes*digits.Dim)
	for c, name := range "O123456789" {
		large := drawn(face, string(name))
		box := large.Bounds()
		const height = digits.Side * zoom
		half := min(3*zoom, box.Dx()*height/box.Dy()/2)
		screen := image.NewGray(image.Rect(0, 0, height, height))
		draw.BiLinear.Scale(screen, image.Rect(height/2-half, 0, height/2+half, height), large, box, draw.Src, nil)
		for p := range digits.Dim {
			sum := 0
			for k := range zoom * zoom {
				sum += int(screen.GrayAt(p%digits.Side*zoom+k%zoom, p/digits.Side*zoom+k/zoom).Y)
			}
			x[c*digits.Dim+p] = float32(sum)/(255*zoom*zoom/2) - 1
		}
	}
	return x
}

// drawn returns a picture of text, white on black, without margins.
func drawn(face font.Face, text string) *image.Gray {
	d := font.Drawer{Src: image.White, Face: face}
	bounds, _ := d.BoundString(text)
	box := image.Rect(0, 0, (bounds.Max.X - bounds.Min.X).Ceil(), (bounds.Max.Y - bounds.Min.Y).Ceil())
	dst := image.NewGray(box)
	d.Dst, d.Dot = dst, fixed.Point26_6{}.Sub(bounds.Min)
	d.DrawString(text)
	return dst
}
