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
// set: row-major [digits.Classes, digits.Dim], -1 paper and 1 ink. As there, a digit is
// as high as the image and stands in the middle six columns at most, squeezed if it
// is wider. For the zero, which has a dot in that font, stands the letter O.
//
// They are stored, as float32, little-endian, since programs that draw them get other last
// bits where the compiler fuses multiplications and additions. The tests draw them.
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
