package cuda

import (
	"encoding/binary"
	"os"
	"testing"

	"cps/cuda/internal/ptx"
	spec "cps/internal/kernel"
)

// wordsSource returns the PTX of a kernel that sums up the functions of one word.
func wordsSource(t testing.TB) string {
	text, err := os.ReadFile("testdata/words.ptx")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// addDigests adds the sums of all threads.
func addDigests(memory []byte) (d spec.Digests) {
	for i := range len(memory) / 8 {
		d[i%len(d)] += binary.LittleEndian.Uint64(memory[8*i:])
	}
	return d
}

// The kernel that covers all words on a GPU runs in the interpreter for some
// words.
func TestWordsInterpreted(t *testing.T) {
	m, err := ptx.Parse(wordsSource(t))
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Kernel("words")
	if err != nil {
		t.Fatal(err)
	}
	const threads, count = 2 * warps * warpLen, 1000
	for _, first := range []uint32{0, 0x00002000, 0x33000000, 0x38800000 - 500, 0x477fe000, 0x7f800000 - 500, 0x80000000 - 500, 0xffffffff - count + 1} {
		var memory ptx.Memory
		const bytes = threads * len(spec.Digests{}) * 8
		at, err := memory.Alloc(int64(bytes))
		if err != nil {
			t.Fatal(err)
		}
		params, err := k.Pack(at, uint64(first), count)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Launch(&memory, ptx.Config{Grid: ptx.Dim{X: 2, Y: 1, Z: 1}, Block: ptx.Dim{X: warps * warpLen, Y: 1, Z: 1}}, params); err != nil {
			t.Fatal(err)
		}
		sums := make([]byte, bytes)
		if err := memory.Read(sums, at); err != nil {
			t.Fatal(err)
		}
		if got, want := addDigests(sums), spec.DigestWords(first, count); got != want {
			t.Errorf("%#x: %x, want %x", first, got, want)
		}
	}
}
