package ptx

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func TestMemoryErrors(t *testing.T) {
	m := Memory{Limit: 1000}
	a, err := m.Alloc(600)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 600)
	_, tooMuch := m.Alloc(401)
	_, zero := m.Alloc(0)
	_, two := (&Memory{Limit: 1}).Alloc(2)
	_, huge := new(Memory).Alloc(maxAllocation + 1)
	unwritten := m.Read(buf, a)
	if err := m.Write(a, buf[:599]); err != nil {
		t.Fatal(err)
	}
	_, noQuery := m.Written(a+1, 600)
	for _, test := range []struct {
		name string
		got  error
		want error
	}{
		{"alloc beyond the limit", tooMuch, ErrOutOfMemory},
		{"alloc of two bytes of one", two, ErrOutOfMemory},
		{"alloc of nothing", zero, ErrInvalidValue},
		{"huge alloc", huge, ErrOutOfMemory},
		{"read of unwritten", unwritten, ErrUnwritten},
		{"read of one unwritten byte", m.Read(buf, a), ErrUnwritten},
		{"read beyond the end", m.Read(buf, a+1), ErrBounds},
		{"write beyond the end", m.Write(a+1, buf), ErrBounds},
		{"write before the start", m.Write(a-1, buf), ErrBounds},
		{"write at null", m.Write(0, buf), ErrBounds},
		{"write nowhere", m.Write(1<<63, buf), ErrBounds},
		{"fill of too much", m.Fill(a, 0, 601), ErrBounds},
		{"fill of a negative length", m.Fill(a, 0, -1), ErrInvalidValue},
		{"query beyond the end", noQuery, ErrBounds},
		{"free inside", m.Free(a + 256), ErrInvalidValue},
		{"free of null", m.Free(0), ErrBounds},
		{"free", m.Free(a), nil},
		{"free again", m.Free(a), ErrFreed},
		{"read after free", m.Read(buf[:1], a), ErrFreed},
	} {
		if !errors.Is(test.got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, test.got, test.want)
		}
	}
	if n, b := m.InUse(); n != 0 || b != 0 {
		t.Errorf("%d allocations with %d bytes in use", n, b)
	}
	if _, err := m.Alloc(1000); err != nil {
		t.Errorf("the freed memory is not available: %v", err)
	}
}

// TestMemory compares a memory with slices under random writes, fills and reads.
func TestMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Memory
		n := rapid.IntRange(1, 700).Draw(t, "n")
		a, err := m.Alloc(int64(n))
		if err != nil {
			t.Fatal(err)
		}
		if a%allocationUnit != 0 {
			t.Fatalf("address %#x", a)
		}
		data, written := make([]byte, n), make([]bool, n)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			i := rapid.IntRange(0, n).Draw(t, "from")
			j := rapid.IntRange(i, n).Draw(t, "to")
			at := a + uint64(i)
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				src := rapid.SliceOfN(rapid.Byte(), j-i, j-i).Draw(t, "bytes")
				copy(data[i:], src)
				err = m.Write(at, src)
			case 1:
				v := rapid.Byte().Draw(t, "byte")
				for k := i; k < j; k++ {
					data[k] = v
				}
				err = m.Fill(at, v, int64(j-i))
			case 2:
				count := 0
				for _, w := range written[i:j] {
					if w {
						count++
					}
				}
				if got, err := m.Written(at, int64(j-i)); err != nil || got != int64(count) {
					t.Fatalf("%d of %d written, want %d, %v", got, j-i, count, err)
				}
				dst := make([]byte, j-i)
				err := m.Read(dst, at)
				if count < j-i != errors.Is(err, ErrUnwritten) || err == nil && !bytes.Equal(dst, data[i:j]) {
					t.Fatalf("read: %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for k := i; k < j; k++ {
				written[k] = true
			}
		}
	})
}

// TestMemoryConcurrent is for the race detector: launches, copies and allocations of
// several goroutines on one memory.
func TestMemoryConcurrent(t *testing.T) {
	m, err := Parse(wrapped("st.global.u32 [%d1], %r0;"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Kernel("k")
	if err != nil {
		t.Fatal(err)
	}
	var mem Memory
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				a, err := mem.Alloc(128)
				if err != nil {
					t.Error(err)
					return
				}
				params, err := k.Pack(a, 0)
				if err != nil {
					t.Error(err)
				}
				if _, err := k.Launch(&mem, Config{Grid: Dim{1, 1, 1}, Block: Dim{32, 1, 1}}, params); err != nil {
					t.Error(err)
				}
				buf := make([]byte, 128)
				if err := mem.Read(buf, a); err != nil || buf[31*4] != 31 {
					t.Errorf("%v %d", err, buf[31*4])
				}
				if err := mem.Free(a); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, _ := mem.InUse(); n != 0 {
		t.Errorf("%d allocations left", n)
	}
}
