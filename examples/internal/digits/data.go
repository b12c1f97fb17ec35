package digits

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
)

const (
	// Side is the width and height of an image in pixels.
	Side = 8
	// Dim is the number of pixels of an image.
	Dim = Side * Side
	// Classes is the number of classes. Class k is the digit k.
	Classes = 10
	// Images is the number of images of the data set.
	Images = 1797
)

//go:embed digits8x8.bin.gz
var archive []byte

// A Set is a set of labelled images.
type Set struct {
	Pixels []float32 // row-major [len(Labels), Dim]; an image is row-major [Side, Side]; -1 is paper, 1 is ink
	Labels []int     // digits 0 to 9
}

// Load returns all 1797 images of the data set. Every call allocates a new Set, which the
// caller may change.
//
// The file has ink counts from 0 to 16. A pixel is
//
//	x = count/8 - 1
func Load() (*Set, error) { return decode(archive) }

func decode(archive []byte) (*Set, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("digits: data: %w", err)
	}
	const size = Images + Images*Dim // labels, then pixels
	raw, err := io.ReadAll(io.LimitReader(z, size+1))
	if err != nil {
		return nil, fmt.Errorf("digits: data: %w", err)
	}
	if len(raw) < size {
		return nil, fmt.Errorf("digits: data: %d bytes, want %d: %w", len(raw), size, io.ErrUnexpectedEOF)
	}
	if len(raw) > size {
		return nil, errors.New("digits: data: bytes after the last image")
	}
	s := &Set{Pixels: make([]float32, Images*Dim), Labels: make([]int, Images)}
	for i, l := range raw[:Images] {
		if l >= Classes {
			return nil, fmt.Errorf("digits: data: image %d has label %d", i, l)
		}
		s.Labels[i] = int(l)
	}
	for i, c := range raw[Images:] {
		if c > 16 {
			return nil, fmt.Errorf("digits: data: image %d, pixel %d has count %d, want at most 16", i/Dim, i%Dim, c)
		}
		s.Pixels[i] = float32(c)/8 - 1 // exact
	}
	return s, nil
}

// Len returns the number of images.
func (s *Set) Len() int { return len(s.Labels) }

// Image returns image i, a view of Dim pixels.
func (s *Set) Image(i int) []float32 { return s.Pixels[i*Dim:][:Dim:Dim] }

// Split returns two new sets: test has every fifth image, and train has the others. The images
// are in the order of their thirteen writers, so both sets have images of every writer.
func (s *Set) Split() (train, test *Set) {
	train, test = new(Set), new(Set)
	for i, l := range s.Labels {
		to := train
		if i%5 == 4 {
			to = test
		}
		to.Labels = append(to.Labels, l)
		to.Pixels = append(to.Pixels, s.Image(i)...)
	}
	return train, test
}

// moments returns the mean and the variance of every pixel over the images of s.
func (s *Set) moments() (mean, variance [Dim]float64) {
	n := float64(s.Len())
	for i := range s.Labels {
		for p, x := range s.Image(i) {
			mean[p] += float64(x)
		}
	}
	for p := range mean {
		mean[p] /= n
	}
	for i := range s.Labels {
		for p, x := range s.Image(i) {
			d := float64(x) - mean[p]
			variance[p] += float64(d * d)
		}
	}
	for p := range variance {
		variance[p] /= n
	}
	return mean, variance
}
