package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// A vec is a vector register, of which a function has as many as it likes until assign
// gives each a real one.
type vec int

// An inst is an instruction. Its vectors stand in the order of ARM's manual, destination
// first, and text refers to them by index.
type inst struct {
	text   string // for Go's assembler
	word   uint32 // or an instruction that it has no name for; text is a comment then
	vecs   []vec
	label  string // stands here
	target string // of a branch
}

// A stream is instructions in order.
type stream []inst

// next numbers the vectors; functions do not share any.
var next vec

func fresh() vec { next++; return next - 1 }

// text appends an instruction without vectors.
func (s *stream) text(format string, args ...any) {
	*s = append(*s, inst{text: fmt.Sprintf(format, args...)})
}

func (s *stream) label(name string) { *s = append(*s, inst{label: name}) }

func (s *stream) branch(format, target string) {
	*s = append(*s, inst{text: fmt.Sprintf(format, target), target: target})
}

// An op is an instruction on whole registers. Go's assembler has the destination last.
type op struct {
	text string
	word uint32
}

func named(name, lanes string) op {
	return op{text: fmt.Sprintf("%s V%%[3]d.%s, V%%[2]d.%[2]s, V%%[1]d.%[2]s", name, lanes)}
}

func unnamed3(word uint32, name, to, from string) op {
	return op{fmt.Sprintf("%s v%%[1]d.%s, v%%[2]d.%s, v%%[3]d.%s", name, to, from, from), word}
}

func unnamed2(word uint32, name, to, from, more string) op {
	return op{fmt.Sprintf("%s v%%[1]d.%s, v%%[2]d.%s%s", name, to, from, more), word}
}

var (
	add  = named("VADD", "S4")
	sub  = named("VSUB", "S4")
	and  = named("VAND", "B16")
	or   = named("VORR", "B16")
	xor  = named("VEOR", "B16")
	uzp1 = named("VUZP1", "S4")
	uzp2 = named("VUZP2", "S4")
	zip1 = named("VZIP1", "S4")
	zip2 = named("VZIP2", "S4")
	zipl = named("VZIP1", "D2")
	ziph = named("VZIP2", "D2")
	tst  = named("VCMTST", "S4") // all ones where there is a common bit
	bsl  = named("VBSL", "B16")  // into the mask
	bit  = named("VBIT", "B16")  // into the first, bits of the second where the third has ones

	fadd   = unnamed3(0x4e20d400, "fadd", "4s", "4s")
	fsub   = unnamed3(0x4ea0d400, "fsub", "4s", "4s")
	fmul   = unnamed3(0x6e20dc00, "fmul", "4s", "4s")
	fcmeq  = unnamed3(0x4e20e400, "fcmeq", "4s", "4s")
	umull  = unnamed3(0x2ea0c000, "umull", "2d", "2s")
	umull2 = unnamed3(0x6ea0c000, "umull2", "2d", "4s")
	fsqrt  = unnamed2(0x6ea1f800, "fsqrt", "4s", "4s", "")
	scvtf  = unnamed2(0x4e21d800, "scvtf", "4s", "4s", "")
	ucvtf  = unnamed2(0x6e21d800, "ucvtf", "4s", "4s", "")
	fcvtn  = unnamed2(0x0e216800, "fcvtn", "4h", "4s", "")
	fcvtl  = unnamed2(0x0e217800, "fcvtl", "4s", "4h", "")
)

// fraction converts integers of 2⁻ⁿ.
func fraction(n int) op {
	return unnamed2(0x4f00e400|uint32(64-n)<<16, "scvtf", "4s", "4s", fmt.Sprintf(", #%d", n))
}

func sshr(n int) op {
	return unnamed2(0x4f000400|uint32(64-n)<<16, "sshr", "4s", "4s", fmt.Sprintf(", #%d", n))
}

func ushr(n int) op { return op{text: fmt.Sprintf("VUSHR $%d, V%%[2]d.S4, V%%[1]d.S4", n)} }
func shl(n int) op  { return op{text: fmt.Sprintf("VSHL $%d, V%%[2]d.S4, V%%[1]d.S4", n)} }
func dup(n int) op  { return op{text: fmt.Sprintf("VDUP V%%[2]d.S[%d], V%%[1]d.S4", n)} }

// into appends an instruction whose destination is d.
func (s *stream) into(d vec, o op, from ...vec) {
	*s = append(*s, inst{text: o.text, word: o.word, vecs: append([]vec{d}, from...)})
}

// do appends an instruction with a new destination.
func (s *stream) do(o op, from ...vec) vec {
	d := fresh()
	s.into(d, o, from...)
	return d
}

// A wide is some vectors to which the same is done.
type wide []vec

// each appends an instruction for every vector of wides, of which one that is alone goes
// with all.
func (s *stream) each(o op, from ...wide) (d wide) {
	size := 0
	for _, w := range from {
		size = max(size, len(w))
	}
	for h := range size {
		var of []vec
		for _, w := range from {
			of = append(of, w[h%len(w)])
		}
		d = append(d, s.do(o, of...))
	}
	return d
}

func all(v vec) wide { return wide{v} }

// Loads and stores of 16 or 4 bytes: a load of 4 leaves zeros in the other lanes.
func (s *stream) load(base string, offset, bytes int) vec {
	return s.do(op{text: fmt.Sprintf("%s %d(%s), F%%[1]d", move(bytes), offset, base)})
}

func (s *stream) store(v vec, base string, offset, bytes int) {
	s.into(v, op{text: fmt.Sprintf("%s F%%[1]d, %d(%s)", move(bytes), offset, base)})
}

func move(bytes int) string { return map[int]string{4: "FMOVS", 16: "FMOVQ"}[bytes] }

func (s *stream) loadPair(base string, offset int) (w wide) {
	w = wide{fresh(), fresh()}
	s.loadInto(w, base, offset)
	return w
}

func (s *stream) loadInto(w wide, base string, offset int) {
	s.into(w[0], op{text: fmt.Sprintf("FLDPQ %d(%s), (F%%[1]d, F%%[2]d)", offset, base)}, w[1])
}

func (s *stream) storePair(w wide, base string, offset int) {
	s.into(w[0], op{text: fmt.Sprintf("FSTPQ (F%%[1]d, F%%[2]d), %d(%s)", offset, base)}, w[1])
}

// broadcast loads one word to all lanes.
func (s *stream) broadcast(base string) vec {
	return s.do(op{text: fmt.Sprintf("VLD1R (%s), [V%%[1]d.S4]", base)})
}

// fill sets all lanes to a general register.
func (s *stream) fill(from string) vec {
	return s.do(op{text: fmt.Sprintf("VDUP %s, V%%[1]d.S4", from)})
}

func (s *stream) zero(v vec) { s.into(v, xor, v, v) }

// merge spreads the instructions of all streams evenly.
func merge(streams ...stream) (out stream) {
	next := make([]int, len(streams))
	total := 0
	for _, s := range streams {
		total += len(s)
	}
	for len(out) < total {
		best, least := -1, 2.0
		for i, s := range streams {
			if next[i] < len(s) {
				if at := (float64(next[i]) + 0.5) / float64(len(s)); at < least {
					best, least = i, at
				}
			}
		}
		out = append(out, streams[best][next[best]])
		next[best]++
	}
	return out
}

// A function is assembly to print.
type function struct {
	stream
	name, signature string
	frame, args     int
}

// assign gives every vector a register: one that is free from its first instruction to
// its last, or to the end of each loop at whose start it is needed.
func (f *function) assign() map[vec]int {
	first, last := map[vec]int{}, map[vec]int{}
	label := map[string]int{}
	for i, in := range f.stream {
		if in.label != "" {
			label[in.label] = i
		}
		for _, v := range in.vecs {
			if _, ok := first[v]; !ok {
				first[v] = i
			}
			last[v] = i
		}
	}
	for end, in := range f.stream {
		start, back := label[in.target]
		if !back || start > end {
			continue
		}
		for v := range last {
			if first[v] < start && last[v] >= start {
				last[v] = max(last[v], end)
			}
		}
	}
	vecs := make([]vec, 0, len(first))
	for v := range first {
		vecs = append(vecs, v)
	}
	slices.SortFunc(vecs, func(v, w vec) int {
		if first[v] != first[w] {
			return first[v] - first[w]
		}
		return int(v - w)
	})
	real := map[vec]int{}
	var owner [32]vec
	for i := range owner {
		owner[i] = -1
	}
	for _, v := range vecs {
		// An instruction reads before it writes.
		r := slices.IndexFunc(owner[:], func(w vec) bool {
			return w < 0 || last[w] < first[v] || last[w] == first[v] && first[w] < first[v]
		})
		if r < 0 {
			panic(fmt.Sprintf("%s: no register is free at instruction %d of %d", f.name, first[v], len(f.stream)))
		}
		owner[r], real[v] = v, r
	}
	return real
}

func (f *function) print(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $%d-%d\n", f.name, f.signature, f.name, f.frame, f.args)
	real := f.assign()
	for _, in := range f.stream {
		if in.label != "" {
			fmt.Fprintf(b, "\n%s:\n", in.label)
			continue
		}
		text, word := in.text, in.word
		if len(in.vecs) > 0 {
			var regs []any
			for i, v := range in.vecs {
				regs = append(regs, real[v])
				word |= uint32(real[v]) << [3]int{0, 5, 16}[i]
			}
			// Not all formats name every vector.
			text = fmt.Sprintf(text+"%[4]s", append(append(regs, make([]any, 3-len(regs))...), "")...)
		}
		if in.word != 0 {
			fmt.Fprintf(b, "\tWORD $0x%08x // %s\n", word, text)
		} else {
			fmt.Fprintf(b, "\t%s\n", text)
		}
	}
}

// constants are quadruples of words, one after the other in memory.
var constants [][4]uint32

// constant loads four words from the constants, to which tableReg points.
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

const tableReg = "R8"

func (s *stream) table() { s.text("MOVD $constants<>(SB), %s", tableReg) }

func printConstants(b *bytes.Buffer) {
	b.WriteString("\n")
	for i, q := range constants {
		for j := 0; j < 4; j += 2 {
			fmt.Fprintf(b, "DATA constants<>+%d(SB)/8, $0x%016x\n", 16*i+4*j, uint64(q[j])|uint64(q[j+1])<<32)
		}
	}
	fmt.Fprintf(b, "GLOBL constants<>(SB), RODATA|NOPTR, $%d\n", 16*len(constants))
}
