package finetune

import (
	"fmt"
	"image"

	"cps/examples/internal/digits"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Glyphs returns the ten digits of the Go font, bold, as images like those of the data
// set: row-major [digits.Classes, digits.Dim], -1 paper and 1 ink. As there, a digit is
// as high as the image and stands in the middle six columns at most, squeezed if it
// is wider. For the zero, which has a dot in that font, stands the letter O.
func Glyphs() ([]float32, error) {
	f, err := opentype.Parse(gobold.TTF)
	if err != nil {
		return nil, fmt.Errorf("finetune: font: %w", err)
	}
	const zoom = 32 // screen pixels a pixel
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: 12 * zoom, DPI: 72})
	if err != nil {
		return nil, fmt.Errorf("finetune: font: %w", err)
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
	return x, nil
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
