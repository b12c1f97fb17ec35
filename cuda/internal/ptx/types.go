package ptx

// A typ is a fundamental type of PTX.
type typ uint8

const (
	none typ = iota
	pred
	b8
	u8
	s8
	b16
	u16
	s16
	f16
	b32
	u32
	s32
	f32
	b64
	u64
	s64
	f64
)

// types holds the name, the width and the class of each type. The class is p
// (predicate), b (untyped), u, s or f.
var types = [...]struct {
	name  string
	bits  uint
	class byte
}{
	none: {"none", 0, 0},
	pred: {"pred", 1, 'p'},
	b8:   {"b8", 8, 'b'}, u8: {"u8", 8, 'u'}, s8: {"s8", 8, 's'},
	b16: {"b16", 16, 'b'}, u16: {"u16", 16, 'u'}, s16: {"s16", 16, 's'}, f16: {"f16", 16, 'f'},
	b32: {"b32", 32, 'b'}, u32: {"u32", 32, 'u'}, s32: {"s32", 32, 's'}, f32: {"f32", 32, 'f'},
	b64: {"b64", 64, 'b'}, u64: {"u64", 64, 'u'}, s64: {"s64", 64, 's'}, f64: {"f64", 64, 'f'},
}

func (t typ) String() string { return types[t].name }
func (t typ) bits() uint     { return types[t].bits }
func (t typ) bytes() uint    { return types[t].bits / 8 }
func (t typ) class() byte    { return types[t].class }
func (t typ) mask() uint64   { return 1<<t.bits() - 1 }

// typeOf returns the type of that name.
func typeOf(name string) (typ, bool) {
	for t := pred; t <= f64; t++ {
		if types[t].name == name {
			return t, true
		}
	}
	return none, false
}

// extend widens the low bits of x that belong to t. For a signed t it copies the
// sign.
func (t typ) extend(x uint64) uint64 {
	if t.class() == 's' {
		n := 64 - t.bits()
		return uint64(int64(x<<n) >> n)
	}
	return x & t.mask()
}

// holds reports whether a register of type r can be an operand of type t. Operands
// of loads, stores and conversions are lax: their registers may be wider (PTX ISA,
// "Operand Size Exceeding Instruction-Type Size").
func (r typ) holds(t typ, lax bool) bool {
	if r.bits() != t.bits() && !(lax && r.bits() > t.bits() && r != pred && t != pred) {
		return false
	}
	c, d := r.class(), t.class()
	return c == d || c == 'b' || d == 'b' || c != 'f' && d != 'f'
}
