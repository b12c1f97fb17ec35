package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"cps/sampler"
)

// A tableCase is a step with a table of rows, after other steps.
type tableCase struct {
	name  string
	sent  int // rows of an earlier step whose table was sent, or 0
	waits int // rows of an earlier step whose table waits, or 0
	rows  int
	calls []tableCall // of the driver, after enter
}

// A tableCall is a call of the driver, and the words before its name in the error.
type tableCall struct{ name, where string }

// 128 rows fill the smallest pinned memory.
var tableCases = []tableCase{
	{"first", 0, 0, 3, []tableCall{
		{"alloc", "4096 bytes of scratch memory: "},
		{"newEvent", "rows: "},
		{"allocHost", "4096 bytes of pinned memory for rows: "},
		{"upload", "rows: "},
		{"record", "rows: "},
	}},
	{"again", 3, 0, 4, []tableCall{
		{"reached", "rows: "},
		{"upload", "rows: "},
		{"record", "rows: "},
	}},
	{"while another waits", 0, 3, 4, []tableCall{
		{"reached", "rows: "},
		{"newEvent", "rows: "},
		{"allocHost", "4096 bytes of pinned memory for rows: "},
		{"upload", "rows: "},
		{"record", "rows: "},
	}},
	{"larger", 3, 0, 129, []tableCall{
		{"alloc", "8192 bytes of scratch memory: "},
		{"reached", "rows: "},
		{"freeHost", "rows: "},
		{"allocHost", "8192 bytes of pinned memory for rows: "},
		{"upload", "rows: "},
		{"record", "rows: "},
	}},
}

// If a call of the driver fails while a table is made, the step ends at once. The
// error says what the memory is for, and wraps the driver's error. Earlier steps are
// not harmed. The device works afterwards, and can also be closed at once.
func TestTableFailures(t *testing.T) {
	for _, tc := range tableCases {
		for i, call := range tc.calls {
			for _, again := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/again=%t", tc.name, call.name, again), func(t *testing.T) {
					failTable(t, tc, i, again)
				})
			}
		}
	}
}

func failTable(t *testing.T, tc tableCase, i int, again bool) {
	const dim = 10
	d, g := open(t, 1) // also finds leaks and double frees
	x := zeros(t, d, 129*dim, sampler.Float32)
	y := [2]Buffer{zeros(t, d, 129*dim, sampler.Float32), zeros(t, d, 129*dim, sampler.Float32)}
	g.idle = true
	step := func(dst Buffer, rows int) {
		b := mixed(rows, dim)
		in := Buffer{x.Ptr, b.Len(), x.Type}
		d.Step(Buffer{dst.Ptr, b.Len(), dst.Type}, in, in, b, nil)
	}
	check := func(dst Buffer, rows int) {
		t.Helper()
		b := mixed(rows, dim)
		want, got := make([]float32, b.Len()), make([]float32, 129*dim)
		sampler.CPU{Workers: 1}.Step(want, want, want, b, nil)
		if err := d.Download(got, dst); err != nil {
			t.Fatal(err)
		}
		same := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
		if !slices.EqualFunc(got[:len(want)], want, same) {
			t.Errorf("a step of %d rows has other results than the CPU", rows)
		}
	}
	earlier := tc.waits
	if tc.sent > 0 {
		earlier = tc.sent
		step(y[0], tc.sent)
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
	} else if tc.waits > 0 {
		step(y[0], tc.waits)
	}

	call := tc.calls[i]
	g.failAt, g.code = g.calls+2+i, outOfMemory // after enter
	step(y[1], tc.rows)
	if g.failed != call.name {
		t.Fatalf("%q failed, want %q", g.failed, call.name)
	}
	if g.calls != g.failAt {
		t.Errorf("%d calls of the driver after the failure", g.calls-g.failAt)
	}
	err := d.Sync()
	want := fmt.Sprintf("cuda: Step on %d rows of %d: %s%s: injected (error %d)", tc.rows, dim, call.where, call.name, outOfMemory)
	if err == nil || err.Error() != want {
		t.Errorf("Sync: %v\nwant: %s", err, want)
	}
	if of := (*driverError)(nil); !errors.As(err, &of) || !errors.Is(err, ErrMemory) {
		t.Errorf("%v does not keep the driver's error", err)
	}
	launches := 0
	if earlier > 0 {
		launches = 1
	}
	if len(g.launches) != launches {
		t.Errorf("%d launches, want %d", len(g.launches), launches)
	}
	if !again {
		return
	}
	step(y[1], tc.rows)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	check(y[1], tc.rows)
	if earlier > 0 {
		check(y[0], earlier)
	}
}

// A failure while tables are released is an error, and the rest is released.
func TestTableReleaseFailures(t *testing.T) {
	calls := []string{"free", "freeEvent", "freeHost", "freeEvent", "freeHost"} // of two tables
	for i, name := range calls {
		t.Run(fmt.Sprint(i, name), func(t *testing.T) {
			d, g := open(t, 1)
			x := zeros(t, d, 30, sampler.Float32)
			g.idle = true
			for range 2 {
				d.Step(x, x, x, mixed(3, 10), nil)
			}
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			if err := g.enter(); err != nil {
				t.Fatal(err)
			}
			defer g.leave()
			memory, _ := g.mem.InUse()
			pinned, events, before := len(g.pinned), len(g.events), g.calls
			g.failAt, g.code = g.calls+1+i, 719
			err := d.rows.release(g)
			if want := name + ": injected (error 719)"; g.failed != name || err == nil || err.Error() != want {
				t.Errorf("release: %v, want %s", err, want)
			}
			if of := (*driverError)(nil); !errors.As(err, &of) {
				t.Errorf("%v does not keep the driver's error", err)
			}
			after, _ := g.mem.InUse()
			if g.calls-before != len(calls) || memory-after != 1 || pinned-len(g.pinned) != 2 || events-len(g.events) != 2 {
				t.Errorf("%d calls return %d allocations, %d pinned ones and %d events, want %d, 1, 2 and 2",
					g.calls-before, memory-after, pinned-len(g.pinned), events-len(g.events), len(calls))
			}
			if err := d.rows.release(g); err != nil || g.calls-before != len(calls) {
				t.Errorf("released again: %v", err)
			}
		})
	}
}
