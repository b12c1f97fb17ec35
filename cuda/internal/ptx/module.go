package ptx

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A Module is the parsed text of a PTX file. It is immutable and safe for concurrent use.
type Module struct {
	Version string // of the PTX ISA, such as "6.3"
	Target  string // such as "sm_70"

	source  string
	kernels []*Kernel
}

// Kernels returns the kernels in the order of the source.
func (m *Module) Kernels() []*Kernel { return append([]*Kernel(nil), m.kernels...) }

// Kernel returns the kernel of that name.
func (m *Module) Kernel(name string) (*Kernel, error) {
	for _, k := range m.kernels {
		if k.Name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("ptx: no kernel %q", name)
}

// A Kernel is one entry of a module. It is immutable and safe for concurrent use.
type Kernel struct {
	Name   string
	Params []Param

	regs     []register
	specials []special
	consts   []lanes
	code     []instr
	shared   []variable
	dynamic  int // index in shared of the variable sized at launch, or -1
	bound    Dim // .maxntid or .reqntid; 0 if there is neither
	exact    bool

	// The parser's knowledge, kept to change single instructions:
	source  span // in the module
	line    int  // of the closing brace
	special map[string]int
	symbols map[string]uint64 // addresses of parameters and shared variables
	labels  map[string]int    // indices in code
	numbers map[uint64]int    // constants by value
}

// A span is a part of a source.
type span struct{ off, end int }

// A Param is one parameter of a kernel. Its place in the parameter buffer is in bytes.
type Param struct {
	Name                string
	Offset, Size, Align int
}

// ParamBytes returns the length of the parameter buffer.
func (k *Kernel) ParamBytes() int {
	if n := len(k.Params); n > 0 {
		return k.Params[n-1].Offset + k.Params[n-1].Size
	}
	return 0
}

// Pack returns a parameter buffer with one argument for each parameter. The value is the
// low bytes of the argument, little endian. So no parameter may be longer than 8 bytes.
// Floats are passed by their bits.
func (k *Kernel) Pack(args ...uint64) ([]byte, error) {
	if len(args) != len(k.Params) {
		return nil, fmt.Errorf("ptx: %s: %d arguments for %d parameters", k.Name, len(args), len(k.Params))
	}
	buf := make([]byte, k.ParamBytes())
	for i, p := range k.Params {
		if p.Size > 8 {
			return nil, fmt.Errorf("ptx: %s: parameter %s has %d bytes, and Pack takes at most 8", k.Name, p.Name, p.Size)
		}
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], args[i])
		copy(buf[p.Offset:], word[:p.Size])
	}
	return buf, nil
}

// An Instruction is one instruction of a kernel as the parser understood it.
type Instruction struct {
	Line   int
	Opcode string // with all modifiers
	Text   string
}

// Instructions returns the instructions in the order of the source.
func (k *Kernel) Instructions() []Instruction {
	list := make([]Instruction, len(k.code))
	for i := range k.code {
		in := &k.code[i]
		list[i] = Instruction{in.line, in.form.name, in.String()}
	}
	return list
}

// SharedBytes returns the size of a block's static shared memory.
func (k *Kernel) SharedBytes() int {
	n := 0
	for _, v := range k.shared {
		n = (n+v.align-1)/v.align*v.align + v.size
	}
	return n
}

type register struct {
	name string
	typ  typ
}

// A special is a register that the launch sets.
type special struct {
	reg   int
	value func(b *block, w *warp, lane int) uint32
}

// A variable is a variable in shared memory.
type variable struct {
	name        string
	size, align int
}

// An instr is an instruction: as written, and bound to registers and constants. An index
// ≥ 0 is a register of the kernel. A negative index is the complement of the index of a
// constant.
type instr struct {
	form   *form
	line   int
	source span // in the kernel
	not    bool // @!
	args   []operand
	guard  operand // kindNone if there is none

	guardReg int // -1: none
	dst, src []int
	mask     uint64 // of the destination register
	base     int    // of an address
	offset   uint64
	target   int // of a branch
	meet     int // where both sides of a branch meet again
}

type operandKind uint8

const (
	operandNone operandKind = iota
	operandRegister
	operandNumber
	operandSymbol
	operandVector
	operandMemory // text and base describe the base
)

// An operand as written.
type operand struct {
	kind  operandKind
	text  string
	reg   int // of a register
	value uint64
	float typ // f32 or f64 for a number written as the bits of one
	elems []operand
	base  operandKind
	off   int64
	line  int
}

func (o operand) String() string {
	switch o.kind {
	case operandVector:
		parts := make([]string, len(o.elems))
		for i, e := range o.elems {
			parts[i] = e.String()
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case operandMemory:
		if o.off != 0 {
			return fmt.Sprintf("[%s+%d]", o.text, o.off)
		}
		return "[" + o.text + "]"
	}
	return o.text
}

func (in *instr) String() string {
	var b strings.Builder
	if in.guard.kind != operandNone {
		b.WriteByte('@')
		if in.not {
			b.WriteByte('!')
		}
		b.WriteString(in.guard.text + " ")
	}
	b.WriteString(in.form.name)
	for i, a := range in.args {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + a.String())
	}
	return b.String()
}
