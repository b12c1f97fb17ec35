// Package strips draws the pictures of the examples: labelled rows of images of 8×8 pixels.
package strips

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"os"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// A Strip is one row of the picture. It has a label, a remark below the label, and images of
// 8×8 pixels. A pixel is -1 for paper and 1 for ink.
type Strip struct {
	Label, Remark string
	Images        []float32 // row-major [n, 64]
}

const (
	side    = 8  // pixels of an image
	zoom    = 6  // screen pixels per pixel of an image
	gap     = 4  // between images
	margin  = 12 // around everything
	labels  = 190
	heading = 46
	pitch   = side*zoom + gap
)

// Save writes the picture as a PNG file, with a title and a remark below the title. All
// strips must have as many images as the first.
func Save(name, title, remark string, strips []Strip) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := Encode(f, title, remark, strips); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Encode writes the picture that Save writes to w.
func Encode(w io.Writer, title, remark string, strips []Strip) error {
	p, err := newPicture(len(strips), len(strips[0].Images)/(side*side))
	if err != nil {
		return err
	}
	p.text(p.big, margin, margin+18, 255, title)
	p.text(p.small, margin, margin+38, 150, remark)
	for i, s := range strips {
		p.strip(i, s)
	}
	return png.Encode(w, p)
}

// A picture is a labelled grid of images on a dark ground.
type picture struct {
	*image.RGBA
	big, small font.Face
}

// newPicture returns an empty picture for rows of columns images.
func newPicture(rows, columns int) (*picture, error) {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	face := func(size float64) font.Face {
		if err != nil {
			return nil
		}
		var face font.Face
		face, err = opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
		return face
	}
	p := &picture{big: face(15), small: face(12)}
	if err != nil {
		return nil, err
	}
	p.RGBA = image.NewRGBA(image.Rect(0, 0, labels+columns*pitch+2*margin, heading+rows*pitch+2*margin))
	draw.Draw(p, p.Bounds(), image.NewUniform(color.RGBA{38, 50, 64, 255}), image.Point{}, draw.Src)
	return p, nil
}

// text draws s with its baseline at (x, y).
func (p *picture) text(face font.Face, x, y int, bright uint8, s string) {
	d := font.Drawer{Dst: p, Src: image.NewUniform(color.Gray{bright}), Face: face, Dot: fixed.P(x, y)}
	d.DrawString(s)
}

// strip draws s as row number row.
func (p *picture) strip(row int, s Strip) {
	top := margin + heading + row*pitch
	p.text(p.big, margin, top+20, 235, s.Label)
	p.text(p.small, margin, top+37, 150, s.Remark)
	for i := range len(s.Images) / (side * side) {
		left := margin + labels + i*pitch
		for k, v := range s.Images[i*side*side:][:side*side] {
			r := image.Rect(0, 0, zoom, zoom).Add(image.Pt(left+k%side*zoom, top+k/side*zoom))
			draw.Draw(p, r, image.NewUniform(grey(v)), image.Point{}, draw.Src)
		}
	}
}

// grey maps a pixel value, -1 for paper and 1 for ink, to a shade. Values beyond are cut off.
// The root makes faint noise on the paper visible.
func grey(v float32) color.Gray {
	x := (float64(v) + 1) / 2
	return color.Gray{uint8(math.Round(255 * math.Sqrt(max(0, min(1, x)))))}
}
