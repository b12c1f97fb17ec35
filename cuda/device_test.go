package cuda

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"

	"cps/cuda/internal/ptx"
	"cps/noise"
	"cps/sampler"
)

// mixed returns a batch whose rows go to the device in a table.
func mixed(rows, dim int) sampler.Batch {
	b := sampler.Batch{Dim: dim, Key: 5}
	for i := range rows {
		b.Rows = append(b.Rows, sampler.Row{
			Affine: sampler.Affine{X: 0.9, V: -0.1 * float64(i), Eps: 0.3},
			ID:     noise.ID{Sample: uint64(7 * i), Step: uint32(i)},
		})
	}
	return b
}

func zeros(t testing.TB, d *Device, n int, typ sampler.Storage) Buffer {
	b, err := d.Make(n, typ)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Upload(b, make([]float32, n)); err != nil {
		t.Fatal(err)
	}
	return b
}

// Calls never wait for the queue, even if the memory that they share must grow. Tables
// of rows wait on the host until they are sent, each in memory of its own.
func TestCallsDoNotWait(t *testing.T) {
	d, g := open(t, 3)
	const dim = 1030
	x := zeros(t, d, 40*dim, sampler.Float32)
	g.idle, g.syncs = true, 0
	const calls = 12
	var got [calls][]float64
	for k := range calls {
		b := mixed(k+2, dim)
		got[k] = make([]float64, k+2)
		y := Buffer{x.Ptr, b.Len(), x.Type}
		d.Step(y, y, y, b, nil)
		d.SumSquares(got[k], y, y, y, b)
	}
	if g.syncs != 0 || len(g.launches) != 0 {
		t.Fatalf("%d waits and %d launches in calls", g.syncs, len(g.launches))
	}
	if err := d.Sync(); err != nil || g.syncs != 1 {
		t.Fatalf("%v, %d waits", err, g.syncs)
	}
	cpu, want := sampler.CPU{Workers: 1}, make([]float32, 40*dim)
	for k := range calls {
		b := mixed(k+2, dim)
		sums, y := make([]float64, k+2), want[:b.Len()]
		cpu.Step(y, y, y, b, nil)
		cpu.SumSquares(sums, y, y, y, b)
		for i := range sums {
			if sums[i] != got[k][i] {
				t.Fatalf("call %d: sum of row %d is %v, want %v", k, i, got[k][i], sums[i])
			}
		}
	}
}

// What all rows share is part of the launch. It needs neither a table nor memory.
func TestUniformRows(t *testing.T) {
	d, g := open(t, 3)
	x := zeros(t, d, 30, sampler.Float32)
	row := sampler.Row{Affine: sampler.Affine{X: 0.9, Eps: 0.3}, ID: noise.ID{Sample: 4, Step: 2}, Block: 7}
	for _, tc := range []struct {
		change func(r *sampler.Row)
		table  bool // whether a step needs one
		always bool // also where no noise is drawn
	}{
		{func(r *sampler.Row) {}, false, false},
		{func(r *sampler.Row) { r.Sample++ }, true, false},
		{func(r *sampler.Row) { r.Step++ }, true, false},
		{func(r *sampler.Row) { r.Block++ }, true, false},
		{func(r *sampler.Row) { r.X = 0.8 }, true, true},
		{func(r *sampler.Row) { r.V = 0.8 }, true, true},
		{func(r *sampler.Row) { r.Eps = 0.8 }, true, true},
	} {
		b := sampler.Batch{Dim: 10, Rows: []sampler.Row{row, row, row}}
		b.Rows[1].Sample, b.Rows[2].Sample = 5, 6
		tc.change(&b.Rows[2])
		if got := !uniform(b.Rows, nil, true); got != tc.table {
			t.Errorf("%v: table %t", b.Rows[2], got)
		}
		if got := !uniform(b.Rows, nil, false); got != tc.always {
			t.Errorf("%v: table %t without noise", b.Rows[2], got)
		}
		before, _ := g.mem.InUse()
		d.Step(x, x, x, b, nil)
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		if after, _ := g.mem.InUse(); !tc.table && after != before {
			t.Errorf("%d allocations for rows without a table", after-before)
		}
	}
	if b := mixed(1, 1); !uniform(b.Rows, []float64{3}, true) || uniform([]sampler.Row{row, row}, nil, true) {
		t.Error("one row is uniform, equal samples are not")
	}
	if rows := []sampler.Row{sampler.InitialRow(1), sampler.InitialRow(2)}; uniform(rows, []float64{1, 2}, false) || !uniform(rows, []float64{1, 1}, false) {
		t.Error("scales count")
	}
	still := sampler.Batch{Dim: 12, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1}, ID: row.ID}}}.Spans(4)
	if !uniform(still.Rows, nil, true) {
		t.Error("spans whose step draws no noise are uniform")
	}
}

// A quiet driver does nothing, so only allocations of the device itself are counted.
type quiet struct{ driver }

func (quiet) enter() error                       { return nil }
func (quiet) leave()                             {}
func (quiet) resident(kernel) int                { return 660 }
func (quiet) alloc(int) (uintptr, error)         { return 4096, nil }
func (quiet) allocHost(n int) ([]byte, error)    { return make([]byte, n), nil }
func (quiet) upload(uintptr, []byte) error       { return nil }
func (quiet) download([]byte, uintptr) error     { return nil }
func (quiet) launch(kernel, int, []uint64) error { return nil }
func (quiet) newEvent() (event, error)           { return 1, nil }
func (quiet) record(event) error                 { return nil }
func (quiet) reached(event) (bool, error)        { return true, nil }
func (quiet) reachable(uintptr) error            { return nil }
func (quiet) wait(event) error                   { return nil }
func (quiet) sync() error                        { return nil }

func TestNoAllocations(t *testing.T) {
	d := newDevice(quiet{})
	b := mixed(3, 5000)
	x := Buffer{Ptr: 4096, Len: b.Len()}
	y := Buffer{Ptr: 1 << 20, Len: b.Len()}
	sq, scale := make([]float64, 3), make([]float64, 3)
	for name, call := range map[string]func(){
		"Step":    func() { d.Step(y, x, x, b, sq) },
		"Squares": func() { d.SumSquares(sq, y, x, x, b) },
		"Grad":    func() { d.Grad(y, x, x, x, b, scale) },
		"Sync": func() {
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for range 100 { // 51 calls between two Syncs
			call()
		}
		d.Sync()
		if n := testing.AllocsPerRun(50, call); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		d.Sync()
	}
}

// play uses every function of a device. Without an error it checks the results.
func play(d *Device) (err error) {
	defer func() { err = errors.Join(err, d.Close(), d.Close()) }() // the second Close counts if the first could not enter
	b := mixed(3, 1100)
	host := make([]float32, b.Len())
	for i := range host {
		host[i] = float32(i%100) - 50
	}
	x, err := d.Make(b.Len(), sampler.Float32)
	if err != nil {
		return err
	}
	y, err := d.Make(b.Len(), sampler.Float32)
	if err != nil {
		return err
	}
	if err := d.Upload(x, host); err != nil {
		return err
	}
	sq := []float64{-1, -1, -1}
	d.Step(y, x, x, b, sq)
	d.SumSquares(sq, y, x, x, b)
	d.Grad(x, y, x, x, b, []float64{1, 2, 3})
	part := Buffer{y.Ptr + 4*uintptr(b.Dim), b.Dim, y.Type} // not from Make, so its address is checked
	d.SumSquares(make([]float64, 1), part, part, part, mixed(1, b.Dim))
	if err := d.Sync(); err != nil {
		for i, s := range sq {
			if s == s && s != -1 {
				return errors.Join(err, fmt.Errorf("sum %d is %v after a failure", i, s))
			}
		}
		return err
	}
	next, sums := make([]float32, b.Len()), make([]float64, 3)
	cpu := sampler.CPU{Workers: 1}
	cpu.Step(next, host, host, b, sums)
	cpu.Grad(host, next, host, host, b, []float64{1, 2, 3})
	got := make([]float32, b.Len())
	if err := d.Download(got, x); err != nil {
		return err
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(host[i]) {
			return fmt.Errorf("element %d is %v, want %v", i, got[i], host[i])
		}
	}
	for i := range sq {
		if sq[i] != sums[i] {
			return fmt.Errorf("sum %d is %v, want %v", i, sq[i], sums[i])
		}
	}
	return errors.Join(d.Free(x), d.Sync())
}

// Whichever call of the driver fails once, an error names it, and nothing leaks.
func TestFailures(t *testing.T) {
	seen := map[string]int{}
	failAt := 0
	for ; ; failAt++ {
		g := newGPU(t, 1)
		g.failAt, g.code = failAt, 719
		err := play(newDevice(g))
		if g.failed == "" && failAt > 0 {
			break
		}
		seen[g.failed]++
		if leaks := g.leaks(); leaks != nil || !g.closed {
			t.Fatalf("call %d, %s: %v, then %v", failAt, g.failed, err, leaks)
		}
		switch {
		case failAt == 0:
			if err != nil {
				t.Fatal(err)
			}
		case err == nil || !strings.HasPrefix(err.Error(), "cuda: ") || !strings.Contains(err.Error(), g.failed+": injected (error 719)"):
			t.Errorf("call %d, %s, failed, and the error is %v", failAt, g.failed, err)
		}
	}
	t.Logf("%d calls: %v", failAt-1, seen)
	for _, name := range []string{"enter", "alloc", "free", "allocHost", "freeHost", "upload", "download", "launch", "newEvent", "record", "reached", "reachable", "wait", "freeEvent", "sync", "close"} {
		if seen[name] == 0 {
			t.Errorf("no call of %s failed", name)
		}
	}
}

// The device keeps its first failure until Sync returns it. Calls between them do
// nothing. Afterwards the device works.
func TestStickyFailure(t *testing.T) {
	d, g := open(t, 1)
	b := mixed(2, 10)
	x := zeros(t, d, 20, sampler.Float32)
	g.failAt, g.code = g.calls+2, 999 // the call after enter: memory for the table
	d.Step(x, x, x, b, nil)
	g.failAt, g.code = g.calls+2, 1000 // this would be the second failure
	sq := []float64{1, 2}
	d.SumSquares(sq, x, x, x, b)
	d.Step(x, x, x, b, sq)
	d.Grad(x, x, x, x, b, sq)
	if !math.IsNaN(sq[0]) || !math.IsNaN(sq[1]) {
		t.Errorf("sums %v of a call that did not run", sq)
	}
	const want = "cuda: Step on 2 rows of 10: 4096 bytes of scratch memory: alloc: injected (error 999)"
	if err := d.Upload(x, make([]float32, 20)); err == nil || err.Error() != want {
		t.Errorf("Upload: %v", err)
	}
	if err := d.Download(make([]float32, 20), x); err == nil || err.Error() != want {
		t.Errorf("Download: %v", err)
	}
	g.failAt = 0
	if err := d.Sync(); err == nil || err.Error() != want {
		t.Errorf("Sync: %v", err)
	}
	if len(g.launches) != 0 {
		t.Errorf("%v were launched", g.launches)
	}
	d.SumSquares(sq, x, x, x, b)
	if err := d.Sync(); err != nil || sq[0] != 0 {
		t.Errorf("after the failure: %v, %v", err, sq)
	}
}

// The error of a kernel's fault names the kernel and the call. A GPU might hide the
// fault, or end the context.
func TestKernelFault(t *testing.T) {
	d, g := open(t, 1)
	x := zeros(t, d, 20, sampler.Float32)
	freed := zeros(t, d, 20, sampler.Float32)
	if err := d.Free(freed); err != nil {
		t.Fatal(err)
	}
	d.Step(x, freed, x, mixed(2, 10), nil)
	err := d.Sync()
	var fault *ptx.Fault
	if !errors.As(err, &fault) || !errors.Is(err, ptx.ErrFreed) || fault.Kernel != "step" || !strings.Contains(err.Error(), "Step on 2 rows of 10") {
		t.Errorf("Sync: %v", err)
	}
	if err := d.Sync(); err == nil {
		t.Error("the fault is gone")
	}
	g.broken = nil // a real context stays broken
}

// Exhausted memory is an error of every function that allocates. The device remains
// usable.
func TestOutOfMemory(t *testing.T) {
	d, g := open(t, 1)
	b := mixed(3, 3000)
	x := zeros(t, d, b.Len(), sampler.Float32)
	_, bytes := g.mem.InUse()
	g.mem.Limit = bytes + 100
	if _, err := d.Make(1000, sampler.BFloat16); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "1000 elements of BFloat16") {
		t.Errorf("Make: %v", err)
	}
	sq := make([]float64, 3)
	d.SumSquares(sq, x, x, x, b)
	if err := d.Sync(); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "SumSquares on 3 rows of 3000") || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("Sync: %v", err)
	}
	uniform := sampler.Batch{Dim: 3000, Rows: []sampler.Row{sampler.InitialRow(1), sampler.InitialRow(2), sampler.InitialRow(3)}}
	d.Step(x, Buffer{}, Buffer{}, uniform, nil) // needs no memory
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
	g.mem.Limit = 0
	d.SumSquares(sq, x, x, x, b)
	if err := d.Sync(); err != nil || !(sq[0] > 0) {
		t.Errorf("with memory: %v, %v", err, sq)
	}
}

// The memory of calls grows to the largest use, and then stays.
func TestMemoryIsKept(t *testing.T) {
	d, g := open(t, 1)
	b := mixed(9, 1030)
	x := zeros(t, d, b.Len(), sampler.Float32)
	round := func() {
		for n := 2; n <= 9; n += 3 {
			c := b
			c.Rows = b.Rows[:n]
			y := Buffer{x.Ptr, c.Len(), x.Type}
			d.SumSquares(make([]float64, n), y, y, y, c)
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	round()
	round()
	allocations, bytes := g.mem.InUse()
	pinned := len(g.pinned)
	for range 3 {
		round()
	}
	if a, n := g.mem.InUse(); a != allocations || n != bytes || len(g.pinned) > pinned+2 {
		t.Errorf("%d allocations of %d bytes and %d pinned ones, then %d, %d and %d", allocations, bytes, pinned, a, n, len(g.pinned))
	}
	// Many sums between two Syncs.
	var sums [][]float64
	few := b
	few.Rows = b.Rows[:3]
	few.Dim = 10
	small := Buffer{x.Ptr, few.Len(), x.Type}
	for range 600 {
		sq := make([]float64, 3)
		d.SumSquares(sq, small, small, small, few)
		sums = append(sums, sq)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	for i := range sums {
		for j := range sums[i] {
			if sums[i][j] != sums[0][j] {
				t.Fatalf("sum %d of call %d is %v, want %v", j, i, sums[i][j], sums[0][j])
			}
		}
	}
}

// A closed device does nothing and says so. No call hangs.
func TestClosed(t *testing.T) {
	d, _ := open(t, 1)
	x := zeros(t, d, 20, sampler.Float32)
	b := mixed(2, 10)
	promised := []float64{1, 1}
	d.SumSquares(promised, x, x, x, b)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(promised[0]) {
		t.Errorf("sums %v that no Sync fetched", promised)
	}
	sq := []float64{1, 1}
	d.Step(x, x, x, b, sq)
	d.SumSquares(sq, x, x, x, b)
	d.Grad(x, x, x, x, b, sq)
	_, alloc := d.Make(1, sampler.Float32)
	for name, err := range map[string]error{
		"Sync": d.Sync(), "Make": alloc, "Free": d.Free(x),
		"Upload": d.Upload(x, make([]float32, 20)), "Download": d.Download(make([]float32, 20), x),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !math.IsNaN(sq[0]) {
		t.Errorf("sums %v", sq)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

// Free accepts each buffer of Make once.
func TestFree(t *testing.T) {
	d, g := open(t, 1)
	before, _ := g.mem.InUse()
	b, err := d.Make(10, sampler.Float16)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []Buffer{{Ptr: 64, Len: 10, Type: b.Type}, {Ptr: b.Ptr, Len: 9, Type: b.Type}, {Ptr: b.Ptr + 2, Len: 8, Type: b.Type}} {
		if err := d.Free(wrong); err == nil || !strings.Contains(err.Error(), "no buffer from Make") {
			t.Errorf("Free(%v): %v", wrong, err)
		}
	}
	if err := d.Free(b); err != nil {
		t.Error(err)
	}
	if err := d.Free(b); err == nil {
		t.Error("Free twice")
	}
	if n, _ := g.mem.InUse(); n != before {
		t.Errorf("%d allocations", n-before)
	}
	empty, err := d.Make(0, sampler.Float32)
	if err != nil || empty.Ptr != 0 {
		t.Errorf("Make of nothing: %v, %v", empty, err)
	}
	if err := errors.Join(d.Free(empty), d.Upload(empty, nil), d.Download(nil, empty)); err != nil {
		t.Error(err)
	}
}

// Transfers may exceed the pinned memory, in every type.
func TestTransfers(t *testing.T) {
	d, _ := open(t, 1)
	src := make([]float32, stagingLen/2+1234)
	for i := range src {
		src[i] = float32(i)*0.37 - 1000
	}
	for _, typ := range allTypes {
		b, err := d.Make(len(src), typ)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(src))
		if err := errors.Join(d.Upload(b, src), d.Download(got, b)); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if want := typ.Round(src[i]); got[i] != want {
				t.Fatalf("%v: element %d is %v, want %v", typ, i, got[i], want)
			}
		}
	}
}

// Goroutines may share a device. Devices share nothing.
func TestConcurrentUse(t *testing.T) {
	var wait sync.WaitGroup
	for i := range 3 {
		d, _ := open(t, uint64(i))
		for j := range 3 {
			wait.Go(func() {
				b := mixed(2, 700)
				x, err := d.Make(b.Len(), sampler.Float32)
				if err != nil {
					t.Error(err)
					return
				}
				sq := make([]float64, 2)
				for range 5 {
					d.Step(x, Buffer{}, Buffer{}, sampler.Batch{Dim: 700, Rows: []sampler.Row{sampler.InitialRow(uint64(j)), sampler.InitialRow(9)}}, sq)
					if err := d.Sync(); err != nil || !(sq[0] > 0) {
						t.Errorf("%v, %v", err, sq)
					}
					runtime.Gosched()
				}
				if err := d.Free(x); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
}

func TestBufferPanics(t *testing.T) {
	d, _ := open(t, 1)
	b := sampler.Batch{Dim: 4, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1}}}}
	x := zeros(t, d, 8, sampler.Float32)
	half := zeros(t, d, 8, sampler.Float16)
	at := func(b Buffer, elements int, t sampler.Storage) Buffer {
		return Buffer{b.Ptr + uintptr(elements*size(b.Type)), 4, t}
	}
	y := at(x, 0, 0)
	brain := b
	brain.Storage = sampler.BFloat16
	unknown := b
	unknown.Storage = 3
	last := func(block uint32) sampler.Batch {
		return sampler.Batch{Dim: 8, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1, Eps: 1}, Block: block}}}
	}
	none := Buffer{}
	for _, tc := range []struct {
		says string
		call func()
	}{
		{"cuda: length of dst is 8, not len(Rows)·Dim = 1·4 = 4", func() { d.Step(x, y, none, b, nil) }},
		{"cuda: length of next is 0, not len(Rows)·Dim = 1·4 = 4", func() { d.SumSquares([]float64{0}, none, y, none, b) }},
		{"cuda: length of x is 0, not len(Rows)·Dim", func() { d.Step(y, none, none, b, nil) }},
		{"cuda: length of dst is 8, not len(Rows)·Dim", func() { d.Grad(x, y, y, none, b, []float64{0}) }},
		{"cuda: length of sq is 2, not the number of rows, 1", func() { d.Step(y, y, none, b, []float64{0, 1}) }},
		{"cuda: length of sq is 0, not the number of rows, 1", func() { d.SumSquares(nil, y, y, none, b) }},
		{"cuda: length of scale is 0, not the number of rows, 1", func() { d.Grad(y, y, y, none, b, nil) }},
		{"dst is used and has no address", func() { d.Step(Buffer{Len: 4}, y, none, b, nil) }},
		{"x is used and has no address", func() { d.Step(y, Buffer{Len: 4}, none, b, nil) }},
		{"type of x is unknown: 3", func() { d.Step(y, at(x, 4, 3), none, b, nil) }},
		{"of x is not a multiple of the 4 bytes", func() { d.Step(y, Buffer{Ptr: x.Ptr + 18, Len: 4}, none, b, nil) }},
		{"of x is not a multiple of the 2 bytes", func() { d.Step(y, Buffer{Ptr: x.Ptr + 17, Len: 4, Type: sampler.Float16}, none, b, nil) }},
		{partOverlap, func() { d.Step(at(x, 1, 0), y, none, b, nil) }},
		{partOverlap, func() { d.Step(at(x, 0, sampler.BFloat16), y, none, b, nil) }},
		{partOverlap, func() { d.Grad(at(x, 3, 0), y, y, none, b, []float64{0}) }},
		{"cuda: row 0 (sample 0), of 8 elements from block 4294967295 on, ends beyond the 2³⁴ elements", func() { d.Step(x, x, none, last(1<<32-1), nil) }},
		{"cuda: row 0 (sample 0), of 8 elements from block 4294967295 on, ends beyond the 2³⁴ elements", func() { d.SumSquares([]float64{0}, x, x, none, last(1<<32-1)) }},
		{"cuda: row 0 (sample 0), of 8 elements from block 4294967295 on, ends beyond the 2³⁴ elements", func() { d.Grad(x, x, x, none, last(1<<32-1), []float64{0}) }},
		{"different 16-bit types", func() { d.Step(at(half, 0, sampler.Float16), y, none, brain, nil) }},
		{"storage of a batch is unknown", func() { d.Step(y, y, none, unknown, nil) }},
		{"negative length", func() { d.Make(-1, sampler.Float32) }},
		{"type of a buffer is unknown", func() { d.Make(1, 3) }},
		{"Upload: lengths of a buffer and of a slice differ: 4 and 3", func() { d.Upload(y, make([]float32, 3)) }},
		{"Download: lengths of a buffer and of a slice differ: 4 and 5", func() { d.Download(make([]float32, 5), y) }},
	} {
		message := fmt.Sprint(func() (m any) {
			defer func() { m = recover() }()
			tc.call()
			return nil
		}())
		if !strings.HasPrefix(message, "cuda: ") || !strings.Contains(message, tc.says) {
			t.Errorf("panic with %q, want %q", message, tc.says)
		}
	}
	// These do not panic.
	d.Step(y, at(x, 4, 0), none, b, nil)                                                 // side by side
	d.Step(at(x, 1, 0), none, none, sampler.Batch{Dim: 4, Rows: []sampler.Row{{}}}, nil) // x is not read
	d.Step(at(half, 0, sampler.BFloat16), y, none, brain, nil)
	d.Step(x, x, none, last(1<<32-2), nil)
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// A launch of more blocks than it can count is an error of the call. No GPU has the
// memory for it.
func TestTooManyBlocks(t *testing.T) {
	if math.MaxInt == math.MaxInt32 {
		t.Skip("an int holds no such length")
	}
	d, _ := open(t, 1)
	most := uint64(sampler.MaxDim)
	b := sampler.Batch{Dim: int(most), Rows: make([]sampler.Row, 256)}
	d.Step(Buffer{Ptr: 64, Len: b.Len()}, Buffer{}, Buffer{}, b, nil)
	if err := d.Sync(); !errors.Is(err, errTooMany) {
		t.Error(err)
	}
}
