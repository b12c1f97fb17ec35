package ptx

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of the parser. They are far beyond what a kernel needs and a GPU offers.
const (
	maxRegisters = 1 << 16
	maxShared    = 1 << 16 // bytes of one variable
	maxParams    = 4096    // bytes, as CUDA's
)

// Parse reads a PTX module. It returns a [*SyntaxError] for whatever it does not
// understand, and for operands that do not fit their instruction.
func Parse(text string) (m *Module, err error) {
	ts, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{ts: ts, m: &Module{source: text}, forms: forms()}
	defer catch(&err)
	p.module()
	return p.m, nil
}

// catch turns the panic of a parser into an error. Defer it.
func catch(err *error) {
	if r := recover(); r != nil {
		e, ok := r.(*SyntaxError)
		if !ok {
			panic(r)
		}
		*err = e
	}
}

// A parser works by recursive descent. It panics with a *SyntaxError.
type parser struct {
	ts    []token
	i     int
	m     *Module
	forms map[string]*form

	globals []variable // shared variables of the module

	// The kernel that is being read:
	k      *Kernel
	scopes []map[string]int // registers by name
}

func (p *parser) fail(line int, format string, args ...any) {
	panic(&SyntaxError{line, fmt.Sprintf(format, args...)})
}

func (p *parser) peek() token { return p.ts[p.i] }

func (p *parser) next() token {
	t := p.ts[p.i]
	if t.text == "" {
		p.fail(t.line, "unexpected end of the source")
	}
	p.i++
	return t
}

// accept skips the next token if it has this text, and reports whether it did.
func (p *parser) accept(text string) bool {
	if p.peek().text == text {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(text string) token {
	t := p.next()
	if t.text != text {
		p.fail(t.line, "%q where %q belongs", t.text, text)
	}
	return t
}

// name reads an identifier.
func (p *parser) name() token {
	t := p.next()
	if c := t.text[0]; !isWord(c) || c == '.' || c-'0' < 10 || strings.ContainsRune(t.text, '.') {
		p.fail(t.line, "%q where a name belongs", t.text)
	}
	return t
}

// count reads a number from lo to hi.
func (p *parser) count(lo, hi int) int {
	t := p.next()
	n, err := strconv.ParseUint(t.text, 0, 31)
	if err != nil || int(n) < lo || int(n) > hi {
		p.fail(t.line, "%q where a number from %d to %d belongs", t.text, lo, hi)
	}
	return int(n)
}

// directiveType reads a type such as .b32.
func (p *parser) directiveType() typ {
	t := p.next()
	ty, ok := typeOf(strings.TrimPrefix(t.text, "."))
	if !ok || t.text[0] != '.' {
		p.fail(t.line, "%q where a type belongs", t.text)
	}
	return ty
}

func (p *parser) module() {
	p.expect(".version")
	version := p.next()
	if _, err := strconv.ParseFloat(version.text, 32); err != nil {
		p.fail(version.line, "%q where a version belongs", version.text)
	}
	p.m.Version = version.text
	p.expect(".target")
	p.m.Target = p.name().text
	p.expect(".address_size")
	if t := p.next(); t.text != "64" {
		p.fail(t.line, "address size %s: only 64 is understood", t.text)
	}
	for p.peek().text != "" {
		t := p.next()
		switch t.text {
		case ".visible", ".weak", ".extern":
			if next := p.peek().text; next != ".entry" && (next != ".shared" || t.text != ".extern") {
				p.fail(t.line, "%q after %q is not understood", next, t.text)
			}
		case ".entry":
			p.entry()
		case ".shared":
			p.globals = append(p.globals, p.variable())
		default:
			p.fail(t.line, "%q is not understood here", t.text)
		}
	}
}

// variable reads the declaration of a shared variable after ".shared". A variable
// declared with [] has size 0.
func (p *parser) variable() variable {
	v := variable{align: 1}
	if p.accept(".align") {
		v.align = p.alignment()
	}
	line := p.peek().line
	ty := p.directiveType()
	if ty.bytes() == 0 {
		p.fail(line, "shared variable of type .%v", ty)
	}
	v.align = max(v.align, int(ty.bytes()))
	v.name = p.name().text
	n := 1
	if p.accept("[") {
		n = 0
		if p.peek().text != "]" {
			n = p.count(1, maxShared)
		}
		p.expect("]")
	}
	p.expect(";")
	if v.size = n * int(ty.bytes()); v.size > maxShared {
		p.fail(line, "shared variable %s has %d bytes", v.name, v.size)
	}
	return v
}

func (p *parser) alignment() int {
	line := p.peek().line
	n := p.count(1, 128)
	if n&(n-1) != 0 {
		p.fail(line, "alignment %d is not a power of two", n)
	}
	return n
}

func (p *parser) entry() {
	name := p.name()
	if _, err := p.m.Kernel(name.text); err == nil {
		p.fail(name.line, "a second kernel %s", name.text)
	}
	p.k = &Kernel{Name: name.text, dynamic: -1, source: span{off: name.off}}
	p.k.special, p.k.symbols = map[string]int{}, map[string]uint64{}
	p.k.labels, p.k.numbers = map[string]int{}, map[uint64]int{}
	p.scopes = []map[string]int{{}}
	if p.accept("(") && !p.accept(")") {
		p.param()
		for p.accept(",") {
			p.param()
		}
		p.expect(")")
	}
	p.tuning()
	p.expect("{")
	end := p.body(0)
	p.k.source.end, p.k.line = end.end, end.line
	p.link()
	p.m.kernels = append(p.m.kernels, p.k)
}

// param reads one parameter.
func (p *parser) param() {
	line := p.expect(".param").line
	q := Param{Align: 1}
	if p.accept(".align") {
		q.Align = p.alignment()
	}
	ty := p.directiveType()
	q.Size = int(ty.bytes())
	if q.Size == 0 {
		p.fail(line, "parameter of type .%v", ty)
	}
	q.Align = max(q.Align, q.Size)
	q.Name = p.name().text
	if p.accept("[") {
		q.Size *= p.count(1, maxParams)
		p.expect("]")
	}
	q.Offset = (p.k.ParamBytes() + q.Align - 1) / q.Align * q.Align
	if q.Offset+q.Size > maxParams {
		p.fail(line, "more than %d bytes of parameters", maxParams)
	}
	p.define(line, q.Name, paramBase+uint64(q.Offset))
	p.k.Params = append(p.k.Params, q)
}

func (p *parser) define(line int, name string, address uint64) {
	if _, ok := p.k.symbols[name]; ok {
		p.fail(line, "%s is defined twice", name)
	}
	p.k.symbols[name] = address
}

// tuning reads the directives between the parameters and the body.
func (p *parser) tuning() {
	for {
		switch t := p.peek(); t.text {
		case ".maxntid", ".reqntid":
			p.i++
			p.k.exact = t.text == ".reqntid"
			p.k.bound = Dim{p.count(1, 1024), 1, 1}
			if p.accept(",") {
				p.k.bound.Y = p.count(1, 1024)
				if p.accept(",") {
					p.k.bound.Z = p.count(1, 1024)
				}
			}
		case ".minnctapersm", ".maxnreg": // hints for the allocation of registers
			p.i++
			p.count(1, 1024)
		default:
			return
		}
	}
}

// body reads statements up to the closing brace, and returns the brace.
func (p *parser) body(depth int) token {
	for {
		t := p.next()
		switch {
		case t.text == "}":
			return t
		case t.text == "{":
			if depth == 8 {
				p.fail(t.line, "blocks are nested too deeply")
			}
			p.scopes = append(p.scopes, map[string]int{})
			p.body(depth + 1)
			p.scopes = p.scopes[:len(p.scopes)-1]
		case t.text == ".reg":
			p.registers()
		case t.text == ".shared":
			p.place(t.line, p.variable())
		case t.text == ".pragma":
			if s := p.next(); s.text != `"nounroll"` {
				p.fail(s.line, "pragma %s is not understood", s.text)
			}
			p.expect(";")
		case t.text[0] == '.':
			p.fail(t.line, "directive %s is not understood", t.text)
		case p.peek().text == ":":
			p.i--
			label := p.name()
			p.i++
			if _, ok := p.k.labels[label.text]; ok {
				p.fail(label.line, "a second label %s", label.text)
			}
			p.k.labels[label.text] = len(p.k.code)
		default:
			p.i--
			p.instruction()
		}
	}
}

// registers reads the declaration of registers after ".reg".
func (p *parser) registers() {
	ty := p.directiveType()
	scope := p.scopes[len(p.scopes)-1]
	declare := func(line int, name string) {
		if _, ok := scope[name]; ok {
			p.fail(line, "register %s is declared twice", name)
		}
		if len(p.k.regs) == maxRegisters {
			p.fail(line, "more than %d registers", maxRegisters)
		}
		scope[name] = len(p.k.regs)
		p.k.regs = append(p.k.regs, register{name, ty})
	}
	for {
		name := p.name()
		if p.accept("<") {
			n := p.count(1, maxRegisters)
			p.expect(">")
			for i := range n {
				declare(name.line, name.text+strconv.Itoa(i))
			}
		} else {
			declare(name.line, name.text)
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect(";")
}

// place gives a shared variable its address in the kernel.
func (p *parser) place(line int, v variable) {
	if v.size == 0 {
		if p.k.dynamic >= 0 {
			p.fail(line, "a second shared variable without size")
		}
		p.k.dynamic = len(p.k.shared)
	}
	p.define(line, v.name, sharedAddress(len(p.k.shared), v.align))
	p.k.shared = append(p.k.shared, v)
}

// instruction reads one instruction with its guard.
func (p *parser) instruction() {
	first := p.peek()
	in := instr{line: first.line, guardReg: -1}
	in.source.off = first.off - p.k.source.off
	if p.accept("@") {
		in.not = p.accept("!")
		in.guard = p.operand()
		if in.guard.kind != operandRegister || p.k.regs[in.guard.reg].typ != pred {
			p.fail(first.line, "guard %s is not a predicate", in.guard.text)
		}
		in.guardReg = in.guard.reg
	}
	op := p.next()
	in.form = p.forms[op.text]
	if in.form == nil {
		p.fail(op.line, "instruction %q is not understood", op.text)
	}
	for !p.accept(";") {
		if len(in.args) > 0 {
			p.expect(",")
		}
		in.args = append(in.args, p.operand())
		if len(in.args) > 8 {
			p.fail(op.line, "too many operands")
		}
	}
	in.source.end = p.ts[p.i-1].end - p.k.source.off
	p.bind(&in)
	p.k.code = append(p.k.code, in)
}

// operand reads an operand. A name that is no register becomes a symbol.
func (p *parser) operand() operand {
	t := p.peek()
	switch t.text {
	case "{":
		p.i++
		v := operand{kind: operandVector, line: t.line, elems: []operand{p.scalar()}}
		for p.accept(",") {
			v.elems = append(v.elems, p.scalar())
			if len(v.elems) > 4 {
				p.fail(t.line, "vector of more than 4 elements")
			}
		}
		p.expect("}")
		return v
	case "[":
		p.i++
		m := p.scalar()
		if m.kind == operandNumber {
			p.fail(t.line, "a number as an address")
		}
		m.base, m.kind = m.kind, operandMemory
		if p.accept("+") {
			off := p.scalar()
			if off.kind != operandNumber || off.float != none || int64(off.value) != int64(int32(off.value)) {
				p.fail(t.line, "offset %q is not a number of 32 bits", off.text)
			}
			m.off = int64(off.value)
		}
		p.expect("]")
		return m
	}
	return p.scalar()
}

// scalar reads a register, a number or a symbol.
func (p *parser) scalar() operand {
	t := p.next()
	o := operand{text: t.text, line: t.line}
	if t.text == "-" {
		t = p.next()
		o.text += t.text
	}
	c := t.text[0]
	switch {
	case c-'0' < 10:
		o.kind = operandNumber
		o.value, o.float = p.number(t)
		if o.text[0] == '-' {
			if o.float != none {
				p.fail(t.line, "sign before the bits of a float")
			}
			if o.value > 1<<63 {
				p.fail(t.line, "number %s is too small", o.text)
			}
			o.value = -o.value
		}
	case o.text[0] == '-' || !isWord(c) || c == '.':
		p.fail(t.line, "%q where an operand belongs", o.text)
	case t.text == "WARP_SZ":
		o.kind, o.value = operandNumber, warpSize
	default:
		for i := len(p.scopes) - 1; i >= 0; i-- {
			if r, ok := p.scopes[i][t.text]; ok {
				o.kind, o.reg = operandRegister, r
				return o
			}
		}
		if c == '%' {
			o.kind, o.reg = operandRegister, p.specialRegister(t)
			return o
		}
		o.kind = operandSymbol
	}
	return o
}

// number reads an integer, or the bits of a float written 0f or 0d.
func (p *parser) number(t token) (value uint64, float typ) {
	s := strings.ToLower(t.text)
	var err error
	switch {
	case strings.HasPrefix(s, "0f") && len(s) == 10:
		value, err = strconv.ParseUint(s[2:], 16, 32)
		float = f32
	case strings.HasPrefix(s, "0d") && len(s) == 18:
		value, err = strconv.ParseUint(s[2:], 16, 64)
		float = f64
	default:
		value, err = strconv.ParseUint(strings.TrimSuffix(s, "u"), 0, 64)
		if strings.Contains(s, "_") {
			err = strconv.ErrSyntax
		}
	}
	if err != nil {
		p.fail(t.line, "number %q is not understood", t.text)
	}
	return value, float
}

// specialRegister returns the register of the kernel that holds a special register
// such as %tid.x.
func (p *parser) specialRegister(t token) int {
	if r, ok := p.k.special[t.text]; ok {
		return r
	}
	value, ok := specials[t.text]
	if !ok {
		p.fail(t.line, "register %s is not declared", t.text)
	}
	r := len(p.k.regs)
	p.k.special[t.text] = r
	p.k.regs = append(p.k.regs, register{t.text, u32})
	p.k.specials = append(p.k.specials, special{r, value})
	return r
}

// constant returns the index of a constant of the kernel.
func (p *parser) constant(x uint64) int {
	i, ok := p.k.numbers[x]
	if !ok {
		i = len(p.k.consts)
		p.k.numbers[x] = i
		var c lanes
		for l := range c {
			c[l] = x
		}
		p.k.consts = append(p.k.consts, c)
	}
	return ^i
}

// bind resolves and checks the operands of an instruction.
func (p *parser) bind(in *instr) {
	f := in.form
	args := in.args
	want := func(n int) {
		if len(args) != n {
			p.fail(in.line, "%s has %d operands, not %d", f.name, len(args), n)
		}
	}
	switch f.kind {
	case kindScalar, kindAddress, kindShuffle, kindVote:
		want(1 + len(f.src))
		if f.kind == kindScalar && strings.HasPrefix(f.name, "mov.b") && (args[0].kind == operandVector || args[1].kind == operandVector) {
			p.bindPack(in)
			return
		}
		p.bindDst(in, f.dst, args[0])
		for i, ty := range f.src {
			in.src = append(in.src, p.source(f, ty, args[1+i]))
		}
	case kindLoad:
		want(2)
		for _, e := range p.elements(in, args[0]) {
			p.bindDst(in, f.dst, e)
		}
		p.bindAddress(in, args[1])
	case kindStore:
		want(2)
		p.bindAddress(in, args[0])
		for _, e := range p.elements(in, args[1]) {
			in.src = append(in.src, p.source(f, f.src[0], e))
		}
	case kindAtomic:
		want(3)
		p.bindDst(in, f.dst, args[0])
		p.bindAddress(in, args[1])
		in.src = []int{p.source(f, f.src[0], args[2])}
	case kindReduce:
		want(2)
		p.bindAddress(in, args[0])
		in.src = []int{p.source(f, f.src[0], args[1])}
	case kindBranch:
		want(1)
		if args[0].kind != operandSymbol {
			p.fail(in.line, "%s %s: not a label", f.name, args[0])
		}
	case kindBarrier:
		want(1)
		if args[0].kind != operandNumber || args[0].float != none || args[0].value > 15 {
			p.fail(in.line, "%s %s: only a number from 0 to 15 is understood", f.name, args[0])
		}
	case kindWarpBarrier:
		want(1)
		in.src = []int{p.source(f, f.src[0], args[0])}
	case kindExit, kindTrap:
		want(0)
	}
}

// bindPack gives mov.b64 d, {a, b} and mov.b64 {a, b}, d forms of their own.
func (p *parser) bindPack(in *instr) {
	f := in.form
	whole, parts := &in.args[0], &in.args[1]
	g := form{name: f.name, kind: kindPack}
	if whole.kind == operandVector {
		whole, parts = parts, whole
		g.kind = kindUnpack
	}
	n := uint(len(parts.elems))
	part := none
	for _, ty := range []typ{b8, b16, b32} {
		if n > 1 && ty.bits()*n == f.dst.bits() {
			part = ty
		}
	}
	if part == none || part == b8 {
		p.fail(in.line, "%s of %v and %v is not understood", f.name, in.args[0], in.args[1])
	}
	in.form = &g
	if g.kind == kindPack {
		g.dst = f.dst
		p.bindDst(in, f.dst, *whole)
		for _, e := range parts.elems {
			g.src = append(g.src, part)
			in.src = append(in.src, p.source(&g, part, e))
		}
		return
	}
	g.dst, g.src = part, []typ{f.dst}
	in.src = []int{p.source(&g, f.dst, *whole)}
	for _, e := range parts.elems {
		p.bindDst(in, part, e)
	}
}

// elements returns the registers of a load or store.
func (p *parser) elements(in *instr, o operand) []operand {
	if in.form.vector == 1 {
		return []operand{o}
	}
	if o.kind != operandVector || len(o.elems) != in.form.vector {
		p.fail(in.line, "%s needs a vector of %d elements, not %s", in.form.name, in.form.vector, o)
	}
	return o.elems
}

func (p *parser) bindDst(in *instr, ty typ, o operand) {
	if o.kind != operandRegister || specials[o.text] != nil {
		p.fail(in.line, "%s: destination %s is not a register", in.form.name, o)
	}
	r := p.k.regs[o.reg].typ
	if !r.holds(ty, in.form.lax) {
		p.fail(in.line, "%s: destination %s is a .%v register", in.form.name, o, r)
	}
	for _, d := range in.dst {
		if d == o.reg {
			p.fail(in.line, "%s: destination %s appears twice", in.form.name, o)
		}
	}
	in.dst = append(in.dst, o.reg)
	in.mask = r.mask()
}

// source returns the register or constant of a source of type ty.
func (p *parser) source(f *form, ty typ, o operand) int {
	switch o.kind {
	case operandRegister:
		if r := p.k.regs[o.reg].typ; !r.holds(ty, f.lax) {
			p.fail(o.line, "%s: %s is a .%v register where .%v belongs", f.name, o, r, ty)
		}
		return o.reg
	case operandNumber:
		return p.constant(p.immediate(f, ty, o))
	case operandSymbol:
		if ty.bits() < 32 || ty.class() == 'f' || f.kind != kindAddress && !strings.HasPrefix(f.name, "mov.") {
			p.fail(o.line, "%s: symbol %s where a value belongs", f.name, o)
		}
		return p.constant(p.symbol(o))
	}
	p.fail(o.line, "%s: %s is not a source", f.name, o)
	return 0
}

// immediate returns the bits of a number as a source of type ty.
func (p *parser) immediate(f *form, ty typ, o operand) uint64 {
	x := int64(o.value)
	switch {
	case ty == pred:
		if o.float == none && (x == 0 || x == 1 || x == -1) {
			return o.value & 1
		}
	case o.float != none:
		if ty == o.float || ty.class() == 'b' && ty.bits() == o.float.bits() {
			return o.value
		}
	case ty.class() == 'f':
	case ty.bits() == 64, x >= 0 && o.value <= ty.mask(), x < 0 && x >= -1<<(ty.bits()-1):
		return o.value & ty.mask()
	}
	p.fail(o.line, "%s: number %s is not a .%v", f.name, o, ty)
	return 0
}

// symbol returns the address of a parameter or shared variable. A shared variable
// of the module gets its place in every kernel that uses it.
func (p *parser) symbol(o operand) uint64 {
	if _, ok := p.k.symbols[o.text]; !ok {
		for _, v := range p.globals {
			if v.name == o.text {
				p.place(o.line, v)
			}
		}
	}
	a, ok := p.k.symbols[o.text]
	if !ok {
		p.fail(o.line, "%s is not defined", o.text)
	}
	return a
}

func (p *parser) bindAddress(in *instr, o operand) {
	if o.kind != operandMemory {
		p.fail(in.line, "%s: %s is not an address", in.form.name, o)
	}
	in.offset = uint64(o.off)
	if o.base == operandSymbol {
		in.base = p.constant(p.symbol(o))
		return
	}
	r := p.k.regs[o.reg].typ
	if r.bits() != 64 && !(r.bits() == 32 && in.form.space == shared) || r.class() == 'f' {
		p.fail(in.line, "%s: address in a .%v register", in.form.name, r)
	}
	in.base = o.reg
}

// link resolves branches, and finds where their sides meet.
func (p *parser) link() {
	code := p.k.code
	for i := range code {
		if in := &code[i]; in.form.kind == kindBranch {
			target, ok := p.k.labels[in.args[0].text]
			if !ok {
				p.fail(in.line, "label %s is not defined", in.args[0].text)
			}
			if target == len(code) {
				p.fail(in.line, "branch to the end of kernel %s", p.k.Name)
			}
			in.target = target
		}
	}
	if len(code) == 0 || !code[len(code)-1].leaves() {
		p.fail(p.k.line, "the end of kernel %s is reached", p.k.Name)
	}
	setMeets(code)
}

// controls reports whether something other than the next instruction may follow.
func (in *instr) controls() bool {
	return in.form.kind == kindExit || in.form.kind == kindTrap || in.form.kind == kindBranch
}

// leaves reports whether the next instruction never follows.
func (in *instr) leaves() bool { return in.guardReg < 0 && in.controls() }
