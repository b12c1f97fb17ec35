package main

import "fmt"

// A vec is a virtual vector register. A function may use any number; assign gives each a
// real register.
type vec int

// newest is the number of the next vector. Functions share no vectors.
var newest vec

func fresh() vec { newest++; return newest - 1 }

// An op is an instruction on vectors. The vectors are in the order of ARM's manual, with
// the destination first. {0}, {1} and {2} in text stand for their numbers.
type op struct {
	text string // for Go's assembler
	word uint32 // the encoding, if Go's assembler has no name for it; then text is a comment
}

// An inst is an instruction, or a label before the next instruction.
type inst struct {
	op
	vecs   []vec
	label  string
	target string // of a branch
}

// A stream is a list of instructions. Streams that do not depend on each other are
// merged, so that one works while the other waits.
type stream []inst

// text appends an instruction without vectors.
func (s *stream) text(format string, args ...any) {
	*s = append(*s, inst{op: op{text: fmt.Sprintf(format, args...)}})
}

func (s *stream) label(name string) { *s = append(*s, inst{label: name}) }

// branch appends a branch. target replaces the verb of format.
func (s *stream) branch(format, target string) {
	*s = append(*s, inst{op: op{text: fmt.Sprintf(format, target)}, target: target})
}

// into appends an instruction whose destination is d. It may read d, too.
func (s *stream) into(d vec, o op, from ...vec) {
	*s = append(*s, inst{op: o, vecs: append([]vec{d}, from...)})
}

// do appends an instruction with a new destination.
func (s *stream) do(o op, from ...vec) vec {
	d := fresh()
	s.into(d, o, from...)
	return d
}

// A wide is a list of vectors that go through the same instructions.
type wide []vec

// all returns a wide of one vector. each pairs this vector with every vector of other
// wides.
func all(v vec) wide { return wide{v} }

// each appends an instruction for every vector of the widest argument.
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

// load and store move 16, 8 or 4 bytes. A load of fewer than 16 bytes sets the others to
// 0.
func (s *stream) load(base string, offset, bytes int) vec {
	return s.do(op{text: fmt.Sprintf("%s %d(%s), F{0}", move(bytes), offset, base)})
}

func (s *stream) store(v vec, base string, offset, bytes int) {
	s.into(v, op{text: fmt.Sprintf("%s F{0}, %d(%s)", move(bytes), offset, base)})
}

func move(bytes int) string { return map[int]string{4: "FMOVS", 8: "FMOVD", 16: "FMOVQ"}[bytes] }

func (s *stream) loadPair(base string, offset int) wide {
	w := wide{fresh(), fresh()}
	s.loadInto(w, base, offset)
	return w
}

func (s *stream) loadInto(w wide, base string, offset int) {
	s.into(w[0], op{text: fmt.Sprintf("FLDPQ %d(%s), (F{0}, F{1})", offset, base)}, w[1])
}

func (s *stream) storePair(w wide, base string, offset int) {
	s.into(w[0], op{text: fmt.Sprintf("FSTPQ (F{0}, F{1}), %d(%s)", offset, base)}, w[1])
}

// broadcast loads one word to all lanes of v.
func (s *stream) broadcast(v vec, base string) {
	s.into(v, op{text: fmt.Sprintf("VLD1R (%s), [V{0}.S4]", base)})
}

// fill sets all lanes to the value of a general register.
func (s *stream) fill(from string) vec {
	return s.do(op{text: fmt.Sprintf("VDUP %s, V{0}.S4", from)})
}

func (s *stream) zero(v vec) { s.into(v, xor, v, v) }

// merge interleaves the instructions of all streams evenly.
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
