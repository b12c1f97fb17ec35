package kernel

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

const (
	segmentLen   = 1 << 24 // words of a line of testdata/words.txt
	segmentCount = 1 << 8
)

// go test ./internal/kernel -run TestWordDigests -words
var writeWords = flag.Bool("words", false, "write testdata/words.txt, from all 2³² words, in a minute")

func segments(of ...int) string {
	lines := make([]string, len(of))
	var wait sync.WaitGroup
	limit := make(chan bool, runtime.GOMAXPROCS(0))
	for i, s := range of {
		limit <- true
		wait.Go(func() {
			d := DigestWords(uint32(s)*segmentLen, segmentLen)
			lines[i] = fmt.Sprintf("%02x %016x %016x %016x %016x %016x\n", s, d[0], d[1], d[2], d[3], d[4])
			<-limit
		})
	}
	wait.Wait()
	return strings.Join(lines, "")
}

// The committed digests are those of this package. Other processors are compared
// with them. The test computes a few segments anew.
func TestWordDigests(t *testing.T) {
	const file = "testdata/words.txt"
	if *writeWords {
		all := make([]int, segmentCount)
		for i := range all {
			all[i] = i
		}
		if err := os.WriteFile(file, []byte(segments(all...)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	if len(lines) != segmentCount+1 {
		t.Fatalf("%d lines", len(lines))
	}
	some := []int{0x47, 0xff} // numbers that round to infinity; the largest words
	if testing.Short() {
		some = some[:1]
	}
	for _, s := range some {
		if got := segments(s); got != lines[s] {
			t.Errorf("segment %02x is\n%s, committed is\n%s", s, got, lines[s])
		}
	}
}

// A difference in the last bit of one word changes a digest.
func TestDigestWords(t *testing.T) {
	const first, n = 0x3f7ffff0, 64
	var want Digests
	for w := uint64(first); w < first+n; w++ {
		s, c := sincos(uint32(w))
		f := math.Float32frombits(uint32(w))
		for i, r := range []float32{radius(uint32(w)), s, c, BFloat16.Round(f), Float16.Round(f)} {
			want[i] += uint64(math.Float32bits(r)) * (2*w + 1)
		}
	}
	if got := DigestWords(first, n); got != want {
		t.Errorf("%x, want %x", got, want)
	}
	if got := DigestWords(0x7fc00000, 3); got[3] != 0 || got[4] != 0 {
		t.Errorf("NaNs count: %x", got)
	}
}
