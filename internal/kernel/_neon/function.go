package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A function is an assembly function to be printed.
type function struct {
	stream
	name, signature string
	frame, args     int // in bytes
}

// A span is the range of instructions in which a vector holds a value.
type span struct {
	vec
	first, last int
}

// spans returns the span of every vector, in order. If a loop needs a vector at its
// start, the span reaches to the end of the loop.
func (f *function) spans() []span {
	of := map[vec]*span{}
	label := map[string]int{}
	for i, in := range f.stream {
		if in.label != "" {
			label[in.label] = i
		}
		for _, v := range in.vecs {
			if of[v] == nil {
				of[v] = &span{vec: v, first: i}
			}
			of[v].last = i
		}
	}
	// Inner loops come first, so that outer loops see how far the inner spans reach.
	for end, in := range f.stream {
		if start, back := label[in.target]; back && start < end {
			for _, s := range of {
				if s.first < start && start <= s.last {
					s.last = max(s.last, end)
				}
			}
		}
	}
	var all []span
	for _, s := range of {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b span) int {
		if a.first != b.first {
			return a.first - b.first
		}
		return int(a.vec - b.vec)
	})
	return all
}

// assign gives every vector a register that is free in all of its span. An instruction
// reads before it writes. So its destination may take the register of a vector that it
// reads last.
func (f *function) assign() map[vec]int {
	const none = -1
	number := map[vec]int{}
	var owner [32]span
	for i := range owner {
		owner[i] = span{first: none, last: none}
	}
	for _, s := range f.spans() {
		r := slices.IndexFunc(owner[:], func(o span) bool {
			return o.last < s.first || o.last == s.first && o.first < s.first
		})
		if r < 0 {
			panic(fmt.Sprintf("%s: no register is free at instruction %d of %d", f.name, s.first, len(f.stream)))
		}
		owner[r], number[s.vec] = s, r
	}
	return number
}

func (f *function) print(w io.Writer) {
	fmt.Fprintf(w, "\n// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $%d-%d\n", f.name, f.signature, f.name, f.frame, f.args)
	number := f.assign()
	for _, in := range f.stream {
		if in.label != "" {
			fmt.Fprintf(w, "\n%s:\n", in.label)
			continue
		}
		text, word := in.text, in.word
		for i, v := range in.vecs {
			text = strings.ReplaceAll(text, fmt.Sprintf("{%d}", i), strconv.Itoa(number[v]))
			word |= uint32(number[v]) << [3]int{0, 5, 16}[i]
		}
		if in.word != 0 {
			fmt.Fprintf(w, "\tWORD $0x%08x // %s\n", word, text)
		} else {
			fmt.Fprintf(w, "\t%s\n", text)
		}
	}
}

// constants are the groups of four words in the table of constants, in order.
var constants [][4]uint32

const tableReg = "R8"

// table points tableReg to the constants.
func (s *stream) table() { s.text("MOVD $constants<>(SB), %s", tableReg) }

// constant loads four words, or one word four times.
func (s *stream) constant(w ...uint32) vec {
	q := [4]uint32{w[0], w[0], w[0], w[0]}
	if len(w) > 1 {
		q = [4]uint32(w)
	}
	i := slices.Index(constants, q)
	if i < 0 {
		i = len(constants)
		constants = append(constants, q)
	}
	return s.load(tableReg, 16*i, 16)
}

func (s *stream) constantF(x float64) vec { return s.constant(math.Float32bits(float32(x))) }

func printConstants(w io.Writer) {
	fmt.Fprintln(w)
	for i, q := range constants {
		for j := 0; j < 4; j += 2 {
			fmt.Fprintf(w, "DATA constants<>+%d(SB)/8, $0x%016x\n", 16*i+4*j, uint64(q[j])|uint64(q[j+1])<<32)
		}
	}
	fmt.Fprintf(w, "GLOBL constants<>(SB), RODATA|NOPTR, $%d\n", 16*len(constants))
}
