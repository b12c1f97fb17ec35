package main

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"os"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// A strip is a row of the picture: an image of every class, and the noise in its samples.
type strip struct {
	label, remark string
	pixels        []float32 // [columns, dim], not clipped
	residual      float64
	colour        color.Color // of the bar
}

var (
	ground = color.RGBA{15, 18, 24, 255}
	bright = color.RGBA{236, 240, 245, 255}
	faint  = color.RGBA{139, 149, 163, 255}
	track  = color.RGBA{38, 44, 54, 255}
	noisy  = color.RGBA{246, 166, 59, 255} // leaves noise
	clean  = color.RGBA{64, 201, 184, 255} // preserves coefficients
)

// Lengths are points, of scale pixels: a page shows the picture at half its size, and a screen
// of twice the pixels shows them all.
const (
	scale   = 2
	columns = none
	margin  = 20
	labels  = 182
	cell    = 2 * side
	pitch   = cell + 3
	bars    = 100 // from the last image to the end of a bar
	heading = 72
	width   = margin + labels + columns*pitch + bars + margin
	black   = -1.3 // the value that is drawn black
)

// picture is a page of strips under a title.
type picture struct {
	*image.RGBA
	big, medium, small font.Face
}

// save writes strips as a PNG.
func save(name, title, remark string, strips []strip) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := encode(f, title, remark, strips); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func encode(w io.Writer, title, remark string, strips []strip) error {
	p, err := newPicture(heading + len(strips)*pitch + margin)
	if err != nil {
		return err
	}
	p.text(p.big, margin, 31, bright, title)
	p.text(p.small, margin, 53, faint, remark)
	p.text(p.small, width-margin-bars+14, 53, faint, "residual noise")
	most := 0.0
	for _, s := range strips {
		most = max(most, s.residual)
	}
	for i, s := range strips {
		p.strip(heading+i*pitch, s, most)
	}
	e := png.Encoder{CompressionLevel: png.BestCompression}
	return e.Encode(w, p.paletted())
}

// paletted returns the picture in 256 colours, which halve the file: 160 greys for the images,
// and shades from the ground to each of the others for text.
func (p *picture) paletted() *image.Paletted {
	var colours color.Palette
	for i := range 160 {
		colours = append(colours, color.Gray{uint8(i * 255 / 159)})
	}
	for _, c := range []color.RGBA{bright, faint, noisy, clean} {
		for i := range 24 {
			mix := func(a, b uint8) uint8 { return uint8((int(a)*(23-i) + int(b)*i) / 23) }
			colours = append(colours, color.RGBA{mix(ground.R, c.R), mix(ground.G, c.G), mix(ground.B, c.B), 255})
		}
	}
	m := image.NewPaletted(p.Bounds(), colours)
	known := map[color.RGBA]uint8{}
	for y := range p.Rect.Dy() {
		for x := range p.Rect.Dx() {
			c := p.RGBAAt(x, y)
			i, ok := known[c]
			if !ok {
				i = uint8(colours.Index(c))
				known[c] = i
			}
			m.SetColorIndex(x, y, i)
		}
	}
	return m
}

func newPicture(height int) (*picture, error) {
	p := &picture{RGBA: image.NewRGBA(image.Rect(0, 0, width*scale, height*scale))}
	draw.Draw(p, p.Bounds(), image.NewUniform(ground), image.Point{}, draw.Src)
	for _, f := range []struct {
		face *font.Face
		ttf  []byte
		size float64
	}{{&p.big, gomedium.TTF, 19}, {&p.medium, gomedium.TTF, 14}, {&p.small, goregular.TTF, 12}} {
		parsed, err := opentype.Parse(f.ttf)
		if err == nil {
			*f.face, err = opentype.NewFace(parsed, &opentype.FaceOptions{Size: f.size * scale, DPI: 72, Hinting: font.HintingFull})
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// text draws s with its baseline at (x, y).
func (p *picture) text(face font.Face, x, y int, c color.Color, s string) {
	d := font.Drawer{Dst: p, Src: image.NewUniform(c), Face: face, Dot: fixed.P(x*scale, y*scale)}
	d.DrawString(s)
}

// fill draws a rectangle; its right edge may lie between points.
func (p *picture) fill(x, y int, w float64, h int, c color.Color) {
	r := image.Rect(x*scale, y*scale, x*scale+int(math.Round(w*scale)), (y+h)*scale)
	draw.Draw(p, r, image.NewUniform(c), image.Point{}, draw.Src)
}

// strip draws s with its upper edge at y. The longest bar is that of the most noise.
func (p *picture) strip(y int, s strip, most float64) {
	if s.remark == "" {
		p.text(p.medium, margin, y+33, bright, s.label)
	} else {
		p.text(p.medium, margin, y+26, bright, s.label)
		p.text(p.small, margin, y+43, faint, s.remark)
	}
	const zoom = cell / side * scale
	for i := range len(s.pixels) / dim {
		left, top := (margin+labels+i*pitch)*scale, y*scale
		for k, v := range s.pixels[i*dim : (i+1)*dim] {
			r := image.Rect(0, 0, zoom, zoom).Add(image.Pt(left+k%side*zoom, top+k/side*zoom))
			draw.Draw(p, r, image.NewUniform(shade(v)), image.Point{}, draw.Src)
		}
	}
	const x, long = width - margin - bars + 14, bars - 14
	p.text(p.medium, x, y+27, s.colour, fmt.Sprintf("%.3f", s.residual))
	p.fill(x, y+36, long, 6, track)
	p.fill(x, y+36, max(1, long*s.residual/most), 6, s.colour)
}

// shade maps black to 0 and 1 to white.
func shade(v float32) color.Gray {
	x := (float64(v) - black) / (1 - black)
	return color.Gray{uint8(math.Round(255 * max(0, min(1, x))))}
}
