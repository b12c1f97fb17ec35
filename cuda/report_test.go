//go:build cuda && linux && cgo

package cuda

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"cps/cuda/standin/control"
	"cps/noise"
	"cps/sampler"

	"gorgonia.org/cu"
)

var (
	reportFile   = flag.String("report", "", "measure the kernels, print a table and write JSON to a `file`")
	reportRows   = flag.Int("report-rows", 64, "rows of the batches that are measured")
	reportDim    = flag.Int("report-dim", 1<<18, "elements of a row")
	reportRounds = flag.Int("report-rounds", 15, "rounds, of which the median counts")
	huge         = flag.Bool("huge", false, "test a row of more than 2³² elements, in 9 GB of device memory")
)

// A measurement compares one pass with a copy of as many bytes within the device.
type measurement struct {
	Pass         string  `json:"pass"`
	Bytes        int     `json:"bytes_per_element"` // read and written
	Microseconds float64 `json:"microseconds"`
	GBs          float64 `json:"gb_per_second"`
	CopyGBs      float64 `json:"copy_gb_per_second"`
	OfCopy       float64 `json:"of_copy"`
	Elements     float64 `json:"billion_elements_per_second"`
}

type report struct {
	Device       string        `json:"device"`
	Driver       int           `json:"driver"`
	Rows         int           `json:"rows"`
	Dim          int           `json:"dim"`
	Rounds       int           `json:"rounds"`
	Measurements []measurement `json:"measurements"`
}

// A stopwatch measures the time of a device's stream between two events.
type stopwatch struct {
	t      *testing.T
	d      *Device
	events [2]cu.Event
}

func newStopwatch(t *testing.T, d *Device) *stopwatch {
	w := &stopwatch{t: t, d: d}
	w.do(func() (err error) {
		for i := range w.events {
			if w.events[i], err = cu.MakeEvent(cu.DefaultEvent); err != nil {
				return err
			}
		}
		return nil
	})
	return w
}

func (w *stopwatch) close() {
	w.do(func() error { return errors.Join(cu.DestroyEvent(&w.events[0]), cu.DestroyEvent(&w.events[1])) })
}

// do calls f in the device's context.
func (w *stopwatch) do(f func() error) {
	w.t.Helper()
	if err := w.d.within(f); err != nil {
		w.t.Fatal(err)
	}
}

// microseconds returns the time that the stream takes for a call of f, as the mean of
// several.
func (w *stopwatch) microseconds(f func()) float64 {
	const calls = 10
	mark := func(e cu.Event) { w.do(func() error { return e.Record(w.d.drv.(*nvidia).stream) }) }
	mark(w.events[0])
	for range calls {
		f()
	}
	mark(w.events[1])
	if err := w.d.Sync(); err != nil {
		w.t.Fatal(err)
	}
	ms, err := w.events[0].Elapsed(w.events[1])
	if err != nil {
		w.t.Fatal(err)
	}
	return ms * 1000 / calls
}

// turns measures f and g in turns. It returns the median over the rounds for each.
func (w *stopwatch) turns(rounds int, f, g func()) (ofF, ofG float64) {
	w.microseconds(f) // warms up memory and clocks
	w.microseconds(g)
	var times [2][]float64
	for range rounds {
		times[0] = append(times[0], w.microseconds(f))
		times[1] = append(times[1], w.microseconds(g))
	}
	slices.Sort(times[0])
	slices.Sort(times[1])
	return times[0][rounds/2], times[1][rounds/2]
}

// TestReport measures every pass. In each round a copy within the device takes its
// turn, which moves as many bytes.
func TestReport(t *testing.T) {
	if *reportFile == "" {
		t.Skip("needs the flag report")
	}
	d := gpuOrSkip(t, 0)
	const mixedStep = "step with sums, rows mixed"
	w := newStopwatch(t, d)
	defer w.close()
	n := d.drv.(*nvidia)
	name, err := n.device.Name()
	if err != nil {
		t.Fatal(err)
	}
	r := report{Device: strings.TrimRight(name, "\x00"), Driver: cu.Version(), Rows: *reportRows, Dim: *reportDim, Rounds: *reportRounds}

	b := sampler.Batch{Dim: *reportDim, Key: 1}
	start := b
	for i := range uint64(*reportRows) {
		b.Rows = append(b.Rows, sampler.Row{Affine: sampler.Affine{X: 0.9, V: -0.2, Eps: 0.3}, ID: noise.ID{Sample: i, Step: 3}})
		start.Rows = append(start.Rows, sampler.InitialRow(i))
	}
	mixed := b
	mixed.Rows = slices.Clone(b.Rows)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(mixed.Rows), func(i, j int) { mixed.Rows[i], mixed.Rows[j] = mixed.Rows[j], mixed.Rows[i] })
	sq, scale := make([]float64, len(b.Rows)), make([]float64, len(b.Rows))
	for i := range scale {
		scale[i] = 1e-9 * float64(i)
	}
	dv := made(t, d, b.Len(), sampler.Float32)
	d.Step(dv, Buffer{}, Buffer{}, start, nil)
	for _, typ := range allTypes {
		k := size(typ)
		x, v, next := made(t, d, b.Len(), typ), made(t, d, b.Len(), typ), made(t, d, b.Len(), typ)
		for _, y := range []Buffer{x, v, next} {
			d.Step(y, Buffer{}, Buffer{}, start, nil)
		}
		for _, pass := range []struct {
			name  string
			bytes int
			call  func()
		}{
			{"initial noise", k, func() { d.Step(next, Buffer{}, Buffer{}, start, nil) }},
			{"step with sums", 3 * k, func() { d.Step(next, x, v, b, sq) }},
			{mixedStep, 3 * k, func() { d.Step(next, x, v, mixed, sq) }},
			{"replay", 3 * k, func() { d.SumSquares(sq, next, x, v, b) }},
			{"gradient, in float32", 3*k + 8, func() { d.Grad(dv, next, x, v, b, scale) }},
		} {
			if pass.name == mixedStep && len(b.Rows) == 1 {
				continue // a single row cannot be mixed
			}
			copied := pass.bytes * b.Len() / 2 // a copy reads and writes
			from, to := made(t, d, copied/4, sampler.Float32), made(t, d, copied/4, sampler.Float32)
			copy := func() {
				w.do(func() error {
					return cu.MemcpyDtoDAsync(cu.DevicePtr(to.Ptr), cu.DevicePtr(from.Ptr), int64(copied), n.stream)
				})
			}
			us, reference := w.turns(*reportRounds, pass.call, copy)
			total := float64(pass.bytes * b.Len())
			r.Measurements = append(r.Measurements, measurement{
				Pass: fmt.Sprintf("%s, %v", pass.name, typ), Bytes: pass.bytes, Microseconds: us,
				GBs: total / us / 1e3, CopyGBs: total / reference / 1e3, OfCopy: reference / us,
				Elements: float64(b.Len()) / us / 1e3,
			})
			for _, y := range []Buffer{from, to} {
				if err := d.Free(y); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, y := range []Buffer{x, v, next} {
			if err := d.Free(y); err != nil {
				t.Fatal(err)
			}
		}
	}
	writeReport(t, r)
}

// goal is the share of a copy's speed that a pass should reach.
const goal = 0.90

func writeReport(t *testing.T, r report) {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%s, driver %d, %d rows of %d elements; medians of %d rounds in which pass and copy take turns.", r.Device, r.Driver, r.Rows, r.Dim, r.Rounds)
	fmt.Fprintf(&table, "\nShares in bold letters are below %.2f of copy.\n\n", goal)
	fmt.Fprintln(&table, "| Pass | bytes an element | µs | GB/s | copy GB/s | of copy | 10⁹ elements/s |\n|---|---|---|---|---|---|---|")
	for _, m := range r.Measurements {
		share := fmt.Sprintf("%.2f", m.OfCopy)
		if m.OfCopy < goal {
			share = fmt.Sprintf("**%s, below %.2f**", share, goal)
		}
		fmt.Fprintf(&table, "| %s | %d | %.1f | %.0f | %.0f | %s | %.1f |\n", m.Pass, m.Bytes, m.Microseconds, m.GBs, m.CopyGBs, share, m.Elements)
	}
	if err := os.WriteFile(*reportFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
}

// A row of more than 2³² elements needs all bits of counters and addresses.
func TestHugeRow(t *testing.T) {
	if !*huge {
		t.Skip("needs the flag huge")
	}
	if control.Present() {
		t.Skip("the stand-in for the driver would take hours")
	}
	d := gpuOrSkip(t, 0)
	const end = 5000
	many := uint64(1 << 32)
	b := sampler.Batch{Dim: int(many) + end, Key: 3, Rows: []sampler.Row{sampler.InitialRow(5)}}
	x := made(t, d, b.Dim, sampler.BFloat16)
	sq := make([]float64, 1)
	d.Step(x, Buffer{}, Buffer{}, b, sq)
	got, want := make([]float32, 2*end), make([]float32, 2*end)
	if err := d.Download(got, Buffer{x.Ptr + 2*uintptr(b.Dim-2*end), 2 * end, x.Type}); err != nil {
		t.Fatal(err)
	}
	noise.Normal(want, b.Key, b.Rows[0].ID, uint64(b.Dim-2*end))
	for i := range want {
		if want[i] = sampler.BFloat16.Round(want[i]); got[i] != want[i] {
			t.Fatalf("element %d is %v, want %v", b.Dim-2*end+i, got[i], want[i])
		}
	}
	if err := d.Sync(); err != nil || !(sq[0] > 0.99*float64(b.Dim) && sq[0] < 1.01*float64(b.Dim)) {
		t.Errorf("sum %v, %v", sq, err)
	}
}
