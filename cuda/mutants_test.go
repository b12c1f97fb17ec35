package cuda

import (
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"cps/cuda/internal/ptx"
	"cps/noise"
	"cps/sampler"
)

var long = flag.Bool("long", false, "run the tests of all mutants, for minutes")

// A trial runs a kernel once, and reports whether the results are right.
type trial struct {
	k       kernel
	b       sampler.Batch
	types   [4]sampler.Storage // of dst, next, x and v
	skew    [4]int             // elements
	sums    bool
	scale   []float64
	bad     float32 // value of all of x, if not 0
	ties    bool    // whether x lies between two values of the 16-bit types
	zero    []int   // inputs that are 0 with a random sign
	alone   int     // the only pair of elements that is not 0, from 1; its first is small, with an odd last place
	halfway bool    // whether Grad adds half of the last place of dst
	few     bool    // whether most of next and x is 0, so that the order of additions shows

	seed  uint64
	in    [4][]float32
	want  []float32
	sq    []float64
	stats ptx.Stats // of the committed kernel
}

// row returns a row that uses all bits of its ID and its block.
func row(x, v, eps float64) sampler.Row {
	return sampler.Row{
		Affine: sampler.Affine{X: x, V: v, Eps: eps},
		ID:     noise.ID{Sample: 0x89abcdef01234567, Step: 0xfedcba98}, Block: 0x9a7b3c5d,
	}
}

// prepare makes the inputs, and the results of the CPU.
func (c *trial) prepare() *trial {
	r := rand.New(rand.NewPCG(3, c.seed))
	for i := range c.in {
		c.in[i] = make([]float32, c.b.Len())
		for j := range c.in[i] {
			c.in[i][j] = c.types[i].Round(float32(r.NormFloat64()))
			if r.IntN(6) == 0 { // -0 differs from 0
				c.in[i][j] = float32(math.Copysign(0, float64(c.in[i][j])))
			}
		}
	}
	for j := range c.in[2] {
		switch {
		case c.bad != 0:
			c.in[2][j] = c.bad
		case c.few && r.IntN(40) != 0:
			c.in[1][j], c.in[2][j], c.in[3][j] = 0, 0, 0
		case c.ties:
			typ, half := sampler.BFloat16, uint32(1<<15)
			if j/8%2 == 0 {
				typ, half = sampler.Float16, 1<<12
			}
			x := math.Float32frombits(math.Float32bits(typ.Round(float32(r.NormFloat64()))) | half)
			c.in[0][j], c.in[1][j], c.in[2][j] = 0, x, x
		}
	}
	for j := range c.in[0] {
		if c.halfway {
			c.in[0][j], c.in[1][j] = 1+float32(j^1)/128, 1.0/256
		}
	}
	for i := range c.in {
		for j := range c.in[i] {
			switch {
			case c.alone > 0 && j/2+1 != c.alone:
				c.in[i][j] = 0
			case c.alone > 0:
				c.in[i][j] = c.types[i].Round([2]float32{0x1.02p-20, 1.5}[j%2])
			}
		}
	}
	for _, i := range c.zero {
		for j := range c.in[i] {
			c.in[i][j] = float32(math.Copysign(0, r.NormFloat64()))
		}
	}
	cpu, b := sampler.CPU{Workers: 1}, c.b
	c.want, c.sq = slices.Clone(c.in[0]), make([]float64, len(b.Rows))
	switch c.k {
	case stepKernel:
		if c.types[0] != sampler.Float32 {
			b.Storage = c.types[0]
		}
		cpu.Step(c.want, c.in[2], c.in[3], b, c.sq)
	case gradKernel:
		cpu.Grad(c.want, c.in[1], c.in[2], c.in[3], b, c.scale)
		for i := range c.want {
			c.want[i] = c.types[0].Round(c.want[i])
		}
	default:
		cpu.SumSquares(c.sq, c.in[1], c.in[2], c.in[3], b)
	}
	return c
}

// right runs the trial on a device.
func (c *trial) right(d *Device) bool {
	var buffers [4]Buffer
	for i := range buffers {
		whole, err := d.Make(c.skew[i]+c.b.Len()+2, c.types[i])
		if err != nil {
			return false
		}
		buffers[i] = Buffer{whole.Ptr + uintptr(c.skew[i]*size(whole.Type)), c.b.Len(), whole.Type}
		if err := d.Upload(buffers[i], c.in[i]); err != nil {
			return false
		}
	}
	var sq []float64
	if c.sums {
		sq = make([]float64, len(c.b.Rows))
	}
	if d.Sync() != nil {
		return false
	}
	g := d.drv.(*gpu)
	g.stats, g.idle = ptx.Stats{}, true
	dst, next, x, v := buffers[0], buffers[1], buffers[2], buffers[3]
	switch c.k {
	case stepKernel:
		d.Step(dst, x, v, c.b, sq)
	case gradKernel:
		d.Grad(dst, next, x, v, c.b, c.scale)
	default:
		d.SumSquares(sq, next, x, v, c.b)
	}
	if d.Sync() != nil {
		return false
	}
	if c.stats == (ptx.Stats{}) {
		c.stats = g.stats
	}
	if g.stats.Loaded != c.stats.Loaded || g.stats.Stored != c.stats.Stored || g.stats.Sectors != c.stats.Sectors {
		return false
	}
	if c.sums && !slices.EqualFunc(sq, c.sq, func(a, b float64) bool { return a == b || a != a && b != b }) {
		return false
	}
	if c.k != stepKernel && c.k != gradKernel {
		return true
	}
	got := make([]float32, c.b.Len())
	return d.Download(got, dst) == nil && slices.EqualFunc(got, c.want, func(a, b float32) bool {
		return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
	})
}

// lowWords are samples with large normals, which show all of the radius. Each draws a
// first or third word below 2¹², in the first or ninth chunk of step 1.
var lowWords = [4]uint64{790373, 1229640, 5406221, 186600}

// trials returns the trials for mutants of a kernel. The first ones find the most
// mutants.
func trials(k kernel) []*trial {
	var all []*trial
	add := func(dim int, types [4]sampler.Storage, change func(*trial), rows ...sampler.Row) {
		c := &trial{k: k, b: sampler.Batch{Dim: dim, Key: 0x0f1e2d3c4b5a6978, Rows: rows}, types: types, sums: k != gradKernel, scale: make([]float64, len(rows))}
		for i := range c.scale {
			c.scale[i] = 0.55 + float64(i)
		}
		c.seed = uint64(len(all))
		if change != nil {
			change(c)
		}
		all = append(all, c.prepare())
	}
	var float [4]sampler.Storage
	a, b := row(0.55, -0.7, 0.3), row(-0.37, 0.9, 0.41)
	b.Sample, b.Step, b.Block = 0x1122334455667788, 7, 0x6584c3a2
	if k == sumRowsKernel {
		for _, dim := range []int{1025, 33 * 1024, 70*1024 + 3} {
			add(dim, float, nil, row(1, 0, 0), row(0.5, 0, 0), row(0.25, 0, 0))
		}
		for _, dim := range []int{32 * 1024, 64 * 1024} { // whole blocks only
			add(dim, float, nil, row(1, 0, 0))
		}
		add(1025, float, func(c *trial) { c.zero = []int{1, 2} }, row(1, 0, 0))
		many := make([]sampler.Row, 65) // more rows than warps
		for i := range many {
			many[i] = row(1+float64(i), 0, 0)
		}
		add(1025, float, nil, many...)
		return all
	}
	// Every type of every buffer, aligned and not, in full blocks and ends.
	for _, dim := range []int{45, 1099} {
		for skew := range 2 {
			for i := range 81 {
				types := [4]sampler.Storage{sampler.Storage(i % 3), sampler.Storage(i / 3 % 3), sampler.Storage(i / 9 % 3), sampler.Storage(i / 27)}
				if k == stepKernel && types[1] != 0 || k == squaresKernel && types[0] != 0 {
					continue
				}
				if dim == 1099 && i%7 != 0 { // the other length has shown all types
					continue
				}
				add(dim, types, func(c *trial) { c.skew = [4]int{skew, skew, skew, skew} }, a, b)
			}
		}
	}
	// Every kind of row, ends of every length.
	for _, typ := range []sampler.Storage{0, 1, 2} {
		types := [4]sampler.Storage{typ, typ, typ, typ}
		add(130, types, nil, row(0, 0.7, 0.3), row(0.7, 0, 0.3), row(0, 0, 0.3), row(0, 0, 0), row(math.Copysign(0, -1), 0.7, 0), row(0.7, math.Copysign(0, -1), 0), row(math.Inf(1), 0.5, 0.1))
		add(45, types, func(c *trial) { c.bad = float32(math.Inf(1)) }, a, b)
		add(45, types, func(c *trial) { c.bad = float32(math.NaN()) }, a, b)
		for _, out := range []sampler.Storage{1, 2} {
			tie := row(0, 0, 0) // Grad adds next to 0
			if k == stepKernel {
				tie = row(1, 0, 0)
			}
			add(400, [4]sampler.Storage{out, 0, 0, typ}, func(c *trial) { c.ties, c.scale[0] = true, 1 }, tie)
		}
		for dim := 1; dim <= 9; dim++ {
			add(dim, types, nil, a, b)
			add(dim+252, types, func(c *trial) { c.skew = [4]int{1, 1, 1, 1} }, a)
			add(dim, types, func(c *trial) { c.bad = 2.5 }, row(math.Inf(1), 0, 0)) // elements that do not exist must not become 0·∞
		}
		add(64, types, func(c *trial) { c.b.Storage = typ; c.types = float }, row(0.55, 1e-9, 0), row(0x1p-24, 0, 0), row(0x1p16, 0, 0x1p16), row(0x1p-130, 0x1p-127, 0), row(0x1p127, 0x1.fp127, 0))
	}
	if k != gradKernel {
		half := [4]sampler.Storage{sampler.BFloat16, sampler.BFloat16, sampler.Float16, sampler.Float16}
		few := func(c *trial) { c.few, c.b.Storage = true, sampler.BFloat16 }
		add(70*1024, float, few, row(0.55, 0, 0))
		add(70*1024, half, few, row(0.55, 0, 0))
		brain := [4]sampler.Storage{1, 1, 1, 1}
		add(16*1024, brain, few, row(0.55, 0, 0))
		add(16*1024, brain, few, row(0, 0.55, 0))
	}
	uniform := []sampler.Row{a, a, a}
	for i := range uniform {
		uniform[i].Sample = 0xffffffff - 1 + uint64(i)
	}
	add(21, float, func(c *trial) { c.scale = []float64{0.6, 0.6, 0.6} }, uniform...)
	for _, typ := range []sampler.Storage{0, 1} { // one buffer that is not aligned, read or not
		for i := range 4 {
			var skew [4]int
			skew[i] = 2 + 2*int(typ) // 8 bytes
			for _, r := range []sampler.Row{a, row(0, 0.3, 0.1), row(0.3, 0, 0.1)} {
				add(100, [4]sampler.Storage{typ, typ, typ, typ}, func(c *trial) { c.skew = skew }, r)
			}
		}
		for _, dim := range []int{64, 65, 128, 129} {
			add(dim, [4]sampler.Storage{typ, typ, typ, typ}, nil, a, b)
		}
	}
	// One input alone, or none. Every bit of it shows, and every sign.
	for _, typ := range allTypes {
		types := [4]sampler.Storage{0, typ, typ, typ}
		plain := func(zero ...int) func(*trial) {
			return func(c *trial) { c.zero, c.scale[0] = zero, 1 }
		}
		for alone := range 4 {
			for i, r := range []sampler.Row{row(0, 0, 0), row(1, 0, 0), row(0, 1, 0)} {
				zero := plain(0, 1+(i+1)%3, 1+(i+2)%3)
				add(8, types, func(c *trial) {
					zero(c)
					c.alone = alone + 1
				}, r)
			}
		}
		for _, r := range []sampler.Row{row(0, 0, 0), row(1, 0, 0), row(0, 1, 0), row(1, 1, 0)} {
			add(200, types, plain(0, 1, 2, 3), r)
		}
	}
	if k == gradKernel { // halfway between two bfloat16, so the bits below the word count
		add(128, [4]sampler.Storage{1, 0, 0, 0}, func(c *trial) { c.halfway, c.scale[0] = true, 1 }, row(0, 0, 0))
	}
	nan := math.NaN()
	add(10, float, nil, row(nan, 0.5, 0.5), row(0.5, nan, 0.5), row(0.5, 0.5, nan), row(0, 0, nan))
	if k == stepKernel {
		low := []sampler.Row{row(0, 0, 1), row(0, 0, 1), row(0, 0, 1), row(0, 0, 1)}
		for i, sample := range lowWords {
			low[i].ID, low[i].Block = noise.ID{Sample: sample, Step: 1}, 0
		}
		add(40, float, nil, low...)
		add(7000, float, nil, row(0, 0, 1), row(0, 0, 1))
		all[len(all)-1].b.Rows[1].Step++
		all[len(all)-1].prepare()
	}
	if k != squaresKernel {
		add(40, float, func(c *trial) { c.sums = false }, a, b)
	}
	// More blocks than warps, in rows of one block, of several, and of many.
	for _, shape := range [][2]int{{1025, 70}, {3, 140}, {3, 128}, {30 * 1024, 5}} {
		rows := make([]sampler.Row, shape[1])
		for i := range rows {
			rows[i] = row(1+float64(i), 0, 0)
		}
		add(shape[0], float, nil, rows...)
	}
	return all
}

// killed reports whether some trial finds the mutant.
func killed(k kernel, mutant *ptx.Module, trials []*trial) bool {
	entry, err := mutant.Kernel(k.String())
	if err != nil {
		return true
	}
	if k == stepKernel && hasConstants(mutant) != nil {
		return true
	}
	g := newGPU(nil, 1)
	g.kernels[k] = entry
	g.limit = 1 << 24
	for _, c := range trials {
		if !c.right(newDevice(g)) {
			return true
		}
	}
	return false
}

// A tally counts the mutants of a kernel.
type tally struct {
	found, same, missed int
	reasons             map[string]int // number of mutants that change nothing, by reason
	needless            map[string]int // mutants that were found, although a reason says that they cannot be
}

func (c tally) of() int { return c.found + c.same + c.missed }

// Tests find every change of the committed PTX that changes anything. They try all
// mutants with the flag long, and a sample without. Few mutants are not found, and each
// of those has a reason.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("slow with the race detector")
	}
	var ran kernel
	var found, all int
	for k := range kernelCount {
		t.Run(k.String(), func(t *testing.T) {
			c := tallyOf(t, k)
			for why, n := range c.reasons {
				t.Logf("%d change nothing: %s", n, why)
			}
			for why, n := range c.needless {
				t.Logf("%d are found although: %s", n, why)
			}
			t.Logf("%d of %d mutants found, %d change nothing, %d missed", c.found, c.of(), c.same, c.missed)
			found += c.found
			all += c.of()
			ran++
		})
	}
	t.Logf("%d of %d mutants found", found, all)
	if *long && ran == kernelCount && found*100 < all*90 {
		t.Errorf("only %d of %d were found", found, all)
	}
}

func tallyOf(t *testing.T, k kernel) tally {
	const step = 307 // a prime, so that the sample leaves out no kind of change
	m, err := ptx.Parse(k.source())
	if err != nil {
		t.Fatal(err)
	}
	all := trials(k)
	if killed(k, m, all) {
		t.Fatal("a trial fails without any change")
	}
	c := tally{reasons: map[string]int{}, needless: map[string]int{}}
	n := 0
	for mutant := range ptx.Mutants(m) {
		if n++; !*long && n%step != 0 {
			continue
		}
		dead, why := killed(k, mutant.Module, all), excused(k, mutant)
		switch {
		case dead:
			c.found++
			if why != "" {
				c.needless[why]++
			}
		case why != "":
			c.same++
			c.reasons[why]++
		default:
			c.missed++
			t.Errorf("not found: %v", mutant)
		}
	}
	return c
}
