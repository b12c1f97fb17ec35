package cuda

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"cps/cuda/internal/ptx"
	"cps/sampler"
	"cps/sampler/devicetest"
)

// A gpu is a driver that runs the committed PTX in an interpreter. Like a GPU it does
// nothing at once. Queued work runs when it is waited for. Some of it runs at other
// calls, as the seed decides. The test fails for errors that a GPU would hide: races,
// reads of memory that nobody has written, and memory that was freed too early or
// never. Functions that free do so even if they fail, since CUDA's report earlier
// failures.
type gpu struct {
	t       testing.TB
	rand    *rand.Rand
	kernels [kernelCount]*ptx.Kernel
	mem     ptx.Memory
	sms     int

	queue  []func() error
	events map[event]bool // whether it was reached
	last   event
	pinned map[*byte]int
	broken error // the error of a queued call, which CUDA repeats forever

	mu     sync.Mutex // guards everything, since wait may be called beside other calls
	inside int        // goroutines between enter and leave
	closed bool

	failAt int // the number of the call that fails, from 1; 0: none
	code   int // its error
	calls  int
	failed string // the name of the call that failed

	stats    ptx.Stats // of all launches
	launches []kernel
	limit    uint64                // of instructions of a launch
	idle     bool                  // whether work runs only when it is waited for
	counts   [kernelCount][]uint64 // of each kernel's instructions, unless nil
	syncs    int
}

var parsed = sync.OnceValue(func() (k [kernelCount]*ptx.Kernel) {
	for i := range k {
		k[i] = parse(kernel(i), kernel(i).source())
	}
	return k
})

func parse(k kernel, source string) *ptx.Kernel {
	m, err := ptx.Parse(source)
	if err != nil {
		panic(err)
	}
	entry, err := m.Kernel(k.String())
	if err != nil {
		panic(err)
	}
	return entry
}

func newGPU(t testing.TB, seed uint64) *gpu {
	return &gpu{
		t: t, rand: rand.New(rand.NewPCG(seed, 7)), kernels: parsed(), sms: 1,
		events: map[event]bool{}, pinned: map[*byte]int{},
	}
}

// call starts every call of the driver, with the lock held.
func (g *gpu) call(name string) error {
	if g.t != nil && (g.inside == 0 || g.closed) {
		g.t.Errorf("%s without a context", name)
	}
	for !g.idle && len(g.queue) > 0 && g.rand.IntN(4) == 0 {
		g.runOne()
	}
	g.calls++
	if g.calls == g.failAt {
		g.failed = name
		return &driverError{name, g.code, "injected"}
	}
	return nil
}

func (g *gpu) runOne() {
	f := g.queue[0]
	g.queue = g.queue[1:]
	if g.broken == nil {
		g.broken = f()
	}
}

func (g *gpu) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside++
	if err := g.call("enter"); err != nil {
		g.inside--
		return err
	}
	return nil
}

func (g *gpu) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
}

func (g *gpu) resident(kernel) int { return 4 * g.sms }

func (g *gpu) reachable(uintptr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.call("reachable")
}

func (g *gpu) alloc(bytes int) (uintptr, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.call("alloc"); err != nil {
		return 0, err
	}
	p, err := g.mem.Alloc(int64(bytes))
	if errors.Is(err, ptx.ErrOutOfMemory) {
		return 0, &driverError{"alloc", outOfMemory, "out of memory"}
	}
	return uintptr(p), err
}

func (g *gpu) free(p uintptr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.call("free"), g.mem.Free(uint64(p)))
}

func (g *gpu) allocHost(bytes int) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.call("allocHost"); err != nil {
		return nil, err
	}
	m := make([]byte, bytes)
	g.pinned[unsafe.SliceData(m)] = bytes
	return m, nil
}

func (g *gpu) freeHost(m []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.call("freeHost")
	if n, ok := g.pinned[unsafe.SliceData(m)]; !ok || n != len(m) {
		return errors.New("not pinned memory")
	}
	delete(g.pinned, unsafe.SliceData(m))
	for i := range m {
		m[i] = 0xee
	}
	return err
}

func (g *gpu) upload(dst uintptr, src []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.call("upload"); err != nil {
		return err
	}
	g.queue = append(g.queue, func() error { return g.mem.Write(uint64(dst), src) })
	return nil
}

func (g *gpu) download(dst []byte, src uintptr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.call("download"); err != nil {
		return err
	}
	g.queue = append(g.queue, func() error { return g.read(dst, src) })
	return nil
}

// read reads memory, parts of which may never have been written, as a copy may.
func (g *gpu) read(dst []byte, src uintptr) error {
	err := g.mem.Read(dst, uint64(src))
	if errors.Is(err, ptx.ErrUnwritten) {
		return fmt.Errorf("copy of %d bytes at %#x: %w", len(dst), src, err)
	}
	return err
}

func (g *gpu) launch(k kernel, groups int, args []uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.call("launch"); err != nil {
		return err
	}
	params, err := g.kernels[k].Pack(args...)
	if err != nil {
		return err
	}
	config := ptx.Config{
		Grid:  ptx.Dim{X: groups, Y: 1, Z: 1},
		Block: ptx.Dim{X: warps * warpLen, Y: 1, Z: 1},
		Seed:  g.rand.Uint64(),
		Limit: g.limit, Counts: g.counts[k],
	}
	g.queue = append(g.queue, func() error {
		stats, err := g.kernels[k].Launch(&g.mem, config, params)
		g.launches = append(g.launches, k)
		g.stats.Instructions += stats.Instructions
		g.stats.Loaded += stats.Loaded
		g.stats.Stored += stats.Stored
		g.stats.Sectors += stats.Sectors
		return err
	})
	return nil
}

func (g *gpu) newEvent() (event, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.call("newEvent"); err != nil {
		return 0, err
	}
	g.last++
	g.events[g.last] = true
	return g.last, nil
}

func (g *gpu) record(e event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.call("record"); err != nil {
		return err
	}
	g.events[e] = false
	g.queue = append(g.queue, func() error {
		g.events[e] = true
		return nil
	})
	return nil
}

func (g *gpu) reached(e event) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.call("reached"); err != nil {
		return false, err
	}
	return g.events[e], g.broken
}

func (g *gpu) wait(e event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.syncs++
	if err := g.call("wait"); err != nil {
		return err
	}
	for !g.events[e] && g.broken == nil {
		g.runOne()
	}
	return g.broken
}

func (g *gpu) freeEvent(e event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.call("freeEvent")
	if _, ok := g.events[e]; !ok {
		return errors.New("no such event")
	}
	delete(g.events, e)
	return err
}

func (g *gpu) sync() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.syncs++
	if err := g.call("sync"); err != nil {
		return err
	}
	for len(g.queue) > 0 {
		g.runOne()
	}
	return g.broken
}

func (g *gpu) close() error {
	g.mu.Lock()
	err := g.call("close")
	g.closed = true
	g.mu.Unlock()
	g.leave()
	return err
}

// leaks returns an error that names what was not returned to the driver.
func (g *gpu) leaks() error {
	n, bytes := g.mem.InUse()
	if n > 0 || len(g.pinned) > 0 || len(g.events) > 0 {
		return fmt.Errorf("%d allocations of %d bytes, %d pinned ones and %d events leak", n, bytes, len(g.pinned), len(g.events))
	}
	return nil
}

// open returns a device on an interpreter, which is closed when the test ends.
func open(t testing.TB, seed uint64) (*Device, *gpu) {
	g := newGPU(t, seed)
	d := newDevice(g)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := g.leaks(); err != nil {
			t.Error(err)
		}
		if !g.closed {
			t.Error("the driver was not closed")
		}
	})
	return d, g
}

var allTypes = []sampler.Storage{sampler.Float32, sampler.BFloat16, sampler.Float16}

// made returns a new buffer, or ends the test.
func made(t testing.TB, d *Device, n int, typ sampler.Storage) Buffer {
	t.Helper()
	b, err := d.Make(n, typ)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// subject is the conformance suite's view of a device.
func subject(t testing.TB, d *Device) devicetest.Subject[Buffer] {
	return devicetest.Subject[Buffer]{
		Device: d,
		Types:  slices.Clone(allTypes),
		Upload: func(dst Buffer, src []float32) {
			if err := d.Upload(dst, src); err != nil {
				t.Fatal(err)
			}
		},
		Download: func(dst []float32, src Buffer) {
			if err := d.Download(dst, src); err != nil {
				t.Fatal(err)
			}
		},
	}
}
