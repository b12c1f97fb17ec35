package ptx

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A step is one access of one thread, or a barrier. All threads of two blocks go
// through the same straight program.
type step struct {
	kind    string // load, store, add, barrier, warp barrier
	thread  int    // in the grid
	offset  int
	size    int
	members uint32
}

const (
	raceBlock = 36 // threads: a warp and a bit
	raceBytes = 32
)

var raceStep = rapid.Custom(func(t *rapid.T) step {
	s := step{kind: rapid.SampledFrom([]string{"load", "load", "store", "store", "add", "barrier", "warp barrier"}).Draw(t, "kind")}
	switch s.kind {
	case "warp barrier":
		s.members = rapid.SampledFrom([]uint32{1<<32 - 1, 0b11, 0b110, 0b111}).Draw(t, "members")
		return s
	case "barrier":
		return s
	}
	// Few threads are chosen, so that they meet: three of the first warp, one of the
	// second, two of the second block.
	s.thread = rapid.SampledFrom([]int{0, 1, 2, 33, raceBlock, raceBlock + 2}).Draw(t, "thread")
	s.size = 1 << rapid.IntRange(0, 4).Draw(t, "log size")
	if s.kind == "add" {
		s.size = 4
	}
	s.offset = s.size * rapid.IntRange(0, raceBytes/s.size-1).Draw(t, "slot")
	return s
})

// program writes the steps in PTX.
func program(steps []step) string {
	var b strings.Builder
	fmt.Fprintf(&b, "mad.lo.s32 %%r3, %%r1, %d, %%r0;\nmov.u32 %%r4, 0;\nmov.u64 %%d4, 0;\nmov.u16 %%h0, 0;\n", raceBlock)
	for _, s := range steps {
		if s.kind != "barrier" && s.kind != "warp barrier" {
			fmt.Fprintf(&b, "setp.eq.u32 %%p0, %%r3, %d;\n", s.thread)
		}
		width := map[int]string{1: "u8 %h0", 2: "u16 %h0", 4: "u32 %r4", 8: "u64 %d4", 16: "v2.u64 {%d4, %d5}"}[s.size]
		ty, reg, _ := strings.Cut(width, " ")
		switch s.kind {
		case "barrier":
			b.WriteString("bar.sync 0;\n")
		case "warp barrier":
			// Only a warp with all members executes it.
			fmt.Fprintf(&b, "mov.u32 %%r5, %d;\nshr.u32 %%r6, %%r5, %%r0;\nand.b32 %%r6, %%r6, 1;\nsetp.ne.s32 %%p1, %%r6, 0;\nsetp.lt.u32 %%p2, %%r0, 32;\nand.pred %%p1, %%p1, %%p2;\n@%%p1 bar.warp.sync %%r5;\n", s.members)
		case "load":
			fmt.Fprintf(&b, "@%%p0 ld.global.%s %s, [%%d0+%d];\n", ty, reg, s.offset)
		case "store":
			fmt.Fprintf(&b, "@%%p0 st.global.%s [%%d0+%d], %s;\n", ty, s.offset, strings.ReplaceAll(reg, "%d5", "%d4"))
		case "add":
			fmt.Fprintf(&b, "@%%p0 red.global.add.u32 [%%d0+%d], %%r4;\n", s.offset)
		}
	}
	return b.String()
}

// races reports whether two accesses of the steps are a race. It computes the closure
// of "happens before" over the steps of each thread.
func races(steps []step) bool {
	const threads = 2 * raceBlock
	// known[t] is the set of steps that have happened before thread t's next step.
	var known [threads]uint64
	join := func(group []int) {
		var all uint64
		for _, t := range group {
			all |= known[t]
		}
		for _, t := range group {
			known[t] = all
		}
	}
	for i, s := range steps {
		switch s.kind {
		case "barrier", "warp barrier":
			for block := range 2 {
				var group []int
				for t := range raceBlock {
					if s.kind == "barrier" || t < 32 && s.members>>t&1 == 1 {
						group = append(group, block*raceBlock+t)
					}
				}
				join(group)
			}
			continue
		}
		for j, e := range steps[:i] {
			if e.size == 0 || e.thread == s.thread || known[s.thread]>>j&1 == 1 ||
				e.offset+e.size <= s.offset || s.offset+s.size <= e.offset ||
				e.kind == "load" && s.kind == "load" || e.kind == "add" && s.kind == "add" {
				continue
			}
			return true
		}
		known[s.thread] |= 1 << i
	}
	return false
}

func raceProperty(t *rapid.T) {
	steps := rapid.SliceOfN(raceStep, 2, 12).Draw(t, "steps")
	s := scenario{body: program(steps), blocks: 2, block: raceBlock, words: raceBytes / 4, fill: true}
	_, err := s.launch(t, rapid.Uint64Range(0, 3).Draw(t, "seed"))
	if err != nil && !errors.Is(err, ErrRace) {
		t.Fatal(err)
	}
	switch want := races(steps); {
	case err != nil && !want:
		t.Fatalf("false alarm: %v", err)
	case err == nil && want && !forgets(steps):
		t.Fatal("race not found")
	}
}

// forgets reports whether the detector may miss a race. A cell has two slots for
// unordered readers or atomics. A barrier of some threads of a warp may order these
// two, and not a third one.
func forgets(steps []step) bool {
	for _, s := range steps {
		if s.kind == "warp barrier" && bits.OnesCount32(s.members) < 32 {
			return true
		}
	}
	return false
}

// TestRaceProperty compares the detector with the definition on random programs. It
// never gives a false alarm. It misses a race only if there is a barrier of a part of
// a warp.
func TestRaceProperty(t *testing.T) { rapid.Check(t, raceProperty) }

func FuzzRace(f *testing.F) { f.Fuzz(rapid.MakeFuzz(raceProperty)) }
