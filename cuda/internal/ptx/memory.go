package ptx

import (
	"fmt"
	"math/bits"
	"sync"
)

const (
	page           = 1 << 32          // one for each allocation
	firstPage      = 0x7f00           // of the first allocation
	maxAllocation  = 1 << 30          // bytes
	allocationUnit = 256              // alignment of allocations, as cuMemAlloc's
	sharedWindow   = 0x7e00_0000_0000 // generic address of shared address 0
	sharedPage     = 1 << 20          // one for each variable
	paramBase      = 0x1000           // address of the parameter buffer
)

// A Memory is the global memory of a device. Allocations are aligned to 256 bytes, as
// on a device. They lie 4 GiB apart, each around or just below a multiple of 4 GiB. So
// a pointer that leaves one allocation never reaches another, and address arithmetic in
// 32 bits fails. Addresses are never reused. The zero value is an empty memory. All
// methods are safe for concurrent use. Launches on one memory execute one after
// another.
type Memory struct {
	Limit int64 // bytes for all allocations together; 0 is no limit

	mu       sync.Mutex
	segments []*segment // by page
	inUse    int64
	count    int
	launches uint64
	scratch  []lanes // memory for registers, kept from launch to launch
}

// A segment is an allocation or a shared variable.
type segment struct {
	lo, hi  uint64   // addresses
	data    []byte   // nil once freed
	written []uint64 // one bit for each byte, from origin
	shadow  shadow
}

// origin is the address at which the bits and cells of a segment start. All alignments
// divide it.
func (s *segment) origin() uint64 { return s.lo &^ (allocationUnit - 1) }

func newSegment(lo uint64, size int) *segment {
	s := &segment{lo: lo, hi: lo + uint64(size), data: make([]byte, size)}
	s.written = make([]uint64, (s.hi-s.origin()+63)/64)
	return s
}

// at returns the n bytes at an address.
func (s *segment) at(address uint64, n uint) []byte {
	return s.data[address-s.lo:][:n]
}

// bits returns the word and the mask of the bits for n bytes at an address. n divides
// the address.
func (s *segment) bits(address uint64, n uint) (word *uint64, mask uint64) {
	i := address - s.origin()
	return &s.written[i/64], (1<<n - 1) << (i % 64)
}

// mark records that the n bytes at an address are written.
func (s *segment) mark(address uint64, n uint64) {
	for i := address - s.origin(); n > 0; i, n = i+1, n-1 {
		s.written[i/64] |= 1 << (i % 64)
	}
}

// unwritten returns how many of the n bytes at an address nobody has written.
func (s *segment) unwritten(address uint64, n uint64) int {
	count := 0
	for i := address - s.origin(); n > 0; {
		m := min(64-i%64, n)
		word := s.written[i/64] >> (i % 64) << (64 - m)
		count += int(m) - bits.OnesCount64(word)
		i, n = i+m, n-m
	}
	return count
}

// find returns the segment that holds the n bytes at an address.
func (m *Memory) find(address uint64, n uint64) (*segment, error) {
	i := (address+page/2)/page - firstPage
	if address >= 1<<63 || i >= uint64(len(m.segments)) {
		return nil, ErrBounds
	}
	s := m.segments[i]
	switch {
	case address < s.lo || address > s.hi:
		return nil, ErrBounds
	case s.data == nil:
		return nil, ErrFreed
	case n > s.hi-address:
		return nil, fmt.Errorf("%w: %d bytes from offset %d of an allocation of %d", ErrBounds, n, address-s.lo, s.hi-s.lo)
	}
	return s, nil
}

// Alloc returns the address of n new bytes, n > 0. Reading them before they are
// written is an error.
func (m *Memory) Alloc(n int64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case n <= 0:
		return 0, fmt.Errorf("ptx: alloc of %d bytes: %w", n, ErrInvalidValue)
	case n > maxAllocation || m.Limit > 0 && n > m.Limit-m.inUse:
		return 0, fmt.Errorf("ptx: alloc of %d bytes with %d in use: %w", n, m.inUse, ErrOutOfMemory)
	}
	centre := uint64(firstPage+len(m.segments)) * page
	half := (uint64(n/2) + allocationUnit - 1) &^ (allocationUnit - 1)
	m.segments = append(m.segments, newSegment(centre-half, int(n)))
	m.inUse += n
	m.count++
	return centre - half, nil
}

// Free ends an allocation. The address must be one that Alloc returned.
func (m *Memory) Free(address uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(address, 0)
	if err == nil && s.lo != address {
		err = ErrInvalidValue
	}
	if err != nil {
		return fmt.Errorf("ptx: free of %#x: %w", address, err)
	}
	m.inUse -= int64(len(s.data))
	m.count--
	*s = segment{lo: s.lo, hi: s.hi}
	return nil
}

// InUse returns the number of allocations and of their bytes.
func (m *Memory) InUse() (allocations int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count, m.inUse
}

// Write copies src to the memory at an address.
func (m *Memory) Write(address uint64, src []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(address, uint64(len(src)))
	if err != nil {
		return fmt.Errorf("ptx: write of %d bytes at %#x: %w", len(src), address, err)
	}
	copy(s.at(address, uint(len(src))), src)
	s.mark(address, uint64(len(src)))
	return nil
}

// Fill sets n bytes at an address to value.
func (m *Memory) Fill(address uint64, value byte, n int64) error {
	if n < 0 || n > maxAllocation {
		return fmt.Errorf("ptx: fill of %d bytes at %#x: %w", n, address, ErrInvalidValue)
	}
	src := make([]byte, n)
	for i := range src {
		src[i] = value
	}
	return m.Write(address, src)
}

// Read copies the memory at an address to dst. Bytes that nobody has written are an error.
func (m *Memory) Read(dst []byte, address uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := uint64(len(dst))
	s, err := m.find(address, n)
	if err == nil {
		if u := s.unwritten(address, n); u > 0 {
			err = fmt.Errorf("%w: %d of them", ErrUnwritten, u)
		}
	}
	if err != nil {
		return fmt.Errorf("ptx: read of %d bytes at %#x: %w", n, address, err)
	}
	copy(dst, s.at(address, uint(n)))
	return nil
}

// Written returns how many of n bytes at an address have been written.
func (m *Memory) Written(address uint64, n int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(address, uint64(n))
	if err != nil {
		return 0, fmt.Errorf("ptx: query of %d bytes at %#x: %w", n, address, err)
	}
	return n - int64(s.unwritten(address, uint64(n))), nil
}

// sharedAddress returns the address of the shared variable with index i. It is aligned
// as declared, and not more.
func sharedAddress(i, align int) uint64 { return uint64(i+1)*sharedPage + uint64(align) }
