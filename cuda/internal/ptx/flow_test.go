package ptx

import (
	"testing"

	"pgregory.net/rapid"
)

// meetByDefinition returns the immediate postdominator of instruction i. A
// postdominator lies on every path from i to the exit. The immediate one is the
// nearest to i.
func meetByDefinition(code []instr, i int) int {
	exit := len(code)
	// reaches reports whether some path leads from an instruction to the exit without
	// passing through another.
	reaches := func(from, without int) bool {
		seen := make([]bool, exit+1)
		stack := []int{from}
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if n == without || seen[n] {
				continue
			}
			seen[n] = true
			if n == exit {
				return true
			}
			in := &code[n]
			switch in.form.kind {
			case kindBranch:
				stack = append(stack, in.target)
			case kindExit:
				stack = append(stack, exit)
			}
			if !in.leaves() {
				stack = append(stack, n+1)
			}
		}
		return false
	}
	if !reaches(i, -1) {
		return exit
	}
	var all []int
	for n := range code {
		if n != i && !reaches(i, n) {
			all = append(all, n)
		}
	}
	for _, n := range all {
		nearest := true
		for _, other := range all {
			nearest = nearest && (other == n || !reaches(n, other))
		}
		if nearest {
			return n
		}
	}
	return exit
}

// TestMeets compares the postdominators of random flow graphs with their definition.
// No compiler would make most of these graphs.
func TestMeets(t *testing.T) {
	opcodes := map[string]*form{}
	for _, name := range []string{"mov.u32", "bra", "exit", "trap"} {
		opcodes[name] = forms()[name]
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		code := make([]instr, n)
		for i := range code {
			name := rapid.SampledFrom([]string{"mov.u32", "bra", "bra", "bra", "exit", "trap"}).Draw(t, "opcode")
			guard := rapid.SampledFrom([]int{-1, 0, 0}).Draw(t, "guard")
			if i == n-1 {
				name, guard = "exit", -1
			}
			code[i] = instr{form: opcodes[name], guardReg: guard, target: rapid.IntRange(0, n-1).Draw(t, "target")}
		}
		setMeets(code)
		for i := range code {
			if want := meetByDefinition(code, i); code[i].meet != want {
				t.Fatalf("instruction %d meets at %d, want %d", i, code[i].meet, want)
			}
		}
	})
}
