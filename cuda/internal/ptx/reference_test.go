package ptx

import (
	"math"
	"math/big"
	"math/bits"
	"sort"
	"strings"
	"sync"

	"github.com/x448/float16"
)

// reference returns a function for the result of an executable scalar opcode. It uses
// exact integers and floats of math/big, rounded once, in place of the interpreter's
// code. It is nil for an unknown opcode.
func reference(opcode string) func(a, b, c uint64) uint64 {
	parts := strings.Split(opcode, ".")
	op, mods := parts[0], parts[1:]
	ty, _ := typeOf(mods[len(mods)-1])
	switch {
	case op == "cvt":
		return referenceConversion(mods)
	case op == "setp":
		return referenceComparison(mods, ty)
	case op == "mov":
		return func(a, _, _ uint64) uint64 { return a }
	case op == "selp":
		return func(a, b, c uint64) uint64 {
			if c == 1 {
				return a
			}
			return b
		}
	case ty.class() == 'f':
		return referenceFloat(op, ty)
	}
	return referenceInteger(op, mods, ty)
}

// wrap keeps the low n bits of an integer in two's complement.
func wrap(x *big.Int, n uint) uint64 {
	m := new(big.Int).Lsh(big.NewInt(1), n)
	return new(big.Int).Mod(x, m).Uint64() // Mod is never negative
}

// number reads the bits of an integer type.
func number(x uint64, ty typ) *big.Int {
	n := new(big.Int).SetUint64(x & (1<<ty.bits() - 1))
	if ty.class() == 's' && n.Bit(int(ty.bits())-1) == 1 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), ty.bits()))
	}
	return n
}

func referenceInteger(op string, mods []string, ty typ) func(a, b, c uint64) uint64 {
	n := ty.bits()
	exact := func(f func(z, a, b *big.Int) *big.Int) func(a, b, c uint64) uint64 {
		return func(a, b, _ uint64) uint64 { return wrap(f(new(big.Int), number(a, ty), number(b, ty)), n) }
	}
	part := mods[0] // lo, hi, wide
	product := func(a, b, c uint64) uint64 {
		p := new(big.Int).Mul(number(a, ty), number(b, ty))
		switch part {
		case "wide":
			return wrap(p.Add(p, new(big.Int).SetUint64(c)), 2*n)
		case "hi":
			p.Rsh(p, n) // rounds down, as two's complement does
		}
		return wrap(p.Add(p, new(big.Int).SetUint64(c)), n)
	}
	switch op {
	case "add":
		return exact((*big.Int).Add)
	case "sub":
		return exact((*big.Int).Sub)
	case "mul":
		return func(a, b, _ uint64) uint64 { return product(a, b, 0) }
	case "mad":
		return product
	case "div":
		return exact((*big.Int).Quo)
	case "rem":
		return exact((*big.Int).Rem)
	case "and":
		return exact((*big.Int).And)
	case "or":
		return exact((*big.Int).Or)
	case "xor":
		return exact((*big.Int).Xor)
	case "not":
		return exact(func(z, a, _ *big.Int) *big.Int { return z.Not(a) })
	case "neg":
		return exact(func(z, a, _ *big.Int) *big.Int { return z.Neg(a) })
	case "abs":
		return exact(func(z, a, _ *big.Int) *big.Int { return z.Abs(a) })
	case "min", "max":
		return exact(func(_, a, b *big.Int) *big.Int {
			if (a.Cmp(b) < 0) == (op == "min") {
				return a
			}
			return b
		})
	case "shl":
		return func(a, b, _ uint64) uint64 { return wrap(new(big.Int).Lsh(number(a, ty), uint(min(b, 200))), n) }
	case "shr":
		return func(a, b, _ uint64) uint64 { return wrap(new(big.Int).Rsh(number(a, ty), uint(min(b, 200))), n) }
	case "popc":
		return func(a, _, _ uint64) uint64 { return uint64(bits.OnesCount64(a)) }
	case "clz":
		return func(a, _, _ uint64) uint64 { return uint64(int(n) - number(a, ty).BitLen()) }
	case "brev":
		return func(a, _, _ uint64) uint64 {
			var r uint64
			for i := range n {
				r |= a >> i & 1 << (n - 1 - i)
			}
			return r
		}
	case "bfe": // the pseudocode of the manual
		return func(a, b, c uint64) uint64 {
			msb := uint64(n - 1)
			pos, length := b&0xff, c&0xff
			var sign uint64
			if ty.class() == 's' && length != 0 {
				sign = a >> min(pos+length-1, msb) & 1
			}
			var d uint64
			for i := uint64(0); i <= msb; i++ {
				bit := sign
				if i < length && pos+i <= msb {
					bit = a >> (pos + i) & 1
				}
				d |= bit << i
			}
			return d
		}
	case "shf":
		return func(a, b, c uint64) uint64 {
			if mods[1] == "wrap" {
				c %= 32
			}
			c = min(c, 32)
			both := new(big.Int).SetUint64(b<<32 | a)
			if mods[0] == "l" {
				return wrap(both.Rsh(both, uint(32-c)), 32)
			}
			return wrap(both.Rsh(both, uint(c)), 32)
		}
	case "prmt":
		return func(a, b, c uint64) uint64 {
			var bytes [8]uint8
			for i := range 4 {
				bytes[i], bytes[4+i] = uint8(a>>(8*i)), uint8(b>>(8*i))
			}
			var r uint64
			for i := range 4 {
				v := bytes[c>>(4*i)&7]
				if c>>(4*i)&8 != 0 {
					v = map[bool]uint8{true: 0xff}[v >= 0x80]
				}
				r |= uint64(v) << (8 * i)
			}
			return r
		}
	}
	return nil
}

// value returns the value of a float. A finite value is exact.
func value(x uint64, ty typ) float64 {
	switch ty {
	case f16:
		return float64(float16.Frombits(uint16(x)).Float32())
	case f32:
		return float64(math.Float32frombits(uint32(x)))
	}
	return math.Float64frombits(x)
}

// halves are the finite float16 ≥ 0, in ascending order.
var halves = sync.OnceValue(func() []float64 {
	var list []float64
	for u := range uint64(0x7c00) {
		list = append(list, value(u, f16))
	}
	return list
})

// rounded returns the bits of an exact number in float type ty. negative is the sign
// of a zero.
func rounded(x *big.Float, ty typ, toward0, negative bool) uint64 {
	size := new(big.Float).Abs(x)
	var u, sign uint64
	switch ty {
	case f16:
		list := halves()
		i := sort.Search(len(list), func(i int) bool { return big.NewFloat(list[i]).Cmp(size) > 0 })
		u = uint64(i - 1) // the largest that is not greater
		above := 65536.0  // the next one, if it existed
		if i < len(list) {
			above = list[i]
		}
		middle := big.NewFloat((list[i-1] + above) / 2)
		if c := size.Cmp(middle); !toward0 && (c > 0 || c == 0 && u&1 == 1) {
			u++
		}
		sign = 1 << 15
	case f32:
		f, accuracy := size.Float32()
		u = uint64(math.Float32bits(f))
		if toward0 && accuracy == big.Above {
			u--
		}
		sign = 1 << 31
	default:
		f, accuracy := size.Float64()
		u = math.Float64bits(f)
		if toward0 && accuracy == big.Above {
			u--
		}
		sign = 1 << 63
	}
	if x.Sign() < 0 || x.Sign() == 0 && negative {
		u |= sign
	}
	return u
}

var nans = map[typ]uint64{f16: 0x7fff, f32: 0x7fffffff, f64: 0x7ff8000000000000}

// specialBits returns the bits of a NaN or an infinity.
func specialBits(f float64, ty typ) uint64 {
	if math.IsNaN(f) {
		return nans[ty]
	}
	infinity := map[typ]uint64{f16: 0x7c00, f32: 0x7f800000, f64: 0x7ff0000000000000}[ty]
	if f < 0 {
		infinity |= 1 << (ty.bits() - 1)
	}
	return infinity
}

// referenceFloat computes exactly and rounds once. If an operand or the result is not
// finite, or the result is zero, it takes the result of float64.
func referenceFloat(op string, ty typ) func(a, b, c uint64) uint64 {
	exact := func(n int, plain func(x, y, z float64) float64, f func(r, x, y, z *big.Float) *big.Float) func(a, b, c uint64) uint64 {
		return func(a, b, c uint64) uint64 {
			v := []float64{value(a, ty), value(b, ty), value(c, ty)}
			var w [3]*big.Float
			rough := plain(v[0], v[1], v[2])
			for i := range w {
				if i >= n {
					v[i] = 1
				}
				if math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
					if rough == 0 { // the divisor is infinite
						return rounded(new(big.Float), ty, false, math.Signbit(rough))
					}
					return specialBits(rough, ty)
				}
				w[i] = new(big.Float).SetPrec(4500).SetFloat64(v[i])
			}
			if math.IsNaN(rough) || (op == "div" && v[1] == 0) || (op == "rcp" && v[0] == 0) {
				return specialBits(rough, ty)
			}
			r := f(new(big.Float).SetPrec(4500), w[0], w[1], w[2])
			return rounded(r, ty, false, math.Signbit(rough))
		}
	}
	switch op {
	case "add":
		return exact(2, func(x, y, _ float64) float64 { return x + y }, func(r, x, y, _ *big.Float) *big.Float { return r.Add(x, y) })
	case "sub":
		return exact(2, func(x, y, _ float64) float64 { return x - y }, func(r, x, y, _ *big.Float) *big.Float { return r.Sub(x, y) })
	case "mul":
		return exact(2, func(x, y, _ float64) float64 { return x * y }, func(r, x, y, _ *big.Float) *big.Float { return r.Mul(x, y) })
	case "div":
		return exact(2, func(x, y, _ float64) float64 { return x / y }, func(r, x, y, _ *big.Float) *big.Float { return r.Quo(x, y) })
	case "rcp":
		return exact(1, func(x, _, _ float64) float64 { return 1 / x }, func(r, x, _, _ *big.Float) *big.Float { return r.Quo(big.NewFloat(1), x) })
	case "sqrt":
		return exact(1, func(x, _, _ float64) float64 { return math.Sqrt(x) }, func(r, x, _, _ *big.Float) *big.Float {
			if x.Sign() == 0 {
				return r
			}
			return r.SetPrec(300).Sqrt(x)
		})
	case "fma", "mad":
		return exact(3, func(x, y, z float64) float64 {
			if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) && x == x && y == y {
				return z // x*y may overflow
			}
			return x*y + z
		}, func(r, x, y, z *big.Float) *big.Float { return r.Add(r.Mul(x, y), z) })
	case "neg":
		return func(a, _, _ uint64) uint64 { return a ^ 1<<(ty.bits()-1) }
	case "abs":
		return func(a, _, _ uint64) uint64 { return a &^ (1 << (ty.bits() - 1)) }
	case "min", "max":
		return func(a, b, _ uint64) uint64 {
			x, y := value(a, ty), value(b, ty)
			switch {
			case x != x && y != y:
				return nans[ty]
			case x != x:
				return b
			case y != y:
				return a
			case x == 0 && y == 0: // -0 is less than +0
				if op == "min" {
					return a | b
				}
				return a & b
			}
			if (x < y) == (op == "min") {
				return a
			}
			return b
		}
	}
	return nil
}

func referenceComparison(mods []string, ty typ) func(a, b, c uint64) uint64 {
	compare := func(a, b uint64) (order int, unordered bool) {
		if ty.class() == 'f' {
			x, y := value(a, ty), value(b, ty)
			if math.IsNaN(x) || math.IsNaN(y) {
				return 0, true
			}
			return big.NewFloat(x).Cmp(big.NewFloat(y)), false
		}
		return number(a, ty).Cmp(number(b, ty)), false
	}
	holds := func(a, b uint64) bool {
		order, un := compare(a, b)
		relation := mods[0]
		switch relation {
		case "num":
			return !un
		case "nan":
			return un
		case "lo", "ls", "hi", "hs":
			relation = map[string]string{"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}[relation]
		}
		if un {
			return len(relation) == 3
		}
		switch relation[:2] {
		case "eq":
			return order == 0
		case "ne":
			return order != 0
		case "lt":
			return order < 0
		case "le":
			return order <= 0
		case "gt":
			return order > 0
		}
		return order >= 0
	}
	return func(a, b, c uint64) uint64 {
		r := holds(a, b)
		switch mods[1] {
		case "and":
			r = r && c == 1
		case "or":
			r = r || c == 1
		case "xor":
			r = r != (c == 1)
		}
		return map[bool]uint64{true: 1}[r]
	}
}

func referenceConversion(mods []string) func(a, b, c uint64) uint64 {
	s, _ := typeOf(mods[len(mods)-1])
	d, _ := typeOf(mods[len(mods)-2])
	round := mods[0]
	switch {
	case s.class() != 'f' && d.class() != 'f':
		// The harness compares at least 32 bits. A narrow result is extended to them.
		return func(a, _, _ uint64) uint64 {
			x := new(big.Int).SetUint64(wrap(number(a, s), d.bits()))
			return wrap(number(x.Uint64(), d), max(d.bits(), 32))
		}
	case s.class() != 'f':
		return func(a, _, _ uint64) uint64 {
			x := new(big.Float).SetPrec(100).SetInt(number(a, s))
			return rounded(x, d, round == "rz", false)
		}
	}
	integral := func(f float64) float64 {
		switch round {
		case "rni":
			return math.RoundToEven(f)
		case "rzi":
			return math.Trunc(f)
		case "rmi":
			return math.Floor(f)
		case "rpi":
			return math.Ceil(f)
		}
		return f
	}
	if d.class() == 'f' {
		return func(a, _, _ uint64) uint64 {
			f := integral(value(a, s))
			if math.IsNaN(f) || math.IsInf(f, 0) {
				return specialBits(f, d)
			}
			return rounded(new(big.Float).SetFloat64(f), d, round == "rz", math.Signbit(f))
		}
	}
	return func(a, _, _ uint64) uint64 {
		f := integral(value(a, s))
		one := big.NewInt(1)
		low, high := new(big.Int), new(big.Int).Lsh(one, d.bits())
		if d.class() == 's' {
			high.Rsh(high, 1)
			low.Neg(high)
		}
		high.Sub(high, one)
		x := new(big.Int)
		switch {
		case math.IsNaN(f):
			if s == f64 || d.bits() == 64 {
				x.Lsh(one, d.bits()-1)
			}
		case math.IsInf(f, 1):
			x = high
		case math.IsInf(f, -1):
			x = low
		default:
			big.NewFloat(f).Int(x)
			if x.Cmp(high) > 0 {
				x = high
			}
			if x.Cmp(low) < 0 {
				x = low
			}
		}
		return wrap(number(wrap(x, d.bits()), d), max(d.bits(), 32))
	}
}
