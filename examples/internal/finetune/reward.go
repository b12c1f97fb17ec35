package finetune

import (
	"fmt"
	"math"
	"strings"

	"cps/examples/internal/digits"
)

// A Reward scores images.
type Reward struct {
	Name string // on a command line, and in a checkpoint

	// Score stores in dst the reward of every row of x, row-major [len(classes),
	// digits.Dim], as an image of the digit that was asked for. It must be a pure
	// function and safe for concurrent use.
	Score func(dst []float64, x []float32, classes []int)

	// About says what is rewarded.
	About string
}

// Training sees only the values of rewards, not gradients. Pixels beyond [-1, 1] are
// cut off before an image is scored, as in any picture.
var rewards = []struct {
	name, about string
	make        func() (func(dst []float64, x []float32, classes []int), error)
}{
	{"class", "probability that the frozen classifier sees the digit (verifiable)", classReward},
	{"holes", "1 if the strokes are in one piece and have the digit's number of holes, 0 if not (verifiable)", holesReward},
	{"glyph", "correlation with the digit's glyph of the Go font, in [-1, 1] (verifiable)", glyphReward},
	{"taste", "score of the critic, taught on pairs of damaged digits: 1 is a real image's, 0 noise's (preference)", tasteReward},
}

// RewardNames returns the names that NewReward knows.
func RewardNames() []string {
	var names []string
	for _, r := range rewards {
		names = append(names, r.name)
	}
	return names
}

// NewReward returns the reward of a name.
func NewReward(name string) (Reward, error) {
	for _, r := range rewards {
		if r.name != name {
			continue
		}
		score, err := r.make()
		return Reward{Name: r.name, About: r.about, Score: score}, err
	}
	return Reward{}, fmt.Errorf("finetune: reward %q is none of %s", name, strings.Join(RewardNames(), ", "))
}

func classReward() (func(dst []float64, x []float32, classes []int), error) {
	judge, err := digits.Judge()
	return func(dst []float64, x []float32, classes []int) {
		p := judge.Probabilities(make([]float64, len(classes)*digits.Classes), cut(x))
		for i, c := range classes {
			dst[i] = p[i*digits.Classes+c]
		}
	}, err
}

func tasteReward() (func(dst []float64, x []float32, classes []int), error) {
	critic, err := digits.Taste()
	return func(dst []float64, x []float32, classes []int) { critic.Scores(dst, x, classes) }, err
}

// holesOf is the number of holes that a digit should have, the topology of its glyph.
var holesOf = [digits.Classes]int{0: 1, 4: 1, 6: 1, 8: 2, 9: 1}

func holesReward() (func(dst []float64, x []float32, classes []int), error) {
	return func(dst []float64, x []float32, classes []int) {
		for i, c := range classes {
			dst[i] = 0
			if pieces, holes := topology(x[i*digits.Dim:][:digits.Dim]); pieces == 1 && holes == holesOf[c] {
				dst[i] = 1
			}
		}
	}, nil
}

func glyphReward() (func(dst []float64, x []float32, classes []int), error) {
	glyphs, err := Glyphs()
	return func(dst []float64, x []float32, classes []int) {
		x = cut(x)
		for i, c := range classes {
			dst[i] = correlation(x[i*digits.Dim:][:digits.Dim], glyphs[c*digits.Dim:][:digits.Dim])
		}
	}, err
}

// cut returns a copy of x within [-1, 1]. A NaN stays.
func cut(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = max(-1, min(1, v))
	}
	return y
}

// correlation returns Pearson's correlation of x and y, or 0 if x or y is constant.
func correlation(x, y []float32) float64 {
	n := float64(len(x))
	var mx, my float64
	for i := range x {
		mx += float64(x[i]) / n
		my += float64(y[i]) / n
	}
	var xx, yy, xy float64
	for i := range x {
		a, b := float64(x[i])-mx, float64(y[i])-my
		xx += float64(a * a)
		yy += float64(b * b)
		xy += float64(a * b)
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(float64(xx*yy))
}
