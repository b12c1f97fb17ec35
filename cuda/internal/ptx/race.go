package ptx

import (
	"fmt"
	"math/bits"
)

// A moment is a thread and its clock. Thread 0 stands for no thread. A clock advances
// when its thread passes a barrier.
type moment struct{ thread, clock uint32 }

// A cell remembers the accesses to some bytes in this launch: the last write, and two
// reads or atomics that nothing orders. Two are enough to find a race with any third
// thread (after Flanagan and Freund, "FastTrack", PLDI 2009, with two readers). A write
// replaces all earlier accesses: what races with them races with it.
type cell struct {
	write          moment
	reads, atomics [2]moment
	constant       bool // one of the reads was ld.global.nc
}

// A shadow holds the cells of a segment, one for every 2^shift bytes from the origin.
// Cells start wide. A narrower access divides them.
type shadow struct {
	launch uint64
	shift  uint
	cells  []cell
}

// An access is a kind of access to memory.
type access uint8

const (
	reads access = iota
	readsConstant
	writes
	atomically
)

// reset forgets the accesses of earlier launches.
func (s *segment) reset(launch uint64) {
	s.shadow.launch, s.shadow.shift = launch, 4
	n := int((s.hi-s.origin())>>4) + 1
	if cap(s.shadow.cells) < n {
		s.shadow.cells = make([]cell, n)
		return
	}
	s.shadow.cells = s.shadow.cells[:n]
	clear(s.shadow.cells)
}

// divide makes the cells no wider than n bytes.
func (h *shadow) divide(n uint) {
	shift := uint(bits.TrailingZeros(n))
	if shift >= h.shift {
		return
	}
	parts := 1 << (h.shift - shift)
	cells := make([]cell, 0, len(h.cells)*parts)
	for _, c := range h.cells {
		for range parts {
			cells = append(cells, c)
		}
	}
	h.shift, h.cells = shift, cells
}

// An order knows which events of the current block's threads happened before others.
// Threads of different blocks are never ordered within a launch.
type order struct {
	first  uint32   // number of the block's first thread in the grid, from 1
	clock  []uint32 // of each thread, from 1
	passed []uint32 // the thread's clock before the last barrier of the block
	// seen[t][l] is the clock of lane l of t's warp up to which bar.warp.sync has
	// synchronised t with it. seen is nil until the first bar.warp.sync.
	seen [][warpSize]uint32
}

func newOrder(threads int) *order {
	return &order{clock: make([]uint32, threads), passed: make([]uint32, threads)}
}

// start prepares for a block. first is the number of its first thread.
func (o *order) start(first uint32) {
	o.first = first
	for i := range o.clock {
		o.clock[i], o.passed[i] = 1, 0
	}
	clear(o.seen)
}

// barrier orders all events before it in the block before all events after it.
func (o *order) barrier() {
	for i, c := range o.clock {
		o.passed[i], o.clock[i] = c, c+1
	}
}

// warpBarrier does the same for the members of the warp whose lane 0 is thread base.
func (o *order) warpBarrier(base int, members uint32) {
	if o.seen == nil {
		o.seen = make([][warpSize]uint32, len(o.clock))
	}
	var joint [warpSize]uint32
	for m := members; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		for i, c := range o.seen[base+l] {
			joint[i] = max(joint[i], c)
		}
		joint[l] = max(joint[l], o.clock[base+l])
		o.clock[base+l]++
	}
	for m := members; m != 0; m &= m - 1 {
		o.seen[base+bits.TrailingZeros32(m)] = joint
	}
}

// before reports whether an earlier access happened before the present of thread t. An
// access of no thread did.
func (o *order) before(e moment, t int) bool {
	if e.thread == 0 {
		return true
	}
	u := int(e.thread - o.first) // wraps for earlier blocks
	switch {
	case u == t:
		return true
	case uint(u) >= uint(len(o.clock)):
		return false
	case e.clock <= o.passed[u]:
		return true
	}
	return o.seen != nil && u/warpSize == t/warpSize && e.clock <= o.seen[t][u%warpSize]
}

// note keeps the access in a slot whose access is superseded, if there is one.
func (o *order) note(slots *[2]moment, t int, now moment) {
	for i := range slots {
		if o.before(slots[i], t) {
			slots[i] = now
			return
		}
	}
}

// conflict returns the first of the moments that did not happen before thread t's
// present.
func (o *order) conflict(t int, moments ...moment) (moment, bool) {
	for _, e := range moments {
		if !o.before(e, t) {
			return e, true
		}
	}
	return moment{}, false
}

// touch records an access of thread t. If it races, touch returns the other access.
func (o *order) touch(c *cell, t int, how access) (other moment, what string, race bool) {
	if !o.before(c.write, t) {
		return c.write, "write", true
	}
	if how != atomically {
		if e, bad := o.conflict(t, c.atomics[:]...); bad {
			return e, "atomic", true
		}
	}
	if how == writes || how == atomically {
		if e, bad := o.conflict(t, c.reads[:]...); bad {
			return e, "read", true
		}
		if c.constant {
			return c.reads[0], "ld.global.nc in the same launch", true
		}
	}
	if how == readsConstant {
		for _, e := range [...]moment{c.write, c.atomics[0]} {
			if e.thread != 0 {
				return e, "write in the same launch", true
			}
		}
		c.constant = true
	}
	now := moment{o.first + uint32(t), o.clock[t]}
	switch how {
	case writes:
		*c = cell{write: now}
	case atomically:
		o.note(&c.atomics, t, now)
	default:
		o.note(&c.reads, t, now)
	}
	return moment{}, "", false
}

// race checks an access of thread t of the current block to n bytes of a segment.
func (b *block) race(s *segment, address uint64, n uint, t int, how access) error {
	if s.shadow.launch != b.launch {
		s.reset(b.launch)
	}
	s.shadow.divide(n)
	i := (address - s.origin()) >> s.shadow.shift
	for j := range uint64(n) >> s.shadow.shift {
		if e, what, bad := b.order.touch(&s.shadow.cells[i+j], t, how); bad {
			n := b.config.Block.count()
			u := int(e.thread - 1)
			return fmt.Errorf("%w with a %s by block %v thread %v", ErrRace, what, b.config.Grid.index(u/n), b.config.Block.index(u%n))
		}
	}
	return nil
}
