package finetune

import (
	"fmt"
	"image"

	"cps/internal/digits"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Glyphs returns the ten digits of the Go font, bold, as images like those of the data
// set: row-major [digits.Classes, digits.Dim], -1 paper and 1 ink. Each is drawn large,
// centred in the middle six columns, where those of the data set stand, and averaged.
func Glyphs() ([]float32, error) {
	f, err := opentype.Parse(gobold.TTF)
	if err != nil {
		return nil, fmt.Errorf("finetune: font: %w", err)
	}
	const zoom = 32 // screen pixels a pixel
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: 10.5 * zoom, DPI: 72})
	if err != nil {
		return nil, fmt.Errorf("finetune: font: %w", err)
	}
	x := make([]float32, digits.Classes*digits.Dim)
	for c := range digits.Classes {
		screen := image.NewGray(image.Rect(0, 0, digits.Side*zoom, digits.Side*zoom))
		d := font.Drawer{Dst: screen, Src: image.White, Face: face}
		bounds, _ := d.BoundString(string(rune('0' + c)))
		center := bounds.Min.Add(bounds.Max).Div(fixed.I(2))
		d.Dot = fixed.P(digits.Side*zoom/2, digits.Side*zoom/2).Sub(center)
		d.DrawString(string(rune('0' + c)))
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
