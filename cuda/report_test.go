//go:build cuda && linux && cgo

package cuda

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"cps/noise"
	"cps/sampler"

	"gorgonia.org/cu"
)

var (
	reportFile = flag.String("report", "", "measure the kernels and write JSON and a table to `file`.json and .md")
	reportRows = flag.Int("report-rows", 64, "rows of the batches that are measured")
	reportDim  = flag.Int("report-dim", 1<<18, "elements of a row")
	huge       = flag.Bool("huge", false, "test a row of more than 2³² elements, in 9 GB of device memory")
)

// A measurement is one pass against a copy of as many bytes within the device.
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

// elapsed returns the microseconds that f's work on the stream takes, the median of
// rounds of several calls each.
func elapsed(t *testing.T, d *Device, rounds, calls int, f func()) float64 {
	n := d.drv.(*nvidia)
	if err := n.enter(); err != nil {
		t.Fatal(err)
	}
	var events [2]cu.Event
	for i := range events {
		var err error
		if events[i], err = cu.MakeEvent(cu.DefaultEvent); err != nil {
			t.Fatal(err)
		}
	}
	n.leave()
	times := make([]float64, rounds)
	for r := range times {
		mark := func(e cu.Event) {
			if err := d.within(func() error { return e.Record(n.stream) }); err != nil {
				t.Fatal(err)
			}
		}
		mark(events[0])
		for range calls {
			f()
		}
		mark(events[1])
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		ms, err := events[0].Elapsed(events[1])
		if err != nil {
			t.Fatal(err)
		}
		times[r] = ms * 1000 / float64(calls)
	}
	for i := range events {
		if err := d.within(func() error { return cu.DestroyEvent(&events[i]) }); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(times)
	return times[rounds/2]
}

// TestReport measures every pass, in turns with a copy within the device that moves as
// many bytes.
func TestReport(t *testing.T) {
	if *reportFile == "" {
		t.Skip("needs the flag report")
	}
	d := gpuOrSkip(t, 0)
	const rounds, calls = 15, 10
	n := d.drv.(*nvidia)
	name, err := n.device.Name()
	if err != nil {
		t.Fatal(err)
	}
	r := report{Device: strings.TrimRight(name, "\x00"), Driver: cu.Version(), Rows: *reportRows, Dim: *reportDim, Rounds: rounds}

	b := sampler.Batch{Dim: *reportDim, Key: 1}
	start := b
	for i := range uint64(*reportRows) {
		b.Rows = append(b.Rows, sampler.Row{Affine: sampler.Affine{X: 0.9, V: -0.2, Eps: 0.3}, ID: noise.ID{Sample: i, Step: 3}})
		start.Rows = append(start.Rows, sampler.Start(i))
	}
	mixed := b
	mixed.Rows = slices.Clone(b.Rows)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(mixed.Rows), func(i, j int) { mixed.Rows[i], mixed.Rows[j] = mixed.Rows[j], mixed.Rows[i] })
	s := subject(t, d)
	sq, scale := make([]float64, len(b.Rows)), make([]float64, len(b.Rows))
	for i := range scale {
		scale[i] = 1e-9 * float64(i)
	}
	dv := s.New(b.Len(), sampler.Float32)
	d.Step(dv, Buffer{}, Buffer{}, start, nil)
	for _, typ := range allTypes {
		k := size(typ)
		x, v, next := s.New(b.Len(), typ), s.New(b.Len(), typ), s.New(b.Len(), typ)
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
			{"step with sums, rows mixed", 3 * k, func() { d.Step(next, x, v, mixed, sq) }},
			{"replay", 3 * k, func() { d.Squares(sq, next, x, v, b) }},
			{"gradient, in float32", 3*k + 8, func() { d.Grad(dv, next, x, v, b, scale) }},
		} {
			copied := pass.bytes * b.Len() / 2 // read, and written again
			from, to := s.New(copied/4, sampler.Float32), s.New(copied/4, sampler.Float32)
			copy := func() {
				err := d.within(func() error {
					return cu.MemcpyDtoDAsync(cu.DevicePtr(to.Ptr), cu.DevicePtr(from.Ptr), int64(copied), n.stream)
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			elapsed(t, d, 1, calls, pass.call) // memory and clocks
			elapsed(t, d, 1, calls, copy)
			us, reference := elapsed(t, d, rounds, calls, pass.call), elapsed(t, d, rounds, calls, copy)
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

func writeReport(t *testing.T, r report) {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%s, driver %d, %d rows of %d elements; medians of %d.\n\n", r.Device, r.Driver, r.Rows, r.Dim, r.Rounds)
	fmt.Fprintln(&table, "| Pass | bytes an element | µs | GB/s | copy GB/s | of copy | 10⁹ elements/s |\n|---|---|---|---|---|---|---|")
	for _, m := range r.Measurements {
		fmt.Fprintf(&table, "| %s | %d | %.1f | %.0f | %.0f | %.2f | %.1f |\n", m.Pass, m.Bytes, m.Microseconds, m.GBs, m.CopyGBs, m.OfCopy, m.Elements)
	}
	if err := os.WriteFile(*reportFile+".json", append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*reportFile+".md", []byte(table.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
}

// Beyond 2³² elements of a row, counters and addresses need all their bits.
func TestHugeRow(t *testing.T) {
	if !*huge {
		t.Skip("needs the flag huge")
	}
	d := gpuOrSkip(t, 0)
	const end = 5000
	many := uint64(1 << 32)
	b := sampler.Batch{Dim: int(many) + end, Key: 3, Rows: []sampler.Row{sampler.Start(5)}}
	x := subject(t, d).New(b.Dim, sampler.BFloat16)
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
