package finetune

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"math"

	"cps/examples/internal/digits"
)

//go:embed glyphs.bin
var glyphs []byte

// Glyphs returns the ten digits of the Go font, bold, as images like those of the data
// set: row-major [digits.Classes, digits.Dim], -1 paper and 1 ink. As in the data set, a
// digit is as high as the image and fills at most the middle six columns. Wider digits are
// squeezed. The zero of that font has a dot, so the letter O replaces it.
//
// The glyphs are stored, as float32, little-endian. Drawing gives other last bits where
// the compiler fuses multiplications and additions. The tests draw them and compare.
func Glyphs() ([]float32, error) {
	x := make([]float32, digits.Classes*digits.Dim)
	if len(glyphs) != 4*len(x) {
		return nil, fmt.Errorf("finetune: glyphs.bin has %d bytes, want %d", len(glyphs), 4*len(x))
	}
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(glyphs[4*i:]))
	}
	return x, nil
}
