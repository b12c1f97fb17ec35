package schedule

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// fromFunc is a Scheduler of two points, of a kind that can be nil.
type fromFunc func(i int) Point

func (f fromFunc) Steps() int     { return 1 }
func (f fromFunc) At(i int) Point { return f(i) }

func TestValidate(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tc := range []struct {
		name string
		s    Scheduler
		want error
		text string
	}{
		{name: "whole run", s: Flow{1, 0.5, 0}},
		{name: "part of a run", s: Flow{0.9, 0.1}},
		{name: "neighbouring floats", s: Flow{math.Nextafter(0.5, 1), 0.5}},
		{name: "pointer", s: &Flow{1, 0}},
		{name: "func", s: fromFunc(func(i int) Point { return Level(1 - float64(i)) })},
		{name: "signal need not rise", s: Points{{1, 0.5, 1}, {0.5, 0.5, 0.5}}},
		{name: "time need not fall", s: Points{{0, 0, 1}, {1, 1, 0}}},

		{"nil", nil, ErrNil, "schedule: scheduler is nil"},
		{"nil pointer", (*Flow)(nil), ErrNil, "schedule: scheduler is nil"},
		{"nil func", fromFunc(nil), ErrNil, "schedule: scheduler is nil"},
		{"nil Flow", Flow(nil), ErrShort, "schedule: Steps is -1: fewer than two points"},
		{"nil Points", Points(nil), ErrShort, "schedule: Steps is -1: fewer than two points"},
		{"empty", Flow{}, ErrShort, "schedule: Steps is -1: fewer than two points"},
		{"one", Flow{1}, ErrShort, "schedule: Steps is 0: fewer than two points"},

		{"rising", Flow{0, 0.5, 1}, ErrOrder, "schedule: level 1 (0.5) is not below level 0 (0); a run from data to noise is an Inversion: noise does not decrease strictly"},
		{"equal", Flow{1, 0.9, 0.7, 0.7, 0}, ErrOrder, "schedule: level 3 (0.7) is not below level 2 (0.7): noise does not decrease strictly"},
		{"equal zeros", Flow{1, 0, math.Copysign(0, -1)}, ErrOrder, "schedule: level 2 (-0) is not below level 1 (0): noise does not decrease strictly"},

		{"first NaN", Flow{nan, 0.5}, ErrRange, "schedule: level 0: noise is NaN: coefficient outside [0, 1]"},
		{"last NaN", Flow{1, nan}, ErrRange, "schedule: level 1: noise is NaN: coefficient outside [0, 1]"},
		{"infinite", Flow{inf, 0.5}, ErrRange, "schedule: level 0: noise is +Inf: coefficient outside [0, 1]"},
		{"minus infinite", Flow{1, -inf}, ErrRange, "schedule: level 1: noise is -Inf: coefficient outside [0, 1]"},
		{"above 1", Flow{math.Nextafter(1, 2), 0.5}, ErrRange, "schedule: level 0: noise is 1.0000000000000002: coefficient outside [0, 1]"},
		{"below 0", Flow{1, -0.25}, ErrRange, "schedule: level 1: noise is -0.25: coefficient outside [0, 1]"},
		{"timesteps for levels", Flow{1000, 500, 0}, ErrRange, "schedule: level 0: noise is 1000: coefficient outside [0, 1]"},
		{"signal NaN", Points{{1, 0, 1}, {0, nan, 0}}, ErrRange, "schedule: level 1: signal is NaN: coefficient outside [0, 1]"},
		{"signal below 0", Points{{1, -0.5, 1}, {0, 1, 0}}, ErrRange, "schedule: level 0: signal is -0.5: coefficient outside [0, 1]"},
		{"time NaN", Points{{nan, 0, 1}, {0, 1, 0}}, ErrRange, "schedule: level 0: time is NaN: coefficient outside [0, 1]"},
		{"time 999", Points{{999, 0, 1}, {0, 1, 0}}, ErrRange, "schedule: level 0: time is 999: coefficient outside [0, 1]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Validate(tc.s)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Validate = %v, want %v", err, tc.want)
			}
			if err != nil && err.Error() != tc.text {
				t.Errorf("Validate = %q, want %q", err, tc.text)
			}
		})
	}
}

// sound is Validate without the reasons, for lists.
func sound(p Points) bool {
	for i, c := range p {
		for _, x := range []float64{c.Time, c.Signal, c.Noise} {
			if math.IsNaN(x) || x < 0 || x > 1 {
				return false
			}
		}
		if i > 0 && p[i-1].Noise <= c.Noise {
			return false
		}
	}
	return len(p) >= 2
}

// FuzzValidate reads a list of points out of data. Validate accepts the sound
// ones, no other, and says why in one of its errors.
func FuzzValidate(f *testing.F) {
	pack := func(p ...Point) (b []byte) {
		for _, c := range p {
			for _, x := range []float64{c.Time, c.Signal, c.Noise} {
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
			}
		}
		return b
	}
	f.Add(pack())
	f.Add(pack(Level(1)))
	f.Add(pack(Level(1), Level(0.5), Level(0)))
	f.Add(pack(Level(0.5), Level(0.5)))
	f.Add(pack(Level(0), Level(1)))
	f.Add(pack(Level(1), Level(math.NaN())))
	f.Add(pack(VPLevel(1, 0), VPLevel(0.5, 2), VPLevel(0, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Points
		for ; len(data) >= 24; data = data[24:] {
			p = append(p, Point{
				Time:   math.Float64frombits(binary.LittleEndian.Uint64(data)),
				Signal: math.Float64frombits(binary.LittleEndian.Uint64(data[8:])),
				Noise:  math.Float64frombits(binary.LittleEndian.Uint64(data[16:])),
			})
		}
		err := Validate(p)
		if (err == nil) != sound(p) {
			t.Fatalf("Validate(%v) = %v", p, err)
		}
		if err != nil && !errors.Is(err, ErrShort) && !errors.Is(err, ErrRange) && !errors.Is(err, ErrOrder) {
			t.Fatalf("Validate(%v) = %v, which wraps none of the errors", p, err)
		}
	})
}

// anyFloat draws every kind of float64.
func anyFloat() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Float64Range(0, 1),
		rapid.Float64(),
		rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1, -1,
			math.SmallestNonzeroFloat64, math.MaxFloat64, math.Nextafter(1, 2)}),
	)
}

// constructorsProperty calls every constructor with any numbers. None may panic,
// and Validate must refuse what nonsense gives.
func constructorsProperty(t *rapid.T) {
	x := func(name string) float64 { return anyFloat().Draw(t, name) }
	n := rapid.OneOf(rapid.IntRange(-2, 40), rapid.IntMin(MaxSteps+1), rapid.Just(math.MaxInt)).Draw(t, "n")
	var f Flow
	switch rapid.IntRange(0, 14).Draw(t, "constructor") {
	case 0:
		f = Linear(n)
	case 1:
		f = Even(n, x("hi"), x("lo"))
	case 2:
		f = Karras(n, x("hi"), x("lo"), x("rho"))
	case 3:
		f = Exponential(n, x("hi"), x("lo"))
	case 4:
		f = Beta(n, x("hi"), x("lo"), x("a"), x("b"))
	case 5:
		f = DoubleShift(n, x("s"))
	case 6:
		f = DPMSolver(n, x("s"))
	case 7:
		f = UniPC(n, x("s"))
	case 8:
		f = KLOptimal(n, x("hi"), x("lo"))
	case 9:
		f = LinearQuadratic(n, rapid.Int().Draw(t, "linear"), x("threshold"))
	case 10:
		f = SD3(n)
	case 11:
		f = ZImage(n)
	case 12:
		f = Flux1(n, rapid.Int().Draw(t, "seqLen"))
	case 13:
		f = Flux2(n, rapid.Int().Draw(t, "seqLen"))
	case 14:
		f = QwenImage(n, rapid.Int().Draw(t, "seqLen"))
	}
	switch rapid.IntRange(0, 4).Draw(t, "method") {
	case 1:
		f = f.Shift(x("shift"))
	case 2:
		f = f.DynamicShift(x("mu"))
	case 3:
		f = f.StretchTerminal(x("end"))
	case 4:
		f = f.ToZero()
	}
	p := Points{}
	for i := range f {
		p = append(p, f.At(i))
	}
	if err := Validate(f); (err == nil) != sound(p) {
		t.Fatalf("Validate(%v) = %v", f, err)
	}
}

func TestConstructorsTakeAnything(t *testing.T) { rapid.Check(t, constructorsProperty) }

func FuzzConstructorsTakeAnything(f *testing.F) { f.Fuzz(rapid.MakeFuzz(constructorsProperty)) }

// A number that makes no sense must not vanish, whatever the others are.
func TestNonsenseIsRefused(t *testing.T) {
	bad := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1}
	for name, build := range map[string]func(x float64, n int) Flow{
		"Even hi":         func(x float64, n int) Flow { return Even(n, x, 0.1) },
		"Even lo":         func(x float64, n int) Flow { return Even(n, 1, x) },
		"Karras hi":       func(x float64, n int) Flow { return Karras(n, x, 0.1, 7) },
		"Karras lo":       func(x float64, n int) Flow { return Karras(n, 1, x, 7) },
		"Exponential hi":  func(x float64, n int) Flow { return Exponential(n, x, 0.1) },
		"Exponential lo":  func(x float64, n int) Flow { return Exponential(n, 1, x) },
		"Beta hi":         func(x float64, n int) Flow { return Beta(n, x, 0.1, 0.6, 0.6) },
		"Beta lo":         func(x float64, n int) Flow { return Beta(n, 1, x, 0.6, 0.6) },
		"Beta a":          func(x float64, n int) Flow { return Beta(n, 1, 0.1, x, 0.6) },
		"Beta b":          func(x float64, n int) Flow { return Beta(n, 1, 0.1, 0.6, x) },
		"KLOptimal hi":    func(x float64, n int) Flow { return KLOptimal(n, x, 0.1) },
		"KLOptimal lo":    func(x float64, n int) Flow { return KLOptimal(n, 1, x) },
		"LinearQuadratic": func(x float64, n int) Flow { return LinearQuadratic(n, 2, x) },
		"DoubleShift":     func(x float64, n int) Flow { return DoubleShift(n, x) },
		"DPMSolver":       func(x float64, n int) Flow { return DPMSolver(n, x) },
		"UniPC":           func(x float64, n int) Flow { return UniPC(n, x) },
		"Shift":           func(x float64, n int) Flow { return Linear(n).Shift(x) },
		"StretchTerminal": func(x float64, n int) Flow { return Linear(n).StretchTerminal(x) },
	} {
		for _, x := range bad {
			if f := build(x, 5); Validate(f) == nil {
				t.Errorf("%s = %v gives %v", name, x, f)
			}
		}
		// One step has no use for some of the numbers, but NaN shows all the same.
		if f := build(math.NaN(), 1); Validate(f) == nil {
			t.Errorf("%s = NaN and one step gives %v", name, f)
		}
		for _, n := range []int{0, -1, math.MinInt, MaxSteps + 1, math.MaxInt} {
			if err := Validate(build(0.5, n)); !errors.Is(err, ErrShort) {
				t.Errorf("%s with %d steps: %v, want %v", name, n, err, ErrShort)
			}
		}
	}
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if f := Linear(5).DynamicShift(x); Validate(f) == nil {
			t.Errorf("DynamicShift(%v) gives %v", x, f)
		}
		if f := Karras(5, 1, 0.1, x); math.IsNaN(x) && Validate(f) == nil {
			t.Errorf("Karras rho = %v gives %v", x, f)
		}
	}
	for _, s := range append(bad, 0, math.Copysign(0, -1)) {
		for _, x := range (Flow{1, 0.5, 0}).Shift(s) {
			if !math.IsNaN(x) {
				t.Errorf("Shift(%v) gives a level %v", s, x)
			}
		}
	}
	for _, x := range append(bad, 0) {
		for _, f := range []Flow{Beta(1, 1, 0.1, x, 0.6), Beta(1, 1, 0.1, 0.6, x)} {
			if !math.IsNaN(f[0]) {
				t.Errorf("Beta with parameter %v gives %v", x, f)
			}
		}
	}
	for _, linear := range []int{0, -1, math.MinInt, math.MaxInt} {
		if f := LinearQuadratic(5, linear, 0.1); Validate(f) == nil && linear != math.MaxInt {
			t.Errorf("LinearQuadratic with %d even steps gives %v", linear, f)
		}
	}
	if f := Linear(5).DynamicShift(Mu(10, 256, 256, 0.5, 1.15)); Validate(f) == nil {
		t.Errorf("Mu on a line of no length gives %v", f)
	}
}
