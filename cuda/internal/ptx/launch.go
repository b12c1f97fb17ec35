package ptx

import (
	"fmt"
	"math/rand/v2"
)

const warpSize = 32

// DefaultLimit is the number of instructions that a launch without a limit may execute.
const DefaultLimit = 1 << 32

// Limits of a launch: those of sm_70, unless a kernel opts in to more.
const (
	maxThreads      = 1024
	maxSharedBytes  = 48 << 10
	maxGridX        = 1<<31 - 1
	maxGridYZ       = 1<<16 - 1
	maxBlockZ       = 64
	maxGridThreads  = 1<<31 - 1 - maxThreads // so that every int can count them
	maxPermutedGrid = 1 << 20
)

// A Dim is the extent of a grid or a block, or an index in one.
type Dim struct{ X, Y, Z int }

func (d Dim) String() string { return fmt.Sprintf("(%d,%d,%d)", d.X, d.Y, d.Z) }

func (d Dim) count() int { return d.X * d.Y * d.Z }

// index returns the i-th index in d; x runs fastest.
func (d Dim) index(i int) Dim { return Dim{i % d.X, i / d.X % d.Y, i / d.X / d.Y} }

// A Config says how to launch a kernel.
type Config struct {
	Grid, Block Dim    // all extents at least 1
	Shared      int    // bytes of dynamic shared memory, for extern .shared variables
	Seed        uint64 // decides the order of blocks, warps and lanes; 0 is ascending order
	Limit       uint64 // on executed instructions, over all threads; 0 is DefaultLimit
	Racy        bool   // skip the search for data races

	// Counts, unless nil, has an entry for each of [Kernel.Instructions]. Launch adds to
	// it how often warps executed the instruction. Threads of a warp that run together
	// count once.
	Counts []uint64
}

// Stats are the counts of a launch. After a fault they are the counts up to it.
type Stats struct {
	Instructions uint64 // executed by threads; a false guard counts too
	Loaded       uint64 // bytes from global memory
	Stored       uint64 // bytes to global memory
	// Sectors counts the pieces of 32 bytes of global memory that each instruction of a
	// warp accesses. Accesses are coalesced perfectly if 32·Sectors = Loaded + Stored.
	Sectors uint64
}

const sectorBytes = 32

// Launch executes the kernel to its end. It returns a [*Fault] if a thread breaks a
// rule, and ErrLaunch for a configuration that a device would refuse. What was written
// before an error stays written.
func (k *Kernel) Launch(m *Memory, c Config, params []byte) (Stats, error) {
	if err := k.check(c, params); err != nil {
		return Stats{}, fmt.Errorf("ptx: %s: %w", k.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Limit == 0 {
		c.Limit = DefaultLimit
	}
	b := newBlock(k, m, c, params)
	n := c.Grid.count()
	var blocks []int
	if b.random != nil && n <= maxPermutedGrid {
		blocks = b.random.Perm(n)
	}
	for i := range n {
		if blocks != nil {
			i = blocks[i]
		}
		if err := b.execute(i); err != nil {
			return b.stats, err
		}
	}
	return b.stats, nil
}

func (k *Kernel) check(c Config, params []byte) error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrLaunch, fmt.Sprintf(format, args...))
	}
	in := func(n, most int) bool { return 1 <= n && n <= most }
	g, b := c.Grid, c.Block
	switch {
	case !in(g.X, maxGridX) || !in(g.Y, maxGridYZ) || !in(g.Z, maxGridYZ):
		return invalid("grid %v", g)
	case !in(b.X, maxThreads) || !in(b.Y, maxThreads) || !in(b.Z, maxBlockZ) || b.count() > maxThreads:
		return invalid("block %v", b)
	case g.X > maxGridThreads/b.count()/g.Y/g.Z:
		return invalid("grid %v of blocks %v has too many threads", g, b)
	case k.bound != Dim{} && (b.count() > k.bound.count() || k.exact && b != k.bound):
		return invalid("block %v of a kernel declared for %v", b, k.bound)
	case c.Shared < 0 || k.SharedBytes()+c.Shared > maxSharedBytes:
		return invalid("%d bytes of dynamic shared memory beside the kernel's own %d are too many, or negative", c.Shared, k.SharedBytes())
	case c.Counts != nil && len(c.Counts) != len(k.code):
		return invalid("%d counts for %d instructions", len(c.Counts), len(k.code))
	case len(params) != k.ParamBytes():
		return invalid("%d bytes of parameters for %d", len(params), k.ParamBytes())
	}
	return nil
}

// A block is the block that is executed. Blocks use its memory one after another.
type block struct {
	kernel *Kernel
	memory *Memory
	config Config
	params []byte
	launch uint64
	random *rand.Rand // nil: all orders are ascending
	stats  Stats

	index  Dim
	shared []*segment
	warps  []warp
	order  *order // nil: no search for races
	queue  []int  // of warps
}

func newBlock(k *Kernel, m *Memory, c Config, params []byte) *block {
	m.launches++
	b := &block{kernel: k, memory: m, config: c, params: params, launch: m.launches}
	if c.Seed != 0 {
		b.random = rand.New(rand.NewPCG(c.Seed, 0))
	}
	n := c.Block.count()
	if !c.Racy {
		b.order = newOrder(n)
	}
	for i, v := range k.shared {
		size := v.size
		if i == k.dynamic {
			size = c.Shared
		}
		b.shared = append(b.shared, newSegment(sharedAddress(i, v.align), size))
	}
	b.warps = make([]warp, (n+warpSize-1)/warpSize)
	regs := len(k.regs)
	if len(m.scratch) < len(b.warps)*regs { // not cleared: a read before a write is a fault
		m.scratch = make([]lanes, len(b.warps)*regs)
	}
	for i := range b.warps {
		w := &b.warps[i]
		*w = warp{block: b, base: i * warpSize, regs: m.scratch[i*regs:][:regs], known: make([]uint32, regs)}
		w.all = uint32(1<<min(n-w.base, warpSize) - 1)
		b.queue = append(b.queue, i)
	}
	return b
}

// execute runs the i-th block of the grid.
func (b *block) execute(i int) error {
	b.index = b.config.Grid.index(i)
	if b.order != nil {
		b.order.start(uint32(i*b.config.Block.count() + 1))
	}
	for _, s := range b.shared {
		clear(s.written)
		s.shadow.launch = 0
	}
	for i := range b.warps {
		b.warps[i].start()
	}
	for {
		if b.random != nil {
			b.random.Shuffle(len(b.queue), func(i, j int) { b.queue[i], b.queue[j] = b.queue[j], b.queue[i] })
		}
		for _, i := range b.queue {
			if err := b.warps[i].run(); err != nil {
				return err
			}
		}
		if done, err := b.meet(); done || err != nil {
			return err
		}
	}
}

// meet returns an error unless all warps wait at one barrier, or all have exited. In the
// second case the block is done.
func (b *block) meet() (done bool, err error) {
	var waiting, exited *warp
	for i := range b.warps {
		w := &b.warps[i]
		switch {
		case w.live == 0:
			exited = w
		case waiting != nil && waiting.barrier != w.barrier:
			other := &b.kernel.code[w.barrier]
			return false, waiting.fault(waiting.barrier, 0, 0, fmt.Errorf("%w: thread %v waits at line %d", ErrBarrier, w.thread(0), other.line))
		default:
			waiting = w
		}
	}
	if waiting == nil {
		return true, nil
	}
	if exited != nil {
		return false, waiting.fault(waiting.barrier, 0, 0, fmt.Errorf("%w: thread %v has exited", ErrBarrier, exited.thread(0)))
	}
	if b.order != nil {
		b.order.barrier()
	}
	return false, nil
}
