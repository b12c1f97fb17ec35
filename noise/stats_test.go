package noise_test

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"

	"cps/noise"
)

// The tests of this file compare draws of fixed keys with independent standard
// normals. Since the keys are fixed, the verdict never changes. A perfect
// generator exceeds each bound, over all keys, with probability odds. There are
// about twenty such bounds.
const odds = 1e-6

// zBound returns the bound that the largest of n standard normal statistics
// exceeds in size with probability odds at most.
func zBound(n int) float64 { return distuv.UnitNormal.Quantile(1 - odds/2/float64(n)) }

// draws returns n normals of rows of 2¹⁴: the first of many streams, as a training
// run takes them.
func draws(n int) []float32 {
	const row = 1 << 14
	x := make([]float32, n)
	for i := 0; i < n; i += row {
		id := noise.ID{Sample: uint64(i / row / 10), Step: uint32(i / row % 10)}
		noise.Normal(x[i:min(i+row, n)], noise.Key(1), id, 0)
	}
	return x
}

func TestMoments(t *testing.T) {
	x := draws(1 << 22)
	n := float64(len(x))
	const moments = 6
	var sum [moments + 1]float64
	for _, x := range x {
		p := 1.0
		for k := range sum {
			sum[k] += p
			p *= float64(x)
		}
	}
	// E[x²ᵏ] = (2k-1)!!, odd moments vanish.
	expect := func(k int) float64 {
		if k%2 == 1 {
			return 0
		}
		m := 1.0
		for j := k - 1; j > 1; j -= 2 {
			m *= float64(j)
		}
		return m
	}
	for k := 1; k <= moments; k++ {
		want := expect(k)
		z := (sum[k]/n - want) / math.Sqrt((expect(2*k)-want*want)/n)
		t.Logf("moment %d: %.5f, z = %.2f", k, sum[k]/n, z)
		if !(math.Abs(z) < zBound(moments)) {
			t.Errorf("moment %d is %v, want %v: %.1f standard deviations off", k, sum[k]/n, want, z)
		}
	}
}

func TestDistribution(t *testing.T) {
	x := draws(1 << 20)
	n := float64(len(x))
	slices.Sort(x)

	// Kolmogorov and Smirnov: P(D√n > d) → 2·exp(-2d²).
	// Anderson and Darling: A² → Σ Z²/(j(j+1)), whose tail is √3·P(χ²₁ > 2a), as the
	// first term leads and Π (1 - 2/(j(j+1))) over j > 1 is 1/3.
	var d, a float64
	for i, v := range x {
		p, q := distuv.UnitNormal.CDF(float64(v)), distuv.UnitNormal.Survival(float64(v))
		d = max(d, float64(i+1)/n-p, p-float64(i)/n)
		a -= (float64(2*i+1)*math.Log(p) + (2*n-float64(2*i+1))*math.Log(q)) / n
	}
	a -= n
	d *= math.Sqrt(n)
	t.Logf("Kolmogorov-Smirnov D√n = %.3f, Anderson-Darling A² = %.3f", d, a)
	if bound := math.Sqrt(math.Log(2/odds) / 2); !(d < bound) {
		t.Errorf("Kolmogorov-Smirnov D√n = %.3f, bound %.3f", d, bound)
	}
	if bound := (distuv.ChiSquared{K: 1}).Quantile(1-odds/math.Sqrt(3)) / 2; !(a < bound) {
		t.Errorf("Anderson-Darling A² = %.3f, bound %.3f", a, bound)
	}
}

// chiSquare checks counts of equally likely outcomes, on both sides: counts that
// are too even are no accident either.
func chiSquare(t *testing.T, what string, counts []int) {
	t.Helper()
	var n int
	for _, c := range counts {
		n += c
	}
	want := float64(n) / float64(len(counts))
	var x2 float64
	for _, c := range counts {
		x2 += (float64(c) - want) * (float64(c) - want) / want
	}
	dist := distuv.ChiSquared{K: float64(len(counts) - 1)}
	p := dist.Survival(x2)
	t.Logf("%s: χ² = %.1f on %d bins, p = %.3g", what, x2, len(counts), p)
	if !(p > odds/2 && p < 1-odds/2) {
		t.Errorf("%s: χ² = %.1f on %d bins, p = %.3g", what, x2, len(counts), p)
	}
}

// bin returns which of n equally likely intervals x is in.
func bin(x float32, n int) int { return min(n-1, int(distuv.UnitNormal.CDF(float64(x))*float64(n))) }

func TestBins(t *testing.T) {
	x := draws(1 << 20)
	counts := make([]int, 1<<10)
	for _, x := range x {
		counts[bin(x, len(counts))]++
	}
	chiSquare(t, "draws", counts)

	// Pairs that share a radius, that share a block, neighbours of two blocks.
	const side = 24
	for _, p := range []struct{ at, lag int }{{0, 1}, {0, 2}, {1, 1}, {1, 2}, {3, 1}, {0, 4}} {
		counts := make([]int, side*side)
		for i := p.at; i+p.lag < len(x); i += 8 {
			counts[bin(x[i], side)*side+bin(x[i+p.lag], side)]++
		}
		chiSquare(t, fmt.Sprintf("elements %d and %d of every eight", p.at, p.at+p.lag), counts)
	}
}

func TestTails(t *testing.T) {
	x := draws(1 << 24)
	for _, sigma := range []float64{3, 3.5, 4, 4.5, 5, 5.5, 6} {
		var above, below int
		for _, v := range x {
			if float64(v) > sigma {
				above++
			} else if float64(v) < -sigma {
				below++
			}
		}
		dist := distuv.Poisson{Lambda: float64(len(x)) * distuv.UnitNormal.Survival(sigma)}
		t.Logf("beyond %v: %d above, %d below, expected %.1f", sigma, above, below, dist.Lambda)
		for _, k := range []int{above, below} {
			// Fourteen counts, two sides.
			const p = odds / 28
			if !(dist.CDF(float64(k)) > p && 1-dist.CDF(float64(k-1)) > p) {
				t.Errorf("%d draws beyond %v on one side, expected %.1f", k, sigma, dist.Lambda)
			}
		}
	}
}

// score is a function of a draw with mean 0 and variance 1.
type score struct {
	name string
	f    func(x float64) float64
}

var scores = []score{
	{"draws", func(x float64) float64 { return x }},
	{"squares", func(x float64) float64 { return (x*x - 1) / math.Sqrt2 }},
}

func (s score) of(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, x := range x {
		y[i] = s.f(float64(x))
	}
	return y
}

// correlation returns the sum of products of scores, which is standard normal for
// independent ones.
func correlation(x, y []float64) float64 {
	var sum float64
	for i, x := range x {
		sum += x * y[i]
	}
	return sum / math.Sqrt(float64(len(x)))
}

// Rows whose names differ as little as names can are independent.
func TestRowsIndependent(t *testing.T) {
	var rows [][]float32
	for _, key := range []noise.Key{0, 1, 1 << 32, noise.Key(0).Derive(0), noise.Key(0).Derive(1), noise.Key(1).Derive(0)} {
		for _, sample := range []uint64{0, 1, 1 << 32} {
			for _, step := range []uint32{0, 1, 1 << 31} {
				row := make([]float32, 1<<14)
				noise.Normal(row, key, noise.ID{Sample: sample, Step: step}, 0)
				rows = append(rows, row)
			}
		}
	}
	for _, s := range scores {
		y := make([][]float64, len(rows))
		for i, row := range rows {
			y[i] = s.of(row)
		}
		pairs := len(rows) * (len(rows) - 1) / 2
		var most, x2 float64
		for i := range y {
			for j := range i {
				z := correlation(y[i], y[j])
				most = max(most, math.Abs(z))
				x2 += z * z
			}
		}
		// The squares of all pairs add up to χ². Correlations of one row with two
		// others are uncorrelated, so the deviation of the sum is that of
		// independent terms.
		p := distuv.ChiSquared{K: float64(pairs)}.Survival(x2)
		t.Logf("%s: %d pairs, largest z = %.2f, Σz² has p = %.3g", s.name, pairs, most, p)
		if !(most < zBound(pairs)) {
			t.Errorf("%s of two rows: largest correlation has z = %.2f, bound %.2f", s.name, most, zBound(pairs))
		}
		if !(p > odds/2 && p < 1-odds/2) {
			t.Errorf("%s: Σz² = %.1f over %d pairs, p = %.3g", s.name, x2, pairs, p)
		}
	}
}

func TestLags(t *testing.T) {
	x := make([]float32, 1<<18)
	noise.Normal(x, noise.Key(3), noise.ID{}, 0)
	lags := []int{128, 256, 512, 1024, 4096, 16384, 65536}
	for lag := range 64 {
		lags = append(lags, lag+1)
	}
	for _, a := range scores {
		for _, b := range scores {
			u, v := a.of(x), b.of(x)
			var most float64
			for _, lag := range lags {
				most = max(most, math.Abs(correlation(u[:len(u)-lag], v[lag:])))
			}
			t.Logf("%s and later %s: largest z = %.2f", a.name, b.name, most)
			if !(most < zBound(len(lags))) {
				t.Errorf("%s and later %s: largest correlation has z = %.2f, bound %.2f", a.name, b.name, most, zBound(len(lags)))
			}
		}
	}
}

// Flipping any bit of a name flips every bit of the words with probability ½.
func TestAvalanche(t *testing.T) {
	const trials = 2048
	type name struct {
		key noise.Key
		id  noise.ID
		off uint64
	}
	var most float64
	flips := 0
	flip := func(change func(n *name)) {
		var count [128]int
		for i := range uint64(trials) {
			// Small neighbouring names, the hardest for a weak mixer.
			a := name{noise.Key(i % 16), noise.ID{Sample: i / 16 % 16, Step: uint32(i / 256)}, 4 * (i % 7)}
			b := a
			change(&b)
			var u, v [4]uint32
			noise.Uint32s(u[:], a.key, a.id, a.off)
			noise.Uint32s(v[:], b.key, b.id, b.off)
			for j := range u {
				for d := u[j] ^ v[j]; d != 0; d &= d - 1 {
					count[32*j+bits.TrailingZeros32(d)]++
				}
			}
		}
		for _, c := range count {
			flips++
			z := math.Abs(float64(c)-trials/2) / math.Sqrt(trials/4)
			most = max(most, z)
		}
	}
	for bit := range 64 {
		flip(func(n *name) { n.key ^= 1 << bit })
		flip(func(n *name) { n.id.Sample ^= 1 << bit })
	}
	for bit := range 32 {
		flip(func(n *name) { n.id.Step ^= 1 << bit })
		flip(func(n *name) { n.off ^= 4 << bit })
	}
	t.Logf("%d bits by flips: largest z = %.2f", flips, most)
	if !(most < zBound(flips)) {
		t.Errorf("a bit flips too seldom or too often: z = %.2f, bound %.2f", most, zBound(flips))
	}
}

// Derived keys are as good as any: distinct, and with even bits.
func TestDeriveBits(t *testing.T) {
	const n = 1 << 16
	seen := make(map[noise.Key]bool, 2*n)
	var ones [64]int
	for i := range uint64(n) {
		k := noise.Key(5).Derive(i)
		seen[k] = true
		seen[k.Derive(i)] = true
		for b := range ones {
			ones[b] += int(k >> b & 1)
		}
	}
	if len(seen) != 2*n { // by chance once in 2³¹
		t.Errorf("%d distinct keys out of %d", len(seen), 2*n)
	}
	for b, c := range ones {
		if z := (float64(c) - n/2) / math.Sqrt(n/4); !(math.Abs(z) < zBound(len(ones))) {
			t.Errorf("bit %d is set in %d keys out of %d", b, c, n)
		}
	}
}
