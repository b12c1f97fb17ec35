package schedule

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

const ulp = 0x1p-53 // half a unit in the last place of 1

func within(tol float64) cmp.Option { return cmpopts.EquateApprox(0, tol) }

func TestPoint(t *testing.T) {
	if got, want := Level(0.25), (Point{Time: 0.25, Signal: 0.75, Noise: 0.25}); got != want {
		t.Errorf("Level(0.25) = %v, want %v", got, want)
	}
	if got, want := VPLevel(0.5, 0.25), (Point{Time: 0.5, Signal: 0.5, Noise: math.Sqrt(0.75)}); got != want {
		t.Errorf("VPLevel(0.5, 0.25) = %v, want %v", got, want)
	}
	for _, tc := range []struct {
		p        Point
		flow, vp bool
	}{
		{Level(1), true, true},
		{Level(0), true, true},
		{Level(0.3), true, false},
		{Point{Signal: 0.1, Noise: 0.9}, true, false}, // 1 - 0.9 is not 0.1 in float64
		{Point{Time: 1, Signal: 0.3, Noise: 0.7}, true, false},
		{VPLevel(0.2, 0.7), false, true},
		{Point{Signal: 0.6, Noise: 0.8}, false, true},
		{Point{Signal: 0.5, Noise: 0.5 + 0x1p-49}, false, false},
		{Point{Signal: 0.6, Noise: 0.8 + 0x1p-49}, false, false},
		{Point{}, false, false},
		{Point{Signal: math.NaN(), Noise: 1}, false, false},
		{Point{Signal: 1, Noise: math.NaN()}, false, false},
	} {
		if flow, vp := tc.p.OnFlow(), tc.p.OnVP(); flow != tc.flow || vp != tc.vp {
			t.Errorf("%v: OnFlow %v, OnVP %v, want %v, %v", tc.p, flow, vp, tc.flow, tc.vp)
		}
	}
}

func TestPathsContainTheirPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float64Range(0, 1).Draw(t, "x")
		if p := Level(x); !p.OnFlow() {
			t.Fatalf("Level(%v) = %v is not OnFlow", x, p)
		}
		if p := VPLevel(x, x); !p.OnVP() {
			t.Fatalf("VPLevel(%v) = %v is not OnVP", x, p)
		}
	})
}

func TestKnownLevels(t *testing.T) {
	for name, tc := range map[string]struct{ got, want Flow }{
		"Linear":                {Linear(4), Flow{1, 0.75, 0.5, 0.25, 0}},
		"Linear(1)":             {Linear(1), Flow{1, 0}},
		"Shift(3)":              {Linear(4).Shift(3), Flow{1, 0.9, 0.75, 0.5, 0}},
		"Shift(1)":              {Linear(3).Shift(1), Linear(3)},
		"DynamicShift(0)":       {Linear(3).DynamicShift(0), Linear(3)},
		"Even":                  {Even(3, 0.9, 0.5), Flow{0.9, 0.7, 0.5, 0}},
		"Even(1)":               {Even(1, 0.9, 0.5), Flow{0.9, 0}},
		"Even, Linear":          {Even(7, 1, 1.0/7), Linear(7)},
		"Karras, rho 1":         {Karras(5, 1, 0.2, 1), Even(5, 1, 0.2)},
		"Karras, rho 2":         {Karras(3, 0.64, 0.04, 2), Flow{0.64, 0.25, 0.04, 0}},
		"Karras, rho -1":        {Karras(3, 1, 1.0/3, -1), Flow{1, 1.0 / 2, 1.0 / 3, 0}},
		"Karras(1)":             {Karras(1, 0.9, 0.5, 7), Flow{0.9, 0}},
		"Exponential":           {Exponential(4, 1, 0.125), Flow{1, 0.5, 0.25, 0.125, 0}},
		"Exponential(1)":        {Exponential(1, 0.9, 0.5), Flow{0.9, 0}},
		"Beta(1, 1)":            {Beta(5, 1, 0.2, 1, 1), Even(5, 1, 0.2)},
		"Beta(1)":               {Beta(1, 0.9, 0.5, 0.6, 0.6), Flow{0.9, 0}},
		"StretchTerminal":       {Flow{1, 0.8, 0.6, 0}.StretchTerminal(0.2), Flow{1, 0.6, 0.2, 0}},
		"StretchTerminal, no 0": {Flow{1, 0.8, 0.6}.StretchTerminal(0.2), Flow{1, 0.6, 0.2}},
		"StretchTerminal, nil":  {Flow(nil).StretchTerminal(0.2), Flow{}},
		"StretchTerminal, 0":    {Flow{0}.StretchTerminal(0.2), Flow{0}},
		"StretchTerminal, 1":    {Linear(1).StretchTerminal(0.02), Flow{1, 0}},
		"StretchTerminal, 1 1":  {Flow{1}.StretchTerminal(0.02), Flow{1}},
		"KLOptimal":             {KLOptimal(3, 1, 2-math.Sqrt(3)), Flow{1, 1 / math.Sqrt(3), 2 - math.Sqrt(3), 0}},
		"KLOptimal(1)":          {KLOptimal(1, 1, 0.5), Flow{1, 0}},
		"LinearQuadratic":       {LinearQuadratic(4, 2, 0.25), Flow{1, 0.875, 0.75, 0.5, 0}},
		"LinearQuadratic, even": {LinearQuadratic(5, 2, 0.4), Linear(5)},
		"LinearQuadratic, line": {LinearQuadratic(4, 4, 0.5), Flow{1, 0.875, 0.75, 0.625, 0}},
		"Flux2Mu":               {Linear(2).DynamicShift(Flux2Mu(4096, 4)), Flow{1, 0.9081439225213331, 0}},
		"SD3":                   {SD3(4), DoubleShift(4, 3)},
		"ZImage":                {ZImage(4), Flow{1, 0.9, 0.75, 0.5, 0}},
		"Flux1, mu 0.5":         {Flux1(2, 256), Flow{1, 1 / (1 + math.Exp(-0.5)), 0}},
		"Flux2":                 {Flux2(4, 4096), Flow{1, 0.9673839882381499, 0.9081439225213331, 0.7671999638747197, 0}},
		"QwenImage":             {QwenImage(5, 6032), Flow{1, 0.8452246721455831, 0.6471333158743874, 0.3845835463258784, 0.02, 0}},
		"ToZero":                {Flow{1, 0.5}.ToZero(), Flow{1, 0.5, 0}},
		"ToZero twice":          {Flow{1, 0.5}.ToZero().ToZero(), Flow{1, 0.5, 0}},
		"ToZero, nil":           {Flow(nil).ToZero(), Flow{0}},
		"FlowOf float32":        {FlowOf([]float32{1, 0.5, 0}), Flow{1, 0.5, 0}},
		"FlowOf float64":        {FlowOf([]float64{1, 0.3, 0}), Flow{1, 0.3, 0}},
		"DoubleShift(1)":        {DoubleShift(1, 3), Flow{1, 0}},
		"DoubleShift, shift 1":  {DoubleShift(3, 1), Flow{1, 0.5005, 0.001, 0}},
		"DPMSolver, shift 1":    {DPMSolver(3, 1), Flow{0.999, 0.666, 0.333, 0}},
		"UniPC, shift 1":        {UniPC(3, 1), Flow{1 - 1e-6, 0.667, 0.334, 0}},
		"UniPC(1)":              {UniPC(1, 3), Flow{1 - 1e-6, 0}},
	} {
		// The longest chain of roundings is Karras': two powers of at most 7 with
		// an ulp or two each.
		if d := cmp.Diff(tc.want, tc.got, within(32*ulp)); d != "" {
			t.Errorf("%s: want -, got +\n%s", name, d)
		}
	}
	if got, want := FlowOf([]float32{0.1})[0], 0.10000000149011612; got != want {
		t.Errorf("FlowOf(float32 0.1) = %v, want %v", got, want)
	}
}

// levels draws a schedule on a grid of 2⁻²⁰, which the shifts below cannot make
// coincide.
func levels() *rapid.Generator[Flow] {
	return rapid.Custom(func(t *rapid.T) Flow {
		f := FlowOf(rapid.SliceOfNDistinct(rapid.Map(rapid.IntRange(0, 1<<20), func(k int) float64 {
			return float64(k) / (1 << 20)
		}), 2, 40, rapid.ID).Draw(t, "levels"))
		slices.Sort(f)
		slices.Reverse(f)
		return f
	})
}

func shiftProperty(t *rapid.T) {
	f := levels().Draw(t, "f")
	a := rapid.Float64Range(1.0/16, 16).Draw(t, "a")
	b := rapid.Float64Range(1.0/16, 16).Draw(t, "b")
	before := slices.Clone(f)
	g := f.Shift(a)

	if err := Validate(g); err != nil {
		t.Fatal(err)
	}
	for i, u := range f {
		if (u == 0 || u == 1) && g[i] != u {
			t.Fatalf("Shift(%v) moves %v to %v", a, u, g[i])
		}
	}
	// Four roundings make a shifted level, and the second shift multiplies the
	// relative error of the first by at most 1/b.
	if d := cmp.Diff(f.Shift(a*b), g.Shift(b), cmpopts.EquateApprox(80*ulp, 0)); d != "" {
		t.Fatalf("Shift(%v).Shift(%v) is not Shift(%v):\n%s", a, b, a*b, d)
	}
	if d := cmp.Diff(f, g.Shift(1/a), cmpopts.EquateApprox(80*ulp, 0)); d != "" {
		t.Fatalf("Shift(%v).Shift(1/%v) is not the identity:\n%s", a, a, d)
	}
	// log a is off by a rounding of at most log 16 < 3, e^log a by an ulp.
	if d := cmp.Diff(g, f.DynamicShift(math.Log(a)), cmpopts.EquateApprox(8*ulp, 0)); d != "" {
		t.Fatalf("DynamicShift(log %v) is not Shift:\n%s", a, d)
	}
	for i := 1; i < len(f); i++ {
		t0, u0, t1, u1 := f[i-1], f[i], g[i-1], g[i]
		want, got := (1-t0)*u0/(t0*(1-u0)), (1-t1)*u1/(t1*(1-u1))
		// A shifted level has relative error 4 ulp, which 1-t1 and 1-u1 divide by.
		tol := 8*ulp + 4*ulp*(1+1/(1-u1))
		if t1 < 1 {
			tol += 4 * ulp / (1 - t1)
		}
		if !(math.Abs(got-want) <= tol*want) {
			t.Fatalf("e^-h from %v to %v is %v, after Shift(%v) %v", t0, u0, want, a, got)
		}
	}
	if !slices.Equal(f, before) {
		t.Fatal("Shift changed its receiver")
	}
}

func TestShiftProperties(t *testing.T) { rapid.Check(t, shiftProperty) }

func FuzzShiftProperties(f *testing.F) { f.Fuzz(rapid.MakeFuzz(shiftProperty)) }

func TestStretchTerminalProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := levels().Draw(t, "f")
		n := len(f)
		if f[n-1] == 0 {
			n--
		}
		if f[n-1] == 1 {
			return // nothing to stretch
		}
		end := rapid.Float64Range(1e-3, 0.999).Draw(t, "end")
		before := slices.Clone(f)
		g := f.StretchTerminal(end)
		if err := Validate(g); err != nil {
			t.Fatal(err)
		}
		if g[n-1] != end {
			t.Fatalf("last level is %v, want %v", g[n-1], end)
		}
		if n < len(f) && g[n] != 0 {
			t.Fatalf("final level is %v, want 0", g[n])
		}
		for i, u := range f[:n] {
			// Both sides are at most 1; five roundings.
			if got, want := 1-g[i], (1-u)*(1-end)/(1-f[n-1]); math.Abs(got-want) > 5*2*ulp {
				t.Fatalf("1 - level %d is %v, want %v", i, got, want)
			}
		}
		if !slices.Equal(f, before) {
			t.Fatal("StretchTerminal changed its receiver")
		}
	})
}

// Every spacing starts at hi, ends at lo and 0, and is a schedule.
func spacingProperty(t *rapid.T) {
	n := rapid.IntRange(2, 1000).Draw(t, "n")
	lo := rapid.Float64Range(1e-4, 0.5).Draw(t, "lo")
	hi := rapid.Float64Range(0.6, 1).Draw(t, "hi")
	rho := rapid.Float64Range(0.5, 20).Draw(t, "rho")
	a := rapid.Float64Range(0.4, 4).Draw(t, "a")
	b := rapid.Float64Range(0.4, 4).Draw(t, "b")
	for name, f := range map[string]Flow{
		"Even":        Even(n, hi, lo),
		"Karras":      Karras(n, hi, lo, rho),
		"Exponential": Exponential(n, hi, lo),
		"Beta":        Beta(n, hi, lo, a, b),
		"KLOptimal":   KLOptimal(n, hi, lo),
	} {
		if err := Validate(f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f.Steps() != n || f[0] != hi || f[n] != 0 {
			t.Fatalf("%s: %d steps from %v to %v, want %d from %v to 0", name, f.Steps(), f[0], f[n], n, hi)
		}
		// The last level is (lo/hi)^(1/rho) raised to rho and times hi. Its error is
		// that of the power, an ulp, times rho ≤ 20, and of 1 + (q-1), which weighs
		// 1/q = (hi/lo)^(1/rho).
		tol := 16 * ulp * (1 + rho*math.Pow(hi/lo, 1/rho))
		if !(math.Abs(f[n-1]-lo) <= tol*lo) {
			t.Fatalf("%s: last level above 0 is %v, want %v", name, f[n-1], lo)
		}
	}
}

func TestSpacings(t *testing.T) { rapid.Check(t, spacingProperty) }

func FuzzSpacings(f *testing.F) { f.Fuzz(rapid.MakeFuzz(spacingProperty)) }

// Karras tends to Exponential: (1 + r(q-1))^rho with q = (lo/hi)^(1/rho) differs
// from (lo/hi)^r by less than log²(lo/hi)/(8 rho) of it.
func TestKarrasTendsToExponential(t *testing.T) {
	const rho = 1e6
	tol := math.Pow(math.Log(100), 2) / (8 * rho)
	if d := cmp.Diff(Exponential(20, 1, 0.01), Karras(20, 1, 0.01, rho), cmpopts.EquateApprox(2*tol, 0)); d != "" {
		t.Error(d)
	}
	if cmp.Equal(Exponential(20, 1, 0.01), Karras(20, 1, 0.01, 7), cmpopts.EquateApprox(2*tol, 0)) {
		t.Error("rho 7 makes no difference")
	}
}

// The quantiles of Beta(1/2, 1/2) are sin²(πp/2), and those of Beta(2, 1) are √p. For
// any other Beta, the distribution function takes a quantile back to its p. The
// iteration stops at a relative step of about 1e-14, says its source.
func TestBetaQuantiles(t *testing.T) {
	const n = 101
	f := Beta(n, 1, 0, 0.5, 0.5)
	for i := range n {
		s := math.Sin(math.Pi / 2 * float64(n-1-i) / (n - 1))
		if math.Abs(f[i]-s*s) > 1e-12 {
			t.Errorf("quantile %d of Beta(1/2, 1/2) is %v, want %v", n-1-i, f[i], s*s)
		}
	}
	f = Beta(n, 1, 0, 2, 1)
	for i := range n {
		if want := math.Sqrt(float64(n-1-i) / (n - 1)); math.Abs(f[i]-want) > 1e-12 {
			t.Errorf("quantile %d of Beta(2, 1) is %v, want %v", n-1-i, f[i], want)
		}
	}
	d := distuv.Beta{Alpha: 0.6, Beta: 0.6}
	f = Beta(n, 1, 0, 0.6, 0.6)
	for i := range n {
		if p, want := d.CDF(f[i]), float64(n-1-i)/(n-1); math.Abs(p-want) > 1e-12 {
			t.Errorf("P(X ≤ level %d) = %v, want %v", i, p, want)
		}
	}
}

// Levels at one angle apart: tan of a difference by the addition theorem.
func TestKLOptimalAngles(t *testing.T) {
	f := KLOptimal(50, 0.97, 0.003)
	apart := func(i int) float64 { return (f[i] - f[i+1]) / (1 + f[i]*f[i+1]) }
	for i := range 49 {
		if got, want := apart(i), apart(0); math.Abs(got-want) > 8*ulp {
			t.Errorf("tangent of the angle from level %d to the next is %v, want %v", i, got, want)
		}
	}
}

// The line has its slope, the parabola its second difference, and both join without a
// bend and end at 0.
func TestLinearQuadratic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 200).Draw(t, "n")
		k := rapid.IntRange(1, n-1).Draw(t, "linear")
		th := rapid.Float64Range(1e-3, 1).Draw(t, "share") * float64(k) / float64(n)
		f := LinearQuadratic(n, k, th)
		if err := Validate(f); err != nil {
			t.Fatal(err)
		}
		if f.Steps() != n || f[0] != 1 || f[n] != 0 || math.Abs(f[k]-(1-th)) > 2*ulp {
			t.Fatalf("%d steps from %v through %v to %v, want %d from 1 through %v to 0", f.Steps(), f[0], f[k], f[n], n, 1-th)
		}
		bend := 2 * (1 - float64(n)*th/float64(k)) / float64((n-k)*(n-k))
		for i := 1; i < n; i++ {
			want := 0.0
			switch {
			case i == k:
				want = -bend / 2
			case i > k:
				want = -bend
			}
			if got := f[i+1] - 2*f[i] + f[i-1]; math.Abs(got-want) > 16*ulp {
				t.Fatalf("second difference at level %d is %v, want %v", i, got, want)
			}
		}
	})
}

func TestFlux2Mu(t *testing.T) {
	for _, tc := range []struct {
		seqLen, n int
		want      float64
	}{
		{4096, 10, 8.73809524e-5*4096 + 1.89833333},
		{4096, 200, 0.00016927*4096 + 0.45666666},
		{4300, 200, 0.00016927*4300 + 0.45666666},
		{4301, 10, 0.00016927*4301 + 0.45666666}, // the other line no longer counts
		{4301, 200, 0.00016927*4301 + 0.45666666},
		{256, 1, 1.9879993152056084}, // recorded from diffusers
	} {
		if got := Flux2Mu(tc.seqLen, tc.n); math.Abs(got-tc.want) > 8*ulp {
			t.Errorf("Flux2Mu(%d, %d) = %v, want %v", tc.seqLen, tc.n, got, tc.want)
		}
	}
}

func TestMu(t *testing.T) {
	for _, tc := range []struct {
		seqLen int
		want   float64
	}{{256, 0.5}, {4096, 1.15}, {2176, 0.825}, {8192, 1.15 + 0.65*4096/3840}, {0, 0.5 - 0.65*256/3840}} {
		if got := FluxMu(tc.seqLen); math.Abs(got-tc.want) > 4*ulp*2 {
			t.Errorf("FluxMu(%d) = %v, want %v", tc.seqLen, got, tc.want)
		}
	}
	if got := Mu(15, 10, 20, 1, 3); got != 2 {
		t.Errorf("Mu = %v, want 2", got)
	}
}

// DoubleShift ends where its doc says, and one shift of 1/1000 does not.
func TestDoubleShift(t *testing.T) {
	f := DoubleShift(10, 3)
	if got, want := f[9], 9.0/1008; math.Abs(got-want) > 8*ulp*want {
		t.Errorf("lowest level is %v, want %v", got, want)
	}
	if got, want := Even(10, 1, 0.001).Shift(3)[9], 3.0/1002; math.Abs(got-want) > 8*ulp*want {
		t.Errorf("lowest level of one shift is %v, want %v", got, want)
	}
}
