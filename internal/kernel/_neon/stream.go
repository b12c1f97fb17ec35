package main

import "fmt"

// A vec is a vector register, of which a function has as many as it likes until assign
// gives each a real one.
type vec int

// newest numbers the vectors; functions do not share any.
var newest vec

func fresh() vec { newest++; return newest - 1 }

// An op is an instruction on vectors. They stand in the order of ARM's manual,
// destination first, and {0}, {1} and {2} in the text are their numbers.
type op struct {
	text string // for Go's assembler
	word uint32 // or an instruction that it has no name for; text is a comment then
}

// An inst is an instruction, or a label before the next one.
type inst struct {
	op
	vecs   []vec
	label  string
	target string // of a branch
}

// A stream is instructions in order. Streams that do not depend on each other are
// merged, so that one works while the other waits.
type stream []inst

// text appends an instruction without vectors.
func (s *stream) text(format string, args ...any) {
	*s = append(*s, inst{op: op{text: fmt.Sprintf(format, args...)}})
}

func (s *stream) label(name string) { *s = append(*s, inst{label: name}) }

// branch appends a branch, whose target the format names.
func (s *stream) branch(format, target string) {
	*s = append(*s, inst{op: op{text: fmt.Sprintf(format, target)}, target: target})
}

// into appends an instruction whose destination is d, which it may read too.
func (s *stream) into(d vec, o op, from ...vec) {
	*s = append(*s, inst{op: o, vecs: append([]vec{d}, from...)})
}

// do appends an instruction with a new destination.
func (s *stream) do(o op, from ...vec) vec {
	d := fresh()
	s.into(d, o, from...)
	return d
}

// A wide is some vectors to which the same is done.
type wide []vec

// all returns a wide that goes with any other: its vector goes with each of theirs.
func all(v vec) wide { return wide{v} }

// each appends an instruction for every vector of the widest.
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

// Loads and stores of 16, 8 or 4 bytes: a load of fewer than 16 leaves zeros in the rest.
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

// fill sets all lanes to a general register.
func (s *stream) fill(from string) vec {
	return s.do(op{text: fmt.Sprintf("VDUP %s, V{0}.S4", from)})
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
