package schedule

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestInvert(t *testing.T) {
	f := Linear(5).Shift(3)
	inverse := Invert(f)
	points, err := PointsOf(inverse)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range points {
		if p != f.At(5-i) {
			t.Errorf("point %d is %+v", i, p)
		}
	}
	for name, tc := range map[string]struct {
		s    Scheduler
		want error
	}{
		"a list that rises":         {Inversion{Flow{0, 0.25, 1}}, nil},
		"a list that falls":         {Inversion{Flow{1, 0.5, 0}}, ErrOrder},
		"a level twice":             {Inversion{Flow{0, 0.5, 0.5, 1}}, ErrOrder},
		"of nothing":                {Inversion{}, ErrNil},
		"of a nil scheduler":        {Invert(nil), ErrNil},
		"of one level":              {Invert(Flow{1}), ErrShort},
		"twice, which falls again":  {Invert(Invert(f)), ErrOrder},
		"of a level that is no one": {Inversion{Flow{0, 2}}, ErrRange},
	} {
		if err := Validate(tc.s); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// changing gives one step less every time it is asked.
type changing struct{ n *int }

func (c changing) Steps() int     { *c.n--; return *c.n }
func (c changing) At(i int) Point { return Level(1 - float64(i)/100) }

// PointsOf asks once.
func TestPointsOfAsksOnce(t *testing.T) {
	n := 11
	p, err := PointsOf(changing{&n})
	if err != nil || p.Steps() != 10 || n != 10 {
		t.Errorf("%d steps, %d left, %v", p.Steps(), n, err)
	}
}

func TestTooLong(t *testing.T) {
	if err := Validate(Linear(MaxSteps)); err != nil {
		t.Error(err)
	}
	if err := Validate(make(Flow, MaxSteps+2)); !errors.Is(err, ErrLong) {
		t.Error(err)
	}
}

// Values of diffusers' StableDiffusion3Img2ImgPipeline.get_timesteps, by its formula in
// Python's floats.
func TestFirstStep(t *testing.T) {
	for _, tc := range []struct {
		n        int
		strength float64
		want     int
	}{
		{50, 0.6, 20}, {28, 0.6, 11}, {10, 1, 0}, {10, 0.05, 9}, {10, 0.7, 3}, {4, 0.3, 2}, {100, 0.29, 71}, {1, 0.5, 0},
	} {
		if got, err := FirstStep(tc.n, tc.strength); err != nil || got != tc.want {
			t.Errorf("FirstStep(%d, %v) = %d, %v; want %d", tc.n, tc.strength, got, err, tc.want)
		}
	}
	for _, tc := range []struct {
		n        int
		strength float64
		want     error
	}{
		{10, 0, ErrStrength}, {10, 1e-20, ErrStrength}, {10, -0.1, ErrRange}, {10, 1.1, ErrRange}, {10, math.NaN(), ErrRange}, {0, 0.5, ErrShort},
	} {
		if _, err := FirstStep(tc.n, tc.strength); !errors.Is(err, tc.want) {
			t.Errorf("FirstStep(%d, %v): %v, want %v", tc.n, tc.strength, err, tc.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n, strength := rapid.IntRange(1, 2000).Draw(t, "n"), rapid.Float64Range(0, 1).Draw(t, "strength")
		first, err := FirstStep(n, strength)
		if err == nil && (first < 0 || first >= n) {
			t.Fatalf("FirstStep is %d of %d", first, n)
		}
	})
}

// A point that a schedule does not have is named, with the range.
func TestPointRefused(t *testing.T) {
	for name, s := range map[string]Scheduler{
		"Flow": Linear(4), "Points": Points(make([]Point, 5)), "Invert": Invert(Linear(4)),
	} {
		for _, i := range []int{-1, 5, math.MinInt, math.MaxInt} {
			want := fmt.Sprintf("schedule: %s.At: point %d is not in [0, 4]", name, i)
			func() {
				defer func() {
					if got := recover(); got != want {
						t.Errorf("panic %v, want %q", got, want)
					}
				}()
				s.At(i)
			}()
		}
	}
}
