package ptx

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// A Mutant is a module with one instruction changed. If tests pass on a mutant, they do
// not test that instruction, or the change makes no difference.
type Mutant struct {
	Kernel string
	Line   int
	Kind   string // of the change: one of [MutantKinds]
	Old    string // instruction
	New    string // empty if it is deleted
	Text   string // of the module
	Module *Module
}

func (m Mutant) String() string {
	to := m.New
	if to == "" {
		to = "nothing"
	}
	return fmt.Sprintf("%s, line %d, %s: %q becomes %q", m.Kernel, m.Line, m.Kind, m.Old, to)
}

// mutators holds the kinds of changes. Each calls emit with changed copies.
var mutators = []struct {
	kind string
	make func(k *Kernel, in *instr, emit func(*instr))
}{
	{"delete", deleted},
	{"guard", guards},
	{"operator", operators},
	{"relation", comparisonsChanged},
	{"type", typesChanged},
	{"rounding", roundingsChanged},
	{"order of operands", operandsSwapped},
	{"register", registersReplaced},
	{"number", numbersChanged},
	{"offset", offsetsShifted},
	{"parameter", parametersReplaced},
	{"special register", specialsReplaced},
}

// MutantKinds returns the kinds of changes that [Mutants] makes.
func MutantKinds() []string {
	var kinds []string
	for _, m := range mutators {
		kinds = append(kinds, m.kind)
	}
	return kinds
}

// Mutants returns all mutants of a module that [Parse] accepts, in the order of its
// instructions. The changes are small and typical. Some mutants behave like the
// original all the same, but a change that can never matter is left out, such as a swap
// of an addition's operands. The changes are:
//
//   - An instruction is deleted, which may be a barrier.
//   - A guard is negated or dropped.
//   - An operator, relation, type or rounding becomes a related one.
//   - Operands are swapped, or a source register becomes another one of the
//     instruction.
//   - A number changes by one; a float changes in its last bit or its sign.
//   - An address moves by one access.
//   - A parameter or special register becomes another one.
func Mutants(m *Module) iter.Seq[Mutant] {
	return func(yield func(Mutant) bool) {
		for n, k := range m.kernels {
			for i := range k.code {
				in := &k.code[i]
				seen := map[string]bool{in.String(): true}
				stopped := false
				for _, change := range mutators {
					change.make(k, in, func(changed *instr) {
						mutant := Mutant{Kernel: k.Name, Line: in.line, Kind: change.kind, Old: in.String()}
						if changed != nil {
							mutant.New = changed.String()
						}
						if stopped || seen[mutant.New] {
							return
						}
						seen[mutant.New] = true
						var err error
						if mutant.Module, err = m.replace(n, i, changed); err == nil {
							mutant.Text = mutant.Module.source
							stopped = !yield(mutant)
						}
					})
				}
				if stopped {
					return
				}
			}
		}
	}
}

// replace returns the module of the source with instruction i of kernel n changed, or
// deleted if changed is nil. It equals what [Parse] would return.
func (m *Module) replace(n, i int, changed *instr) (_ *Module, err error) {
	defer catch(&err)
	k := *m.kernels[n]
	k.code = slices.Clone(k.code)
	at := k.code[i].source
	start, end := k.source.off+at.off, k.source.off+at.end
	text := strings.Repeat("\n", strings.Count(m.source[start:end], "\n")) // lines keep their numbers
	if changed == nil {
		k.remove(i)
	} else {
		text = changed.String() + ";" + text
		k.rebind(i, changed)
	}
	moved := len(text) - (end - start)
	for j := range k.code {
		if s := &k.code[j].source; s.off > at.off {
			s.off, s.end = s.off+moved, s.end+moved
		}
	}
	k.source.end += moved

	c := *m
	c.source = m.source[:start] + text + m.source[end:]
	c.kernels = slices.Clone(m.kernels)
	c.kernels[n] = &k
	for j := n + 1; j < len(c.kernels); j++ {
		later := *c.kernels[j]
		later.source.off, later.source.end = later.source.off+moved, later.source.end+moved
		c.kernels[j] = &later
	}
	return &c, nil
}

// remove deletes instruction i. It panics with a *SyntaxError, as a parser does.
func (k *Kernel) remove(i int) {
	k.code = slices.Delete(k.code, i, i+1)
	k.labels = maps.Clone(k.labels)
	for label, at := range k.labels {
		if at > i {
			k.labels[label] = at - 1
		}
	}
	(&parser{k: k}).link()
}

// rebind puts a changed copy in place of instruction i. It panics with a *SyntaxError,
// as a parser does.
func (k *Kernel) rebind(i int, in *instr) {
	k.regs, k.consts, k.specials = slices.Clip(k.regs), slices.Clip(k.consts), slices.Clip(k.specials)
	k.special, k.numbers = maps.Clone(k.special), maps.Clone(k.numbers)
	p := &parser{k: k}
	in.form = forms()[in.form.name] // as parsed, before a mov became a pack
	for j, a := range in.args {
		if specials[a.text] != nil {
			in.args[j].reg = p.specialRegister(token{text: a.text, line: in.line})
		}
	}
	in.guardReg = -1
	if in.guard.kind != operandNone {
		in.guardReg = in.guard.reg
	}
	in.dst, in.src = nil, nil
	p.bind(in)
	in.source.end = in.source.off + len(in.String()) + 1
	flow := in.controls() || k.code[i].controls()
	if k.code[i] = *in; flow {
		p.link()
	}
}

// copyOf returns a copy whose operands can be changed.
func copyOf(in *instr) *instr {
	c := *in
	c.args = slices.Clone(in.args)
	for i := range c.args {
		c.args[i].elems = slices.Clone(c.args[i].elems)
	}
	return &c
}

// renamed returns a copy with another opcode, or nil if that opcode does not exist.
func renamed(in *instr, opcode string) *instr {
	f := forms()[opcode]
	if f == nil {
		return nil
	}
	c := copyOf(in)
	c.form = f
	return c
}

// emitRenamed emits in with the beginning of its opcode replaced.
func emitRenamed(in *instr, from, to string, emit func(*instr)) {
	if rest, ok := strings.CutPrefix(in.form.name, from); ok {
		if c := renamed(in, to+rest); c != nil {
			emit(c)
		}
	}
}

func deleted(_ *Kernel, _ *instr, emit func(*instr)) { emit(nil) }

func guards(_ *Kernel, in *instr, emit func(*instr)) {
	if in.guardReg < 0 {
		return
	}
	c := copyOf(in)
	c.not = !c.not
	emit(c)
	c = copyOf(in)
	c.guard, c.not = operand{}, false
	emit(c)
}

// siblings pairs beginnings of opcodes that compute something similar.
var siblings = [][2]string{
	{"add.", "sub."}, {"sub.", "add."},
	{"mul.rn.", "add.rn."}, {"mul.lo.", "add."}, {"mul.hi.", "mul.lo."},
	{"mad.lo.", "mad.hi."},
	{"div.rn.", "mul.rn."}, {"div.", "rem."}, {"rem.", "div."},
	{"sqrt.rn.", "mov."}, {"rcp.rn.", "mov."}, {"neg.", "mov."}, {"abs.", "mov."}, {"abs.", "neg."}, {"not.", "mov."}, {"brev.", "mov."},
	{"min.", "max."}, {"max.", "min."},
	{"and.", "or."}, {"or.", "and."}, {"xor.", "or."},
	{"shl.b", "shr.u"}, {"shr.u", "shl.b"}, {"shr.s", "shl.b"},
	{"shf.l.", "shf.r."}, {"shf.r.", "shf.l."},
	{"popc.", "clz."}, {"clz.", "popc."},
	{"shfl.sync.up.", "shfl.sync.down."}, {"shfl.sync.down.", "shfl.sync.up."}, {"shfl.sync.down.", "shfl.sync.bfly."},
	{"shfl.sync.bfly.", "shfl.sync.down."}, {"shfl.sync.idx.", "shfl.sync.bfly."},
	{"vote.sync.all.", "vote.sync.any."}, {"vote.sync.any.", "vote.sync.all."}, {"vote.sync.uni.", "vote.sync.all."},
}

func operators(_ *Kernel, in *instr, emit func(*instr)) {
	for _, s := range siblings {
		emitRenamed(in, s[0], s[1], emit)
	}
}

// neighbours holds, for each relation, its negation and those that differ from it at
// equality or NaN only.
var neighbours = map[string][]string{
	"eq": {"ne"}, "ne": {"eq"},
	"lt": {"ge", "le"}, "ge": {"lt", "gt"}, "le": {"gt", "lt"}, "gt": {"le", "ge"},
	"lo": {"hs", "ls"}, "hs": {"lo", "hi"}, "ls": {"hi", "lo"}, "hi": {"ls", "hs"},
	"equ": {"neu", "eq"}, "neu": {"equ", "ne"},
	"ltu": {"geu", "leu", "lt"}, "geu": {"ltu", "gtu", "ge"}, "leu": {"gtu", "ltu", "le"}, "gtu": {"leu", "geu", "gt"},
	"num": {"nan"}, "nan": {"num"},
}

func comparisonsChanged(_ *Kernel, in *instr, emit func(*instr)) {
	for relation, others := range neighbours {
		for _, other := range others {
			emitRenamed(in, "setp."+relation+".", "setp."+other+".", emit)
		}
	}
}

// signs maps each integer type to the type of the other signedness.
var signs = map[string]string{
	"u8": "s8", "s8": "u8", "u16": "s16", "s16": "u16", "u32": "s32", "s32": "u32", "u64": "s64", "s64": "u64",
}

// typesChanged changes the signedness of the last type, where that can matter.
func typesChanged(k *Kernel, in *instr, emit func(*instr)) {
	name := in.form.name
	op, _, _ := strings.Cut(name, ".")
	switch op {
	case "cvt", "shr", "bfe", "min", "max", "div", "rem":
	case "setp":
		if has(name, "eq") || has(name, "ne") {
			return
		}
	case "ld":
		if in.form.dst.bits() == k.regs[in.dst[0]].typ.bits() {
			return
		}
	case "mul", "mad":
		if has(name, "lo") {
			return
		}
	default:
		return
	}
	i := strings.LastIndexByte(name, '.') + 1
	sign, ok := signs[name[i:]]
	if !ok {
		return
	}
	name = name[:i] + sign
	if j := strings.LastIndexByte(name[:i-1], '.') + 1; op == "cvt" && j > 0 {
		if d, ok := signs[name[j:i-1]]; ok { // only the signedness of the source matters
			if wide, _ := typeOf(name[j : i-1]); wide.bits() <= in.form.src[0].bits() {
				return
			}
			name = name[:j] + d + name[i-1:]
		}
	}
	if c := renamed(in, name); c != nil {
		emit(c)
	}
}

func roundingsChanged(_ *Kernel, in *instr, emit func(*instr)) {
	for _, r := range [][2]string{{"rn", "rz"}, {"rz", "rn"}, {"rzi", "rni"}, {"rni", "rzi"}, {"rmi", "rpi"}, {"rpi", "rmi"}} {
		emitRenamed(in, "cvt."+r[0]+".", "cvt."+r[1]+".", emit)
	}
}

// commutative reports whether the first two sources can be exchanged.
func commutative(opcode string) bool {
	op, rest, _ := strings.Cut(opcode, ".")
	switch op {
	case "add", "mul", "mad", "fma", "and", "or", "xor", "min", "max":
		return true
	case "setp":
		relation, _, _ := strings.Cut(rest, ".")
		return slices.Contains([]string{"eq", "ne", "equ", "neu", "num", "nan"}, relation)
	}
	return false
}

func operandsSwapped(_ *Kernel, in *instr, emit func(*instr)) {
	for i, a := range in.args {
		if a.kind == operandVector {
			for j := range len(a.elems) - 1 {
				c := copyOf(in)
				e := c.args[i].elems
				e[j], e[j+1] = e[j+1], e[j]
				emit(c)
			}
		}
	}
	if in.form.kind != kindScalar {
		return
	}
	for i := 1; i+1 < len(in.args); i++ {
		if i == 1 && commutative(in.form.name) {
			continue
		}
		c := copyOf(in)
		c.args[i], c.args[i+1] = c.args[i+1], c.args[i]
		emit(c)
	}
}

func registersReplaced(_ *Kernel, in *instr, emit func(*instr)) {
	if in.form.kind != kindScalar {
		return
	}
	for i := 1; i < len(in.args); i++ {
		for j := 1; j < len(in.args); j++ {
			if in.args[i].kind == operandRegister && in.args[j].kind == operandRegister {
				c := copyOf(in)
				c.args[i] = in.args[j]
				emit(c)
			}
		}
	}
}

func numbersChanged(_ *Kernel, in *instr, emit func(*instr)) {
	if in.form.kind == kindBarrier { // another number is as good
		return
	}
	for i, a := range in.args {
		if a.kind != operandNumber {
			continue
		}
		values, format := []uint64{a.value + 1, a.value - 1}, "%d"
		switch a.float {
		case f32:
			values, format = []uint64{a.value ^ 1, a.value ^ 1<<31}, "0f%08X"
		case f64:
			values, format = []uint64{a.value ^ 1, a.value ^ 1<<63}, "0d%016X"
		}
		for _, x := range values {
			c := copyOf(in)
			c.args[i].value = x
			if c.args[i].text = fmt.Sprintf(format, x); a.float == none {
				c.args[i].text = fmt.Sprintf(format, int64(x))
			}
			emit(c)
		}
	}
}

func offsetsShifted(_ *Kernel, in *instr, emit func(*instr)) {
	f := in.form
	if f.vector == 0 {
		return
	}
	ty := f.dst
	if ty == none {
		ty = f.src[0]
	}
	for i, a := range in.args {
		if a.kind == operandMemory {
			for _, by := range []int64{1, -1} {
				c := copyOf(in)
				c.args[i].off += by * int64(ty.bytes()) * int64(f.vector)
				emit(c)
			}
		}
	}
}

// parametersReplaced replaces a parameter by the next one of its size.
func parametersReplaced(k *Kernel, in *instr, emit func(*instr)) {
	for i, a := range in.args {
		at := slices.IndexFunc(k.Params, func(p Param) bool {
			return p.Name == a.text && (a.kind == operandSymbol || a.kind == operandMemory)
		})
		if at < 0 {
			continue
		}
		for j := 1; j < len(k.Params); j++ {
			if q := k.Params[(at+j)%len(k.Params)]; q.Size == k.Params[at].Size {
				c := copyOf(in)
				c.args[i].text = q.Name
				emit(c)
				break
			}
		}
	}
}

// otherSpecials holds the special registers that are easily confused with each one.
var otherSpecials = map[string][]string{
	"%tid": {"%ctaid"}, "%ctaid": {"%tid"}, "%ntid": {"%nctaid"}, "%nctaid": {"%ntid"},
	"%laneid": {"%tid.x"}, "%warpid": {"%ctaid.x"},
}

func specialsReplaced(_ *Kernel, in *instr, emit func(*instr)) {
	for i, a := range in.args {
		if a.kind != operandRegister || specials[a.text] == nil {
			continue
		}
		name, axis, vector := strings.Cut(a.text, ".")
		texts := slices.Clone(otherSpecials[name])
		if vector {
			for j := range texts {
				texts[j] += "." + axis
			}
			other := "y"
			if axis == "y" {
				other = "x"
			}
			texts = append(texts, name+"."+other)
		}
		for _, text := range texts {
			c := copyOf(in)
			c.args[i].text = text
			emit(c)
		}
	}
}
