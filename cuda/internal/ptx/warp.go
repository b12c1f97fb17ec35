package ptx

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// lanes holds a register for each thread of a warp. Bits beyond the width of the
// register are 0.
type lanes [warpSize]uint64

// specials holds the registers that the launch sets.
var specials = map[string]func(b *block, w *warp, lane int) uint32{
	"%tid.x":    func(b *block, w *warp, lane int) uint32 { return uint32(w.thread(lane).X) },
	"%tid.y":    func(b *block, w *warp, lane int) uint32 { return uint32(w.thread(lane).Y) },
	"%tid.z":    func(b *block, w *warp, lane int) uint32 { return uint32(w.thread(lane).Z) },
	"%ntid.x":   func(b *block, w *warp, lane int) uint32 { return uint32(b.config.Block.X) },
	"%ntid.y":   func(b *block, w *warp, lane int) uint32 { return uint32(b.config.Block.Y) },
	"%ntid.z":   func(b *block, w *warp, lane int) uint32 { return uint32(b.config.Block.Z) },
	"%ctaid.x":  func(b *block, w *warp, lane int) uint32 { return uint32(b.index.X) },
	"%ctaid.y":  func(b *block, w *warp, lane int) uint32 { return uint32(b.index.Y) },
	"%ctaid.z":  func(b *block, w *warp, lane int) uint32 { return uint32(b.index.Z) },
	"%nctaid.x": func(b *block, w *warp, lane int) uint32 { return uint32(b.config.Grid.X) },
	"%nctaid.y": func(b *block, w *warp, lane int) uint32 { return uint32(b.config.Grid.Y) },
	"%nctaid.z": func(b *block, w *warp, lane int) uint32 { return uint32(b.config.Grid.Z) },
	"%laneid":   func(b *block, w *warp, lane int) uint32 { return uint32(lane) },
	"%warpid":   func(b *block, w *warp, lane int) uint32 { return uint32(w.base / warpSize) },
}

// A path is a set of threads at the same instruction. They meet other threads at a
// later one.
type path struct {
	pc, meet int
	threads  uint32
}

// A warp is 32 threads in lockstep. The last warp of a block may have fewer.
type warp struct {
	block *block
	base  int    // the thread of the block in lane 0
	all   uint32 // lanes that have a thread
	live  uint32 // lanes whose thread has not exited
	regs  []lanes
	known []uint32 // for each register, the lanes that have written it
	// paths is a stack. The last path executes, and meets the paths below it.
	paths   []path
	barrier int      // where the warp waits
	sectors []uint64 // of global memory that the current instruction accesses
}

// thread returns the index in the block of the thread in a lane.
func (w *warp) thread(lane int) Dim { return w.block.config.Block.index(w.base + lane) }

func (w *warp) start() {
	w.live = w.all
	clear(w.known)
	for _, s := range w.block.kernel.specials {
		w.known[s.reg] = w.all
		for l := range bits.Len32(w.all) {
			w.regs[s.reg][l] = uint64(s.value(w.block, w, l))
		}
	}
	w.paths = append(w.paths[:0], path{0, -1, w.all})
}

// fault returns the error of the thread in a lane at an instruction.
func (w *warp) fault(pc, lane int, address uint64, err error) error {
	in := &w.block.kernel.code[pc]
	return &Fault{w.block.kernel.Name, in.line, in.String(), w.block.index, w.thread(lane), address, err}
}

// run executes until all threads wait at a barrier or have exited.
func (w *warp) run() error {
	b, code := w.block, w.block.kernel.code
	for {
		for len(w.paths) > 0 {
			if top := &w.paths[len(w.paths)-1]; top.threads != 0 && top.pc != top.meet {
				break
			}
			w.paths = w.paths[:len(w.paths)-1]
		}
		if len(w.paths) == 0 {
			return nil
		}
		p := &w.paths[len(w.paths)-1]
		pc, in := p.pc, &code[p.pc]
		b.stats.Instructions += uint64(bits.OnesCount32(p.threads))
		if b.config.Counts != nil {
			b.config.Counts[pc]++
		}
		if b.stats.Instructions > b.config.Limit {
			return w.fault(pc, bits.TrailingZeros32(p.threads), 0, fmt.Errorf("%w: %d", ErrLimit, b.config.Limit))
		}
		m := p.threads
		if in.guardReg >= 0 {
			on, err := w.guard(pc, in, m)
			if err != nil {
				return err
			}
			m = on
			if m == 0 {
				p.pc++
				continue
			}
		}
		p.pc++
		var err error
		switch in.form.kind {
		case kindScalar:
			err = w.scalar(pc, in, m)
		case kindBranch:
			err = w.branch(pc, in, m)
		case kindLoad, kindStore, kindAtomic, kindReduce:
			err = w.access(pc, in, m)
		case kindExit:
			w.live &^= m
			for i := range w.paths {
				w.paths[i].threads &^= m
			}
		case kindBarrier:
			if m != w.all {
				return w.absent(pc, m, w.all&^m, ErrBarrier)
			}
			w.barrier = pc
			return nil
		case kindWarpBarrier, kindShuffle, kindVote:
			err = w.together(pc, in, m)
		case kindTrap:
			err = w.fault(pc, bits.TrailingZeros32(m), 0, ErrTrap)
		default:
			err = w.move(pc, in, m)
		}
		if err != nil {
			return err
		}
	}
}

// guard returns the threads of m for which the instruction's guard is true.
func (w *warp) guard(pc int, in *instr, m uint32) (uint32, error) {
	g, err := w.source(pc, in.guardReg, m)
	if err != nil {
		return 0, err
	}
	var on uint32
	for l, x := range g {
		on |= uint32(x&1) << l
	}
	if in.not {
		on = ^on
	}
	return on & m, nil
}

// branch moves the threads of m, which take the branch. The path may divide.
func (w *warp) branch(pc int, in *instr, m uint32) error {
	p := &w.paths[len(w.paths)-1]
	stay := p.threads &^ m
	if stay == 0 {
		p.pc = in.target
		return nil
	}
	if in.form.uniform {
		return w.fault(pc, bits.TrailingZeros32(stay), 0, ErrDivergent)
	}
	sides := [2]path{{pc + 1, in.meet, stay}, {in.target, in.meet, m}}
	if r := w.block.random; r != nil && r.IntN(2) == 0 {
		sides[0], sides[1] = sides[1], sides[0]
	}
	if p.pc = in.meet; p.meet == in.meet {
		w.paths = w.paths[:len(w.paths)-1] // the path below meets there as well
	}
	w.paths = append(w.paths, sides[0], sides[1])
	return nil
}

// source returns a register or a constant. It is a fault if a thread of m has not
// written it.
func (w *warp) source(pc, i int, m uint32) (*lanes, error) {
	if i < 0 {
		return &w.block.kernel.consts[^i], nil
	}
	if missing := m &^ w.known[i]; missing != 0 {
		name := w.block.kernel.regs[i].name
		return nil, w.fault(pc, bits.TrailingZeros32(missing), 0, fmt.Errorf("%w: %s", ErrRegister, name))
	}
	return &w.regs[i], nil
}

// sources returns the sources of an instruction, with zeros for missing ones.
func (w *warp) sources(pc int, in *instr, m uint32) (s [4]*lanes, err error) {
	for i := range s {
		s[i] = &zeros
	}
	for i, r := range in.src {
		if s[i], err = w.source(pc, r, m); err != nil {
			return s, err
		}
	}
	return s, nil
}

var zeros lanes

// dst returns a destination register, and records that the threads of m write it.
func (w *warp) dst(r int, m uint32) *lanes {
	w.known[r] |= m
	return &w.regs[r]
}

// scalar applies the form's function to the sources of each thread.
func (w *warp) scalar(pc int, in *instr, m uint32) error {
	s, err := w.sources(pc, in, m)
	if err != nil {
		return err
	}
	f, a, b, c := in.form.eval, s[0], s[1], s[2]
	if f == nil {
		return w.fault(pc, bits.TrailingZeros32(m), 0, ErrNotExecuted)
	}
	if in.form.divides {
		for n := m; n != 0; n &= n - 1 {
			if l := bits.TrailingZeros32(n); b[l] == 0 {
				return w.fault(pc, l, 0, ErrDivision)
			}
		}
	}
	d := w.dst(in.dst[0], m)
	if m == 1<<warpSize-1 {
		for l := range d {
			d[l] = f(a[l], b[l], c[l]) & in.mask
		}
		return nil
	}
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m) % warpSize
		d[l] = f(a[l], b[l], c[l]) & in.mask
	}
	return nil
}

// move executes cvta and the movs that pack and unpack.
func (w *warp) move(pc int, in *instr, m uint32) error {
	s, err := w.sources(pc, in, m)
	if err != nil {
		return err
	}
	f := in.form
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		switch f.kind {
		case kindPack:
			var x uint64
			for i := range in.src {
				x |= s[i][l] << (uint(i) * f.src[0].bits())
			}
			w.dst(in.dst[0], 1<<l)[l] = x
		case kindUnpack:
			x := s[0][l]
			for i, r := range in.dst {
				w.dst(r, 1<<l)[l] = x >> (uint(i) * f.dst.bits()) & f.dst.mask()
			}
		case kindAddress:
			x := s[0][l]
			switch {
			case f.space != shared:
			case f.mode == "":
				x += sharedWindow
			default:
				x -= sharedWindow
			}
			w.dst(in.dst[0], 1<<l)[l] = x
		}
	}
	return nil
}

// access executes loads, stores and atomics, one thread after another, from a
// random one on.
func (w *warp) access(pc int, in *instr, m uint32) error {
	s, err := w.sources(pc, in, m)
	if err != nil {
		return err
	}
	base, err := w.source(pc, in.base, m)
	if err != nil {
		return err
	}
	first := 0
	if r := w.block.random; r != nil {
		first = r.IntN(warpSize)
	}
	w.sectors = w.sectors[:0]
	for i := range warpSize {
		l := (first + i) % warpSize
		if m>>l&1 == 0 {
			continue
		}
		address := base[l] + in.offset
		if in.form.space == shared {
			address &= 1<<32 - 1 // the bits of a 32-bit window
			if base[l]>>32 != 0 {
				return w.fault(pc, l, base[l]+in.offset, ErrBounds)
			}
		}
		if err := w.touch(in, l, address, &s); err != nil {
			return w.fault(pc, l, address, err)
		}
	}
	return nil
}

// touch executes a load, store or atomic of one thread.
func (w *warp) touch(in *instr, l int, address uint64, s *[4]*lanes) error {
	b, f := w.block, in.form
	ty := f.dst
	if ty == none {
		ty = f.src[0]
	}
	size := ty.bytes()
	n := size * uint(f.vector)
	if f.space == param {
		data, err := b.param(address, n)
		if err != nil {
			return err
		}
		w.load(in, l, data)
		return nil
	}
	seg, err := b.find(f.space, &address, n)
	if err != nil {
		return err
	}
	if address%uint64(n) != 0 {
		return fmt.Errorf("%w: not a multiple of %d", ErrAlign, n)
	}
	word, written := seg.bits(address, n)
	if f.kind != kindStore && *word&written != written {
		return ErrUnwritten
	}
	if b.order != nil {
		how := reads
		switch {
		case f.kind == kindStore:
			how = writes
		case f.kind != kindLoad:
			how = atomically
		case f.constant:
			how = readsConstant
		}
		if err := b.race(seg, address, n, w.base+l, how); err != nil {
			return err
		}
	}
	if address >= sharedWindow { // true of all global addresses, and of no shared one
		if sector := address / sectorBytes; !slices.Contains(w.sectors, sector) {
			w.sectors = append(w.sectors, sector)
			b.stats.Sectors++
		}
		if f.kind != kindStore {
			b.stats.Loaded += uint64(n)
		}
		if f.kind != kindLoad {
			b.stats.Stored += uint64(n)
		}
	}
	data := seg.at(address, n)
	switch f.kind {
	case kindLoad:
		w.load(in, l, data)
	case kindStore:
		for i := range in.src {
			put(data[uint(i)*size:][:size], s[i][l])
		}
		*word |= written
	default:
		old := get(data)
		put(data, f.eval(old, s[0][l], 0)&ty.mask())
		if f.kind == kindAtomic {
			w.dst(in.dst[0], 1<<l)[l] = old
		}
	}
	return nil
}

// load stores bytes in the destinations of a lane.
func (w *warp) load(in *instr, l int, data []byte) {
	ty := in.form.dst
	size := ty.bytes()
	for i, r := range in.dst {
		w.dst(r, 1<<l)[l] = ty.extend(get(data[uint(i)*size:][:size])) & in.mask
	}
}

func get(data []byte) uint64 {
	switch len(data) {
	case 1:
		return uint64(data[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(data))
	case 4:
		return uint64(binary.LittleEndian.Uint32(data))
	}
	return binary.LittleEndian.Uint64(data)
}

func put(data []byte, x uint64) {
	switch len(data) {
	case 1:
		data[0] = byte(x)
	case 2:
		binary.LittleEndian.PutUint16(data, uint16(x))
	case 4:
		binary.LittleEndian.PutUint32(data, uint32(x))
	default:
		binary.LittleEndian.PutUint64(data, x)
	}
}

// find returns the segment that holds the n bytes at an address. It turns a generic
// address of shared memory into a shared address.
func (b *block) find(sp space, address *uint64, n uint) (*segment, error) {
	if sp == generic && *address-sharedWindow < 1<<32 {
		*address -= sharedWindow
		sp = shared
	}
	if sp != shared {
		return b.memory.find(*address, uint64(n))
	}
	i := *address/sharedPage - 1
	if i >= uint64(len(b.shared)) {
		return nil, ErrBounds
	}
	s := b.shared[i]
	if *address < s.lo || *address > s.hi || uint64(n) > s.hi-*address {
		v := b.kernel.shared[i]
		return nil, fmt.Errorf("%w: %d bytes from offset %d of %s, which has %d", ErrBounds, n, int64(*address-s.lo), v.name, s.hi-s.lo)
	}
	return s, nil
}

// param returns n bytes of one parameter.
func (b *block) param(address uint64, n uint) ([]byte, error) {
	for _, p := range b.kernel.Params {
		off := address - paramBase - uint64(p.Offset)
		if off >= uint64(p.Size) {
			continue
		}
		switch {
		case off+uint64(n) > uint64(p.Size):
			return nil, fmt.Errorf("%w: %d bytes from offset %d of %s", ErrBounds, n, off, p.Name)
		case off%uint64(n) != 0 || int(n) > p.Align:
			return nil, fmt.Errorf("%w: %d bytes from offset %d of %s, aligned to %d", ErrAlign, n, off, p.Name, p.Align)
		}
		return b.params[uint64(p.Offset)+off:][:n], nil
	}
	return nil, ErrBounds
}

// absent returns the fault of a thread that waits for threads that do not come.
func (w *warp) absent(pc int, m, missing uint32, kind error) error {
	l := bits.TrailingZeros32(missing)
	why := "is elsewhere"
	switch {
	case w.all>>l&1 == 0:
		return w.fault(pc, bits.TrailingZeros32(m), 0, fmt.Errorf("%w: the block has no lane %d here", kind, l))
	case w.live>>l&1 == 0:
		why = "has exited"
	}
	return w.fault(pc, bits.TrailingZeros32(m), 0, fmt.Errorf("%w: thread %v %s", kind, w.thread(l), why))
}

// together executes what the threads of a member mask do together.
func (w *warp) together(pc int, in *instr, m uint32) error {
	s, err := w.sources(pc, in, m)
	if err != nil {
		return err
	}
	masks := s[len(in.src)-1]
	members := uint32(masks[bits.TrailingZeros32(m)])
	if missing := members &^ m; missing != 0 {
		return w.absent(pc, m, missing, ErrMembers)
	}
	for n := m; n != 0; n &= n - 1 {
		if l := bits.TrailingZeros32(n); uint32(masks[l]) != members || members>>l&1 == 0 {
			return w.fault(pc, l, 0, fmt.Errorf("%w: masks %#x and %#x", ErrMembers, members, masks[l]))
		}
	}
	switch in.form.kind {
	case kindWarpBarrier:
		if w.block.order != nil {
			w.block.order.warpBarrier(w.base, members)
		}
		return nil
	case kindVote:
		w.vote(in, m, s[0])
		return nil
	}
	return w.shuffle(pc, in, m, &s)
}

func (w *warp) vote(in *instr, m uint32, p *lanes) {
	var ballot uint32
	for n := m; n != 0; n &= n - 1 {
		l := bits.TrailingZeros32(n)
		ballot |= uint32(p[l]&1) << l
	}
	var r uint64
	switch in.form.mode {
	case "ballot":
		r = uint64(ballot)
	case "all":
		r = truth(ballot == m)
	case "any":
		r = truth(ballot != 0)
	case "uni":
		r = truth(ballot == m || ballot == 0)
	}
	d := w.dst(in.dst[0], m)
	for ; m != 0; m &= m - 1 {
		d[bits.TrailingZeros32(m)] = r
	}
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// shuffle follows the pseudocode of shfl.sync in the PTX ISA.
func (w *warp) shuffle(pc int, in *instr, m uint32, s *[4]*lanes) error {
	var r lanes
	for n := m; n != 0; n &= n - 1 {
		l := bits.TrailingZeros32(n)
		lane, by, limit, segment := l, int(s[1][l]&31), int(s[2][l]&31), int(s[2][l]>>8&31)
		first := lane & segment
		last := first | limit&^segment
		j, within := 0, false
		switch in.form.mode {
		case "up":
			j = lane - by
			within = j >= last
		case "down":
			j = lane + by
			within = j <= last
		case "bfly":
			j = lane ^ by
			within = j <= last
		case "idx":
			j = first | by&^segment
			within = j <= last
		}
		if !within {
			j = lane
		}
		if m>>j&1 == 0 {
			return w.fault(pc, l, 0, fmt.Errorf("%w: value of lane %d", ErrMembers, j))
		}
		r[l] = s[0][j]
	}
	d := w.dst(in.dst[0], m)
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		d[l] = r[l]
	}
	return nil
}
