package schedule

import (
	"errors"
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func mustVP(t *testing.T, betas []float64) *VP {
	t.Helper()
	v, err := NewVP(betas)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustZeroSNR(t *testing.T, v *VP) *VP {
	t.Helper()
	z, err := v.ZeroSNR()
	if err != nil {
		t.Fatal(err)
	}
	return z
}

var stableDiffusion = ScaledLinearBetas(1000, 0.00085, 0.012)

// ᾱ and 1-ᾱ of the float64 betas, in 200 bits. Both square roots must have all digits
// but those that a thousand roundings take: 1000·2⁻⁵³ = 1.1e-13 at worst.
func TestVPDigits(t *testing.T) {
	for name, betas := range map[string][]float64{
		"linear":        LinearBetas(1000, 1e-4, 0.02),
		"scaled linear": stableDiffusion,
		"cosine":        CosineBetas(1000),
		"tiny":          LinearBetas(1000, 1e-12, 1e-9),
	} {
		v := mustVP(t, betas)
		one := new(big.Float).SetPrec(200).SetInt64(1)
		alphaBar := new(big.Float).Copy(one)
		for i, b := range betas {
			beta := new(big.Float).SetPrec(200).SetFloat64(b)
			alphaBar.Mul(alphaBar, beta.Sub(one, beta))
			signal, _ := new(big.Float).Sqrt(alphaBar).Float64()
			noise, _ := new(big.Float).Sqrt(new(big.Float).Sub(one, alphaBar)).Float64()
			p := v.Point(i)
			if e := math.Abs(p.Signal-signal) / signal; !(e <= 1000*ulp) {
				t.Fatalf("%s: signal at %d is %v, want %v: off by %.2g of it", name, i, p.Signal, signal, e)
			}
			if e := math.Abs(p.Noise-noise) / noise; !(e <= 1000*ulp) {
				t.Fatalf("%s: noise at %d is %v, want %v: off by %.2g of it", name, i, p.Noise, noise, e)
			}
			if !p.OnVP() {
				t.Fatalf("%s: %+v is not OnVP", name, p)
			}
		}
	}
}

// The product of the cosine betas has a closed form up to the capped last one:
// f((t+1)/n)/f(0), as a difference of squares for 1-ᾱ.
func TestCosineBetas(t *testing.T) {
	const n = 1000
	b := CosineBetas(n)
	v := mustVP(t, b)
	angle := func(t int) float64 { return (float64(t)/n + 0.008) / 1.008 * math.Pi / 2 }
	a := angle(0)
	for i := range n - 1 {
		if b[i] >= 0.999 {
			t.Fatalf("beta %d is capped", i)
		}
		c := angle(i + 1)
		want := VPLevel(float64(i)/n, math.Pow(math.Cos(c)/math.Cos(a), 2))
		want.Noise = math.Sqrt(math.Sin(c-a)*math.Sin(c+a)) / math.Cos(a)
		// A thousand roundings; the cosine near π/2, and the sine of a small
		// difference, lose three digits to the rounding of the angle.
		if d := cmp.Diff(want, v.Point(i), cmpopts.EquateApprox(2e-12, 0)); d != "" {
			t.Fatalf("timestep %d: want -, got +\n%s", i, d)
		}
	}
	if b[n-1] != 0.999 {
		t.Errorf("last beta is %v, want the cap", b[n-1])
	}
}

func TestBetas(t *testing.T) {
	for name, tc := range map[string]struct{ got, want []float64 }{
		"linear":           {LinearBetas(5, 0.1, 0.5), []float64{0.1, 0.2, 0.3, 0.4, 0.5}},
		"linear 1":         {LinearBetas(1, 0.1, 0.5), []float64{0.1}},
		"linear 0":         {LinearBetas(0, 0.1, 0.5), nil},
		"linear ∞":         {LinearBetas(math.MaxInt, 0.1, 0.5), nil},
		"scaled linear ∞":  {ScaledLinearBetas(MaxSteps+1, 0.1, 0.5), nil},
		"cosine ∞":         {CosineBetas(math.MaxInt), nil},
		"scaled linear":    {ScaledLinearBetas(3, 0.01, 0.25), []float64{0.01, 0.09, 0.25}},
		"scaled linear -1": {ScaledLinearBetas(-1, 0.01, 0.25), nil},
		"cosine 0":         {CosineBetas(0), nil},
	} {
		if d := cmp.Diff(tc.want, tc.got, cmpopts.EquateApprox(4*ulp, 0)); d != "" {
			t.Errorf("%s: want -, got +\n%s", name, d)
		}
	}
}

// DDPM's ᾱ(999), multiplied out in decimal elsewhere, and Stable Diffusion's
// published alphas_cumprod at both ends (float32).
func TestKnownAlphaBar(t *testing.T) {
	ddpm, sd := mustVP(t, LinearBetas(1000, 1e-4, 0.02)), mustVP(t, stableDiffusion)
	for name, tc := range map[string]struct{ got, want, tol float64 }{
		"DDPM":             {ddpm.AlphaBar(999), 4.0358297653756754e-05, 1000 * ulp},
		"DDPM first":       {ddpm.AlphaBar(0), 0.9999, 2 * ulp},
		"Stable Diffusion": {sd.AlphaBar(999), 0.004660096, 1000 * 0x1p-25},
		"first":            {sd.AlphaBar(0), 0.99915, 2 * ulp},
	} {
		if !(math.Abs(tc.got-tc.want) <= tc.tol*tc.want) {
			t.Errorf("%s: %v, want %v", name, tc.got, tc.want)
		}
	}
}

func TestZeroSNR(t *testing.T) {
	for name, betas := range map[string][]float64{
		"linear": LinearBetas(1000, 1e-4, 0.02), "scaled linear": stableDiffusion, "cosine": CosineBetas(1000),
	} {
		v := mustVP(t, betas)
		z := mustZeroSNR(t, v)
		first, last := v.Point(0), v.Point(999)
		if got, want := z.Point(999), (Point{Time: 0.999, Signal: 0, Noise: 1}); got != want {
			t.Errorf("%s: last point is %v, want %v", name, got, want)
		}
		if d := cmp.Diff(first, z.Point(0), cmpopts.EquateApprox(0, 0)); d != "" {
			t.Errorf("%s: first point: want -, got +\n%s", name, d)
		}
		for i := range 1000 {
			got, a := z.Point(i), v.Point(i).Signal
			want := (a - last.Signal) * first.Signal / (first.Signal - last.Signal)
			if math.Abs(got.Signal-want) > 8*ulp {
				t.Fatalf("%s: signal at %d is %v, want %v", name, i, got.Signal, want)
			}
			if !got.OnVP() {
				t.Fatalf("%s: %v is not OnVP", name, got)
			}
		}
		// Rescaled already, it stays.
		if d := cmp.Diff(z, mustZeroSNR(t, z), cmp.AllowUnexported(VP{}), cmpopts.EquateApprox(16*ulp, 0)); d != "" {
			t.Errorf("%s: twice is not once:\n%s", name, d)
		}
		if v.AlphaBar(999) == 0 {
			t.Errorf("%s: ZeroSNR changed its receiver", name)
		}
	}
}

// The noise of the first timesteps survives the rescaling with all its digits.
func TestZeroSNRDigits(t *testing.T) {
	betas := LinearBetas(1000, 1e-10, 0.02)
	z := mustZeroSNR(t, mustVP(t, betas))
	big1 := new(big.Float).SetPrec(300).SetInt64(1)
	signal := make([]*big.Float, len(betas))
	alphaBar := new(big.Float).Copy(big1)
	for i, b := range betas {
		beta := new(big.Float).SetPrec(300).SetFloat64(b)
		alphaBar.Mul(alphaBar, beta.Sub(big1, beta))
		signal[i] = new(big.Float).Sqrt(alphaBar)
	}
	first, last := signal[0], signal[len(signal)-1]
	span := new(big.Float).Sub(first, last)
	for i, a := range signal[:len(signal)-1] {
		s := new(big.Float).Sub(a, last)
		s.Mul(s, first).Quo(s, span)
		rest := new(big.Float).Sub(big1, s.Mul(s, s))
		want, _ := new(big.Float).Sqrt(rest).Float64()
		if got := z.Point(i).Noise; !(math.Abs(got-want) <= 1000*ulp*want) {
			t.Fatalf("noise at %d is %v, want %v", i, got, want)
		}
	}
}

// The first timestep stays as it is and the others keep their distances from it, also
// where √ᾱ hardly falls.
func TestZeroSNRShallow(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, betas []float64) {
		v, err := NewVP(betas)
		if err != nil {
			t.Fatalf("%v", err)
		}
		z, err := v.ZeroSNR()
		if err != nil {
			if v.rest[0] < v.rest[v.Len()-1] {
				t.Fatalf("%v", err)
			}
			return
		}
		if z.Point(0) != v.Point(0) {
			t.Fatalf("betas %v: first point is %v, want %v", betas, z.Point(0), v.Point(0))
		}
		if got := z.Point(v.Len() - 1); got.Signal != 0 || got.Noise != 1 {
			t.Fatalf("betas %v: last point is %v", betas, got)
		}
		for i := 1; i < v.Len(); i++ {
			if !z.Point(i).OnVP() || z.rest[i] < z.rest[i-1] {
				t.Fatalf("betas %v: %v follows %v", betas, z.Point(i), z.Point(i-1))
			}
		}
	}
	check(t, []float64{6.358e-12, 2.4e-15})
	check(t, []float64{1e-300, 1e-300})
	check(t, []float64{0.5, 1, 1})
	rapid.Check(t, func(t *rapid.T) {
		exponent := rapid.Float64Range(-18, 0)
		betas := rapid.SliceOfN(rapid.Map(exponent, func(e float64) float64 { return math.Pow(10, e) }), 2, 50).Draw(t, "betas")
		check(t, betas)
	})
}

func TestTimesteps(t *testing.T) {
	v := mustVP(t, stableDiffusion)
	small := mustVP(t, LinearBetas(10, 0.01, 0.2))
	for name, tc := range map[string]struct{ got, want []int }{
		"leading":     {v.Leading(4, 1), []int{751, 501, 251, 1}},
		"leading 3":   {v.Leading(3, 0), []int{666, 333, 0}}, // 3 does not divide 1000
		"trailing":    {v.Trailing(4), []int{999, 749, 499, 249}},
		"trailing 6":  {v.Trailing(6), []int{999, 832, 666, 499, 332, 166}},
		"trailing 16": {v.Trailing(16)[:4], []int{999, 937, 874, 811}}, // 937.5 goes to 938, 812.5 to 812
		// 937.5 and 812.5, 499.5, just missed by numpy's own sums (its version 1.24).
		"trailing 48":  {v.Trailing(48)[:10], []int{999, 978, 957, 936, 916, 895, 874, 853, 832, 811}},
		"trailing 61":  {v.Trailing(61)[58:], []int{48, 32, 15}}, // numpy adds -1
		"linspace 27":  {v.Linspace(27)[12:15], []int{538, 499, 461}},
		"linspace":     {v.Linspace(5), []int{999, 749, 500, 250, 0}}, // 499.5 goes to 500
		"linspace 1":   {v.Linspace(1), []int{999}},
		"all leading":  {small.Leading(10, 0), []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		"all trailing": {small.Trailing(10), []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		"all linspace": {small.Linspace(10), []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		"leading 0":    {v.Leading(0, 1), nil},
		"trailing 0":   {v.Trailing(0), nil},
		"linspace -1":  {v.Linspace(-1), nil},
		"leading ∞":    {v.Leading(math.MaxInt, 1), nil},
		"trailing ∞":   {v.Trailing(math.MaxInt), nil},
		"linspace ∞":   {v.Linspace(math.MaxInt), nil},
	} {
		if !slices.Equal(tc.got, tc.want) {
			t.Errorf("%s: %v, want %v", name, tc.got, tc.want)
		}
	}
}

// Every spacing of every model that learns anything at each timestep is a
// schedule, and Time leads back to the timestep.
func vpProperty(t *rapid.T) {
	betas := rapid.SliceOfN(rapid.Float64Range(1e-6, 0.5), 2, 1000).Draw(t, "betas")
	v, err := NewVP(betas)
	if err != nil {
		t.Fatal(err)
	}
	// A step of beta 1e-6 must show in Noise: not beyond ᾱ = 1e-9.
	if v.AlphaBar(v.Len()-1) < 1e-9 {
		return
	}
	n := rapid.IntRange(1, v.Len()).Draw(t, "n")
	clean := Point{Signal: 1}
	for _, steps := range [][]int{v.Leading(n, 0), v.Trailing(n), v.Linspace(n)} {
		p, err := v.Points(steps, clean)
		if err != nil {
			t.Fatalf("%v: %v", steps, err)
		}
		if p.Steps() != n || p[n] != clean {
			t.Fatalf("%d steps to %v, want %d to %v", p.Steps(), p[n], n, clean)
		}
		for i, s := range steps {
			if got := int(math.Round(p[i].Time * float64(v.Len()))); got != s {
				t.Fatalf("Time %v leads to timestep %d, want %d", p[i].Time, got, s)
			}
			if !p[i].OnVP() {
				t.Fatalf("%v is not OnVP", p[i])
			}
			if math.Abs(p[i].Signal*p[i].Signal-v.AlphaBar(s)) > 4*ulp {
				t.Fatalf("Signal² at %d is %v, want %v", s, p[i].Signal*p[i].Signal, v.AlphaBar(s))
			}
		}
	}
}

func TestVPProperties(t *testing.T) { rapid.Check(t, vpProperty) }

func FuzzVPProperties(f *testing.F) { f.Fuzz(rapid.MakeFuzz(vpProperty)) }

func TestVPErrors(t *testing.T) {
	nan := math.NaN()
	for name, tc := range map[string]struct {
		betas []float64
		want  error
		text  string
	}{
		"none":     {nil, ErrShort, "schedule: no betas: fewer than two points"},
		"negative": {[]float64{0.1, -0.1}, ErrRange, "schedule: beta 1 is -0.1: coefficient outside [0, 1]"},
		"above 1":  {[]float64{1.5}, ErrRange, "schedule: beta 0 is 1.5: coefficient outside [0, 1]"},
		"NaN":      {LinearBetas(3, nan, 1), ErrRange, "schedule: beta 0 is NaN: coefficient outside [0, 1]"},
		"root":     {ScaledLinearBetas(3, -1, 1), ErrRange, "schedule: beta 0 is NaN: coefficient outside [0, 1]"},
		"infinite": {[]float64{math.Inf(1)}, ErrRange, "schedule: beta 0 is +Inf: coefficient outside [0, 1]"},
	} {
		if v, err := NewVP(tc.betas); v != nil || !errors.Is(err, tc.want) || err.Error() != tc.text {
			t.Errorf("%s: NewVP = %v, %v, want nil, %q", name, v, err, tc.text)
		}
	}

	v := mustVP(t, stableDiffusion)
	clean := Point{Signal: 1}
	for name, tc := range map[string]struct {
		steps []int
		final Point
		want  error
		text  string
	}{
		"none":           {nil, clean, ErrShort, "schedule: Steps is 0: fewer than two points"},
		"no steps":       {v.Leading(0, 0), clean, ErrShort, "schedule: Steps is 0: fewer than two points"},
		"above":          {v.Leading(2, 500), clean, ErrTimestep, "schedule: level 0: timestep 1000 is not in [0, 1000): timestep is not one of the model's"},
		"below":          {[]int{5, -1}, clean, ErrTimestep, "schedule: level 1: timestep -1 is not in [0, 1000): timestep is not one of the model's"},
		"rising":         {[]int{1, 2}, clean, ErrOrder, ""},
		"too many":       {v.Trailing(1001), clean, ErrOrder, ""},
		"arrives twice":  {v.Leading(5, 0), v.Point(0), ErrOrder, ""},
		"linspace twice": {v.Linspace(5), v.Point(0), ErrOrder, ""},
		"final NaN":      {v.Leading(5, 1), VPLevel(0, nan), ErrRange, "schedule: level 5: noise is NaN: coefficient outside [0, 1]"},
		"final noisy":    {v.Leading(5, 1), v.Point(999), ErrOrder, ""},
	} {
		p, err := v.Points(tc.steps, tc.final)
		if p != nil || !errors.Is(err, tc.want) || tc.text != "" && err.Error() != tc.text {
			t.Errorf("%s: Points = %v, %v, want nil, %v %q", name, p, err, tc.want, tc.text)
		}
	}

	if _, err := mustVP(t, []float64{0.1}).ZeroSNR(); !errors.Is(err, ErrOrder) {
		t.Errorf("ZeroSNR of one timestep: %v, want %v", err, ErrOrder)
	}
	if _, err := mustVP(t, []float64{0.1, 0, 0}).ZeroSNR(); !errors.Is(err, ErrOrder) {
		t.Errorf("ZeroSNR of equal timesteps: %v, want %v", err, ErrOrder)
	}
	if _, err := mustVP(t, []float64{1, 0}).ZeroSNR(); !errors.Is(err, ErrOrder) {
		t.Errorf("ZeroSNR of pure noise: %v, want %v", err, ErrOrder)
	}
	var zero VP
	if _, err := zero.ZeroSNR(); !errors.Is(err, ErrShort) {
		t.Errorf("ZeroSNR of the zero VP: %v, want %v", err, ErrShort)
	}
	for name, steps := range map[string][]int{"leading": zero.Leading(3, 0), "trailing": zero.Trailing(3), "linspace": zero.Linspace(3)} {
		if _, err := zero.Points(steps, clean); !errors.Is(err, ErrTimestep) {
			t.Errorf("Points of the zero VP, %s: %v, want %v", name, err, ErrTimestep)
		}
	}
}
