package cuda

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"cps/cuda/internal/ptx"
	"cps/noise"
	"cps/sampler"
)

// The committed PTX targets GPUs that every driver of the last years supports. No
// instruction in it gives other bits on another GPU or with another compiler.
func TestPTX(t *testing.T) {
	for k := range kernelCount {
		text := k.source()
		m, err := ptx.Parse(text)
		if err != nil {
			t.Errorf("%v: %v", k, err)
			continue
		}
		if m.Version != "6.3" || m.Target != "sm_70" {
			t.Errorf("%v is PTX %s for %s", k, m.Version, m.Target)
		}
		if n := len(m.Kernels()); n != 1 {
			t.Errorf("%v: %d kernels", k, n)
		}
		for _, f := range m.Forbidden() {
			t.Errorf("%v", f)
		}
		for _, word := range regexp.MustCompile(`(?i)fma|ftz|approx|\.rz|\.local|\.shared|\bcall\b|div\.[a-z]*\.f`).FindAllString(text, -1) {
			t.Errorf("%v: %q", k, word)
		}
		if n := len(m.Kernels()[0].Params); n > maxArgs {
			t.Errorf("%v has %d parameters, more than %d", k, n, maxArgs)
		}
		if !strings.Contains(text, fmt.Sprintf(".maxntid %d,", warps*warpLen)) {
			t.Errorf("%v is not for groups of %d threads", k, warps*warpLen)
		}
	}
}

// These are the bytes that one pass over memory reads and writes, in whole sectors: 12
// bytes an element for a step in float32, 6 in bfloat16.
func TestTraffic(t *testing.T) {
	const dim, rows = 4096, 3
	d, g := open(t, 1)
	b := sampler.Batch{Dim: dim, Key: 1}
	for i := range uint64(rows) {
		b.Rows = append(b.Rows, sampler.Row{Affine: sampler.Affine{X: 0.9, V: 0.1, Eps: 0.3}, ID: noise.ID{Sample: i, Step: 2}})
	}
	initial := b
	initial.Rows = []sampler.Row{sampler.InitialRow(0), sampler.InitialRow(1), sampler.InitialRow(2)}
	values := make([]float32, b.Len())
	buffer := func(typ sampler.Storage) Buffer {
		x := made(t, d, b.Len(), typ)
		if err := d.Upload(x, values); err != nil {
			t.Fatal(err)
		}
		return x
	}
	wide := buffer(sampler.Float32)
	for _, typ := range allTypes {
		x, v, y := buffer(typ), buffer(typ), buffer(typ)
		n := size(typ)
		for _, tc := range []struct {
			name  string
			bytes int // for each element
			call  func(sq []float64)
		}{
			{"initial noise", n, func(sq []float64) { d.Step(y, Buffer{}, Buffer{}, initial, sq) }},
			{"Step", 3 * n, func(sq []float64) { d.Step(y, x, v, b, sq) }},
			{"Step in place", 3 * n, func(sq []float64) { d.Step(x, x, v, b, sq) }},
			{"Step of a float32 velocity", 2*n + 4, func(sq []float64) { d.Step(y, x, wide, b, sq) }},
			{"Squares", 3 * n, func(sq []float64) {
				if sq != nil {
					d.SumSquares(sq, y, x, v, b)
				}
			}},
			{"Grad", 3*n + 8, func(sq []float64) {
				if sq == nil {
					d.Grad(wide, y, x, v, b, []float64{1, 1, 1})
				}
			}},
		} {
			for _, sq := range [][]float64{nil, make([]float64, rows)} {
				g.stats, g.launches = ptx.Stats{}, nil
				tc.call(sq)
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
				if len(g.launches) == 0 {
					continue // Squares without sums, Grad with
				}
				want := uint64(tc.bytes * b.Len())
				bytes := g.stats.Loaded + g.stats.Stored
				if sq != nil {
					bytes -= 2*4*dim/1024*rows + 8*rows // without the sums of blocks, written and read, and the sums of rows
				}
				if bytes != want {
					t.Errorf("%s of %v with sums %t: %d bytes, want %d", tc.name, typ, sq != nil, bytes, want)
				}
				if sq == nil && 32*g.stats.Sectors != bytes {
					t.Errorf("%s of %v: %d bytes in %d sectors of 32", tc.name, typ, bytes, g.stats.Sectors)
				}
			}
		}
	}
}

// Every thread reads and writes aligned buffers of any type 16 bytes at a time, unless
// types are mixed. That takes fewer instructions than a buffer that starts one byte off.
func TestWideAccesses(t *testing.T) {
	for k, want := range map[kernel][2]int{stepKernel: {2, 1}, squaresKernel: {3, 0}, gradKernel: {4, 1}} { // buffers
		const row = 1 // the weights of a row, in the table
		text := k.source()
		loads, stores := strings.Count(text, "ld.global.v4"), strings.Count(text, "st.global.v4")
		if loads != 3*want[0]+row || stores != 3*want[1] { // two of float32, one of eight 16-bit words
			t.Errorf("%v has %d loads and %d stores of 16 bytes", k, loads, stores)
		}
	}
	d, g := open(t, 1)
	b := sampler.Batch{Dim: 1024, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1, V: 1}}}}
	for _, typ := range allTypes {
		x := made(t, d, 1030, typ)
		if err := d.Upload(x, make([]float32, 1030)); err != nil {
			t.Fatal(err)
		}
		var instructions [2]uint64
		for skew := range 2 {
			g.stats = ptx.Stats{}
			y := Buffer{x.Ptr + uintptr(skew*size(typ)), 1024, typ}
			d.SumSquares([]float64{0}, y, y, y, b)
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			instructions[skew] = g.stats.Instructions
		}
		if instructions[0]+1024 > instructions[1] {
			t.Errorf("%v: %d instructions aligned, %d not", typ, instructions[0], instructions[1])
		}
		t.Logf("Squares of %v: %d instructions an element, unaligned %d", typ, instructions[0]/1024, instructions[1]/1024)
	}
}

// A table costs a warp, for each block of a row, two broadcasts of 16 bytes from one
// sector where noise is drawn, and else one. It costs a thread three instructions.
func TestTableTraffic(t *testing.T) {
	for _, shape := range [][2]int{{64, 64}, {4, 65536}} {
		rows, dim := shape[0], shape[1]
		warpsOfBlocks := uint64(rows * ((dim-1)/blockLen + 1))
		var cost [2][3]ptx.Stats // without and with a table
		for table := range 2 {
			d, g := open(t, 1)
			b := sampler.Batch{Dim: dim, Key: 1}
			scale := make([]float64, rows)
			for i := range rows {
				b.Rows = append(b.Rows, sampler.Row{
					Affine: sampler.Affine{X: 0.9 + float64(i*table), V: 0.1, Eps: 0.3},
					ID:     noise.ID{Sample: uint64(i), Step: 2},
				})
			}
			x, y := zeros(t, d, b.Len(), sampler.BFloat16), zeros(t, d, b.Len(), sampler.BFloat16)
			for i, call := range []func(){
				func() { d.Step(y, x, x, b, nil) },
				func() { d.SumSquares(make([]float64, rows), y, x, x, b) },
				func() { d.Grad(y, x, x, x, b, scale) },
			} {
				g.stats = ptx.Stats{}
				call()
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
				cost[table][i] = g.stats
			}
		}
		for i, accesses := range []uint64{2, 1, 1} {
			none, table := cost[0][i], cost[1][i]
			if got, want := table.Loaded-none.Loaded, 16*accesses*warpLen*warpsOfBlocks; got != want {
				t.Errorf("Dim %d, pass %d: threads read %d bytes of the table, want %d", dim, i, got, want)
			}
			if got, want := table.Sectors-none.Sectors, accesses*warpsOfBlocks; got != want {
				t.Errorf("Dim %d, pass %d: %d sectors of the table are read, want %d", dim, i, got, want)
			}
			more := float64(table.Instructions-none.Instructions) / float64(warpLen*warpsOfBlocks)
			if more != 3 {
				t.Errorf("Dim %d, pass %d: %v instructions of a thread for the row of a block, want 3", dim, i, more)
			}
			t.Logf("Dim %d, pass %d: %.0f instructions a thread and block with a table", dim, i, float64(table.Instructions)/float64(warpLen*warpsOfBlocks))
		}
	}
}
