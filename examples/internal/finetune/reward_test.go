package finetune

import (
	"math"
	"slices"
	"strings"
	"testing"

	"cps/examples/internal/digits"

	"pgregory.net/rapid"
)

// tb is what *testing.T and *rapid.T share.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func reward(t tb, name string) Reward {
	t.Helper()
	r, err := NewReward(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func images(t tb) *digits.Set {
	t.Helper()
	s, err := digits.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// picture reads an image of 8 lines, # for ink.
func picture(t tb, lines string) []float32 {
	t.Helper()
	x := make([]float32, 0, digits.Dim)
	for _, c := range lines {
		switch c {
		case '#':
			x = append(x, 0.5)
		case '.':
			x = append(x, -1)
		}
	}
	if len(x) != digits.Dim {
		t.Fatalf("%d pixels in\n%s", len(x), lines)
	}
	return x
}

func TestTopologyKnown(t *testing.T) {
	for _, c := range []struct {
		name          string
		pieces, holes int
		lines         string
	}{
		{"blank", 0, 0, strings.Repeat("........", 8)},
		{"all ink", 1, 0, strings.Repeat("########", 8)},
		{"a frame at the edge", 1, 1, "########" + strings.Repeat("#......#", 6) + "########"},
		{"eight", 1, 2, "........ ..####.. ..#..#.. ..####.. ..#..#.. ..#..#.. ..####.. ........"},
		{"diagonal strokes hold together and enclose", 1, 1, "........ ...#.... ..#.#... .#...#.. ..#.#... ...#.... ........ ........"},
		{"a gap opens the hole", 1, 0, "........ ..####.. ..#..#.. ..#..... ..#..#.. ..####.. ........ ........"},
		{"two pieces", 2, 0, "........ ..##.... ..##.... ........ ........ ....##.. ....##.. ........"},
		{"paper does not leave through a corner", 1, 1, "........ ..###... ..#.#... ..##.... ........ ........ ........ ........"},
		{"four corners", 4, 0, "#......# ........ ........ ........ ........ ........ ........ #......#"},
		{"left and right edges are apart", 2, 0, "........ ........ #......# ........ ........ ........ ........ ........"},
	} {
		if pieces, holes := topology(picture(t, c.lines)); pieces != c.pieces || holes != c.holes {
			t.Errorf("%s: %d pieces, %d holes; want %d and %d", c.name, pieces, holes, c.pieces, c.holes)
		}
	}
}

// Turning and mirroring change nothing. Euler's number, which counts patterns of 2×2
// pixels (Gray 1971, eight-connected ink), equals pieces - holes.
func TestTopologyInvariant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := make([]float32, digits.Dim)
		for i := range x {
			x[i] = float32(rapid.SampledFrom([]int{-1, 1}).Draw(t, "pixel"))
		}
		pieces, holes := topology(x)
		turned := make([]float32, digits.Dim)
		for i := range x {
			turned[i%digits.Side*digits.Side+digits.Side-1-i/digits.Side] = x[i]
		}
		mirrored := slices.Clone(x)
		for r := range digits.Side {
			slices.Reverse(mirrored[r*digits.Side:][:digits.Side])
		}
		for _, y := range [][]float32{turned, mirrored} {
			if p, h := topology(y); p != pieces || h != holes {
				t.Fatalf("%d pieces and %d holes, turned or mirrored %d and %d", pieces, holes, p, h)
			}
		}
		at := func(r, c int) int {
			if r < 0 || c < 0 || r >= digits.Side || c >= digits.Side || x[r*digits.Side+c] <= 0 {
				return 0
			}
			return 1
		}
		euler := 0
		for r := -1; r < digits.Side; r++ {
			for c := -1; c < digits.Side; c++ {
				a, b, d, e := at(r, c), at(r, c+1), at(r+1, c), at(r+1, c+1)
				switch sum := a + b + d + e; {
				case sum == 1:
					euler++
				case sum == 3:
					euler--
				case sum == 2 && a == e:
					euler -= 2
				}
			}
		}
		if euler != 4*(pieces-holes) {
			t.Fatalf("%d pieces and %d holes, but Euler's number is %v", pieces, holes, float64(euler)/4)
		}
	})
}

// The judges accept the glyphs: the classifier reads them, and they are in one piece
// with the holes of their digits.
func TestGlyphs(t *testing.T) {
	x, err := Glyphs()
	if err != nil {
		t.Fatal(err)
	}
	classes := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	got := make([]float64, len(classes))
	reward(t, "glyph").Score(got, x, classes)
	for c, r := range got {
		if math.Abs(r-1) > 1e-12 { // a sum of 64 products
			t.Errorf("glyph %d correlates with itself by %v", c, r)
		}
	}
	reward(t, "holes").Score(got, x, classes)
	for c, r := range got {
		if r != 1 {
			pieces, holes := topology(x[c*digits.Dim:][:digits.Dim])
			t.Errorf("glyph %d has %d pieces and %d holes", c, pieces, holes)
		}
	}
	reward(t, "class").Score(got, x, classes)
	read := 0
	for _, r := range got {
		if r > 0.5 {
			read++
		}
	}
	t.Logf("the classifier reads %d of 10 glyphs: %.2f", read, got)
	if read < 8 { // handwriting is what it knows
		t.Errorf("the classifier reads %d of 10 glyphs", read)
	}
}

// A digit in two pieces gets no reward, and neither does one with another number of
// holes.
func TestHoles(t *testing.T) {
	const (
		stroke = "........ ...##... ...##... ...##... ...##... ...##... ...##... ........"
		broken = "........ ...##... ...##... ........ ...##... ...##... ...##... ........"
		ring   = "........ ..####.. ..#..#.. ..#..#.. ..#..#.. ..#..#.. ..####.. ........"
	)
	got := make([]float64, 1)
	for _, c := range []struct {
		lines string
		class int
		want  float64
	}{{stroke, 1, 1}, {stroke, 0, 0}, {broken, 1, 0}, {ring, 0, 1}, {ring, 8, 0}, {ring, 7, 0}} {
		if reward(t, "holes").Score(got, picture(t, c.lines), []int{c.class}); got[0] != c.want {
			t.Errorf("reward %v as a %d of\n%s", got[0], c.class, c.lines)
		}
	}
}

func TestCorrelation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pixels := rapid.SliceOfN(rapid.Float32Range(-1, 1), 8, 8)
		x, y := pixels.Draw(t, "x"), pixels.Draw(t, "y")
		r := correlation(x, y)
		if !(math.Abs(r) <= 1+1e-12) || correlation(y, x) != r {
			t.Fatalf("correlation %v, reversed %v", r, correlation(y, x))
		}
		z := make([]float32, len(x))
		for i, v := range x {
			z[i] = 0.25 * v // exact
		}
		if s := correlation(z, y); math.Abs(s-r) > 1e-12 {
			t.Fatalf("correlation %v, of a fainter image %v", r, s)
		}
	})
	if r := correlation([]float32{1, 1}, []float32{0, 1}); r != 0 {
		t.Errorf("correlation with a constant is %v", r)
	}
	if r := correlation([]float32{0, 1, 2}, []float32{2, 1, 0}); math.Abs(r+1) > 1e-15 {
		t.Errorf("correlation of opposites is %v", r)
	}
}

// All rewards prefer images of the data set to the same images labelled as another
// digit. They score every row on its own. Values beyond the range of pixels do not
// count.
func TestRewards(t *testing.T) {
	s := images(t)
	n := 300
	x, classes := s.Pixels[:n*digits.Dim], s.Labels[:n]
	others := make([]int, n)
	for i, c := range classes {
		others[i] = (c + 1) % digits.Classes
	}
	beyond := slices.Clone(x)
	for i, v := range beyond {
		if v == 1 || v == -1 {
			beyond[i] = 3 * v
		}
	}
	mean := func(x []float64) float64 { m, _ := meanStd(x); return m }
	for _, name := range RewardNames() {
		r := reward(t, name)
		if r.Name != name || r.About == "" {
			t.Errorf("%s is called %q, about %q", name, r.Name, r.About)
		}
		right, wrong, alone, cut := make([]float64, n), make([]float64, n), make([]float64, 1), make([]float64, n)
		r.Score(right, x, classes)
		r.Score(wrong, x, others)
		t.Logf("%s: %.3f, as another digit %.3f", name, mean(right), mean(wrong))
		if !(mean(right) > mean(wrong)+0.2) {
			t.Errorf("%s: %.3f, as another digit %.3f", name, mean(right), mean(wrong))
		}
		r.Score(cut, beyond, classes)
		if !slices.Equal(cut, right) {
			t.Errorf("%s sees what lies beyond [-1, 1]", name)
		}
		for i := range 20 {
			if r.Score(alone, x[i*digits.Dim:][:digits.Dim], classes[i:i+1]); alone[0] != right[i] {
				t.Errorf("%s: row %d has %v, alone %v", name, i, right[i], alone[0])
			}
		}
	}
	if _, err := NewReward("beauty"); err == nil || err.Error() != `finetune: reward "beauty" is none of class, holes, glyph, taste` {
		t.Errorf("error %v", err)
	}
}
