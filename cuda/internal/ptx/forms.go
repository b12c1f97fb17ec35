package ptx

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
	"sync"
)

// A kind says which part of the interpreter executes a form.
type kind uint8

const (
	kindScalar kind = iota // a function of the sources of one thread
	kindPack               // mov between a vector and a register
	kindUnpack
	kindAddress // cvta
	kindLoad
	kindStore
	kindAtomic
	kindReduce
	kindBranch
	kindExit
	kindTrap
	kindBarrier
	kindWarpBarrier
	kindShuffle
	kindVote
)

// A space is a state space of PTX.
type space uint8

const (
	generic space = iota
	global
	shared
	param
)

var spaceNames = [...]string{generic: "generic", global: "global", shared: "shared", param: "param"}

// A form is the meaning of an opcode with all of its modifiers.
type form struct {
	name      string
	kind      kind
	dst       typ                         // none: no destination
	src       []typ                       // of each source
	lax       bool                        // registers may be wider than their operand
	eval      func(a, b, c uint64) uint64 // of the sources; 0 for a missing one
	divides   bool                        // source 1 must not be 0
	forbidden string                      // why code that promises bits must not use it; without eval it is not executed

	space    space
	vector   int    // elements of a load or store
	constant bool   // ld.global.nc
	mode     string // of shuffles, votes and cvta
	uniform  bool   // bra.uni
}

// forms returns the table of all opcodes.
var forms = sync.OnceValue(func() map[string]*form {
	t := table{}
	t.integers()
	t.logic()
	t.floats()
	t.forbidden()
	t.comparisons()
	t.conversions()
	t.moves()
	t.memory()
	t.control()
	return t
})

type table map[string]*form

func (t table) add(f form) {
	if t[f.name] != nil {
		panic("ptx: form defined twice: " + f.name)
	}
	t[f.name] = &f
}

// unary, binary and ternary add scalar forms of one to three sources. All sources
// of unary and binary have type s.
func (t table) unary(name string, d, s typ, eval func(a, _, _ uint64) uint64) {
	t.add(form{name: name, dst: d, src: []typ{s}, eval: eval})
}

func (t table) binary(name string, d, s typ, eval func(a, b, _ uint64) uint64) {
	t.add(form{name: name, dst: d, src: []typ{s, s}, eval: eval})
}

func (t table) ternary(name string, d typ, src [3]typ, eval func(a, b, c uint64) uint64) {
	t.add(form{name: name, dst: d, src: src[:], eval: eval})
}

// wider maps an integer type to that of twice the width.
var wider = map[typ]typ{u16: u32, s16: s32, u32: u64, s32: s64}

// integers adds integer arithmetic. The interpreter cuts results to the width of
// the destination. Sources have only the bits of their type.
func (t table) integers() {
	for _, ty := range []typ{u16, s16, u32, s32, u64, s64} {
		dot := "." + ty.String()
		t.binary("add"+dot, ty, ty, func(a, b, _ uint64) uint64 { return a + b })
		t.binary("sub"+dot, ty, ty, func(a, b, _ uint64) uint64 { return a - b })
		t.binary("mul.lo"+dot, ty, ty, func(a, b, _ uint64) uint64 { return a * b })
		t.binary("mul.hi"+dot, ty, ty, func(a, b, _ uint64) uint64 { return mulHigh(a, b, ty) })
		t.ternary("mad.lo"+dot, ty, [3]typ{ty, ty, ty}, func(a, b, c uint64) uint64 { return a*b + c })
		t.ternary("mad.hi"+dot, ty, [3]typ{ty, ty, ty}, func(a, b, c uint64) uint64 { return mulHigh(a, b, ty) + c })
		if w, ok := wider[ty]; ok {
			t.binary("mul.wide"+dot, w, ty, func(a, b, _ uint64) uint64 { return ty.extend(a) * ty.extend(b) })
			t.ternary("mad.wide"+dot, w, [3]typ{ty, ty, w}, func(a, b, c uint64) uint64 { return ty.extend(a)*ty.extend(b) + c })
		}
		t.add(form{name: "div" + dot, dst: ty, src: []typ{ty, ty}, divides: true,
			eval: func(a, b, _ uint64) uint64 { return divide(a, b, ty) }})
		t.add(form{name: "rem" + dot, dst: ty, src: []typ{ty, ty}, divides: true,
			eval: func(a, b, _ uint64) uint64 { return remainder(a, b, ty) }})
		less := func(a, b uint64) bool { return a < b }
		if ty.class() == 's' {
			less = func(a, b uint64) bool { return int64(ty.extend(a)) < int64(ty.extend(b)) }
			t.unary("neg"+dot, ty, ty, func(a, _, _ uint64) uint64 { return -a })
			t.unary("abs"+dot, ty, ty, func(a, _, _ uint64) uint64 {
				if int64(ty.extend(a)) < 0 {
					return -a
				}
				return a
			})
		}
		t.binary("min"+dot, ty, ty, func(a, b, _ uint64) uint64 {
			if less(b, a) {
				return b
			}
			return a
		})
		t.binary("max"+dot, ty, ty, func(a, b, _ uint64) uint64 {
			if less(a, b) {
				return b
			}
			return a
		})
	}
}

// logic adds operations on bits, and shifts.
func (t table) logic() {
	for _, ty := range []typ{pred, b16, b32, b64} {
		dot := "." + ty.String()
		t.binary("and"+dot, ty, ty, func(a, b, _ uint64) uint64 { return a & b })
		t.binary("or"+dot, ty, ty, func(a, b, _ uint64) uint64 { return a | b })
		t.binary("xor"+dot, ty, ty, func(a, b, _ uint64) uint64 { return a ^ b })
		t.unary("not"+dot, ty, ty, func(a, _, _ uint64) uint64 { return ^a })
	}
	shift := func(name string, ty typ, eval func(a, b, _ uint64) uint64) {
		t.add(form{name: name, dst: ty, src: []typ{ty, u32}, eval: eval})
	}
	for _, ty := range []typ{b16, b32, b64, u16, u32, u64, s16, s32, s64} {
		dot, n := "."+ty.String(), ty.bits()
		switch ty.class() {
		case 'b':
			shift("shl"+dot, ty, func(a, b, _ uint64) uint64 { return shiftLeft(a, b, n) })
			shift("shr"+dot, ty, func(a, b, _ uint64) uint64 { return shiftRight(a, b, n) })
		case 'u':
			shift("shr"+dot, ty, func(a, b, _ uint64) uint64 { return shiftRight(a, b, n) })
		case 's':
			shift("shr"+dot, ty, func(a, b, _ uint64) uint64 { return shiftArith(a, b, ty) })
		}
	}
	for _, ty := range []typ{u32, s32, u64, s64} {
		t.ternary("bfe."+ty.String(), ty, [3]typ{ty, u32, u32}, func(a, b, c uint64) uint64 { return extract(a, b, c, ty) })
	}
	for _, ty := range []typ{b32, b64} {
		dot, n := "."+ty.String(), int(ty.bits())
		t.unary("popc"+dot, u32, ty, func(a, _, _ uint64) uint64 { return uint64(bits.OnesCount64(a)) })
		t.unary("clz"+dot, u32, ty, func(a, _, _ uint64) uint64 { return uint64(bits.LeadingZeros64(a) - (64 - n)) })
		t.unary("brev"+dot, ty, ty, func(a, _, _ uint64) uint64 { return bits.Reverse64(a) >> (64 - n) })
	}
	word := [3]typ{b32, b32, u32}
	t.ternary("shf.l.wrap.b32", b32, word, func(a, b, c uint64) uint64 { return funnelLeft(a, b, c&31) })
	t.ternary("shf.r.wrap.b32", b32, word, func(a, b, c uint64) uint64 { return funnelRight(a, b, c&31) })
	t.ternary("shf.l.clamp.b32", b32, word, func(a, b, c uint64) uint64 { return funnelLeft(a, b, min(c, 32)) })
	t.ternary("shf.r.clamp.b32", b32, word, func(a, b, c uint64) uint64 { return funnelRight(a, b, min(c, 32)) })
	t.ternary("prmt.b32", b32, word, permute)
}

// floats adds the arithmetic that rounds once to nearest, and operations that need
// no rounding.
func (t table) floats() {
	single := func(f func(a, b float32) float32) func(a, b, _ uint64) uint64 {
		return func(a, b, _ uint64) uint64 { return bits32(f(f32of(a), f32of(b))) }
	}
	double := func(f func(a, b float64) float64) func(a, b, _ uint64) uint64 {
		return func(a, b, _ uint64) uint64 { return bits64(f(f64of(a), f64of(b))) }
	}
	t.binary("add.rn.f32", f32, f32, func(a, b, _ uint64) uint64 { return bits32(f32of(a) + f32of(b)) })
	t.binary("sub.rn.f32", f32, f32, func(a, b, _ uint64) uint64 { return bits32(f32of(a) - f32of(b)) })
	t.binary("mul.rn.f32", f32, f32, func(a, b, _ uint64) uint64 { return bits32(f32of(a) * f32of(b)) })
	t.binary("div.rn.f32", f32, f32, single(func(a, b float32) float32 { return a / b }))
	t.binary("min.f32", f32, f32, single(func(a, b float32) float32 { return float32(minimum(float64(a), float64(b))) }))
	t.binary("max.f32", f32, f32, single(func(a, b float32) float32 { return float32(maximum(float64(a), float64(b))) }))
	t.unary("sqrt.rn.f32", f32, f32, func(a, _, _ uint64) uint64 { return bits32(float32(math.Sqrt(float64(f32of(a))))) })
	t.unary("rcp.rn.f32", f32, f32, func(a, _, _ uint64) uint64 { return bits32(1 / f32of(a)) })
	t.unary("neg.f32", f32, f32, func(a, _, _ uint64) uint64 { return a ^ 1<<31 })
	t.unary("abs.f32", f32, f32, func(a, _, _ uint64) uint64 { return a &^ (1 << 31) })

	t.binary("add.rn.f64", f64, f64, double(func(a, b float64) float64 { return a + b }))
	t.binary("sub.rn.f64", f64, f64, double(func(a, b float64) float64 { return a - b }))
	t.binary("mul.rn.f64", f64, f64, double(func(a, b float64) float64 { return a * b }))
	t.binary("div.rn.f64", f64, f64, double(func(a, b float64) float64 { return a / b }))
	t.binary("min.f64", f64, f64, double(minimum))
	t.binary("max.f64", f64, f64, double(maximum))
	t.unary("sqrt.rn.f64", f64, f64, func(a, _, _ uint64) uint64 { return bits64(math.Sqrt(f64of(a))) })
	t.unary("rcp.rn.f64", f64, f64, func(a, _, _ uint64) uint64 { return bits64(1 / f64of(a)) })
	t.unary("neg.f64", f64, f64, func(a, _, _ uint64) uint64 { return a ^ 1<<63 })
	t.unary("abs.f64", f64, f64, func(a, _, _ uint64) uint64 { return a &^ (1 << 63) })
}

// relations holds the comparisons as functions of less, equal and unordered.
var relations = map[string]func(lt, eq, un bool) bool{
	"eq": func(lt, eq, un bool) bool { return eq },
	"ne": func(lt, eq, un bool) bool { return !eq && !un },
	"lt": func(lt, eq, un bool) bool { return lt },
	"le": func(lt, eq, un bool) bool { return lt || eq },
	"gt": func(lt, eq, un bool) bool { return !lt && !eq && !un },
	"ge": func(lt, eq, un bool) bool { return !lt && !un },

	"equ": func(lt, eq, un bool) bool { return eq || un },
	"neu": func(lt, eq, un bool) bool { return !eq },
	"ltu": func(lt, eq, un bool) bool { return lt || un },
	"leu": func(lt, eq, un bool) bool { return lt || eq || un },
	"gtu": func(lt, eq, un bool) bool { return !lt && !eq },
	"geu": func(lt, eq, un bool) bool { return !lt },
	"num": func(lt, eq, un bool) bool { return !un },
	"nan": func(lt, eq, un bool) bool { return un },
}

// unsignedNames are the names of four relations between unsigned integers.
var unsignedNames = map[string]string{"lt": "lo", "le": "ls", "gt": "hi", "ge": "hs"}

// comparisons adds setp, alone and combined with a predicate.
func (t table) comparisons() {
	joins := map[string]func(a, b uint64) uint64{
		".and": func(a, b uint64) uint64 { return a & b },
		".or":  func(a, b uint64) uint64 { return a | b },
		".xor": func(a, b uint64) uint64 { return a ^ b },
	}
	add := func(rel string, ty typ, holds func(a, b uint64) bool, forbidden string) {
		test := func(a, b uint64) uint64 {
			if holds(a, b) {
				return 1
			}
			return 0
		}
		dot := "." + ty.String()
		if forbidden != "" {
			dot = ".ftz" + dot
		}
		t.add(form{name: "setp." + rel + dot, dst: pred, src: []typ{ty, ty}, forbidden: forbidden,
			eval: unless(forbidden, func(a, b, _ uint64) uint64 { return test(a, b) })})
		for name, join := range joins {
			t.add(form{name: "setp." + rel + name + dot, dst: pred, src: []typ{ty, ty, pred}, forbidden: forbidden,
				eval: unless(forbidden, func(a, b, c uint64) uint64 { return join(test(a, b), c) })})
		}
	}
	for rel, f := range relations {
		add(rel, f32, func(a, b uint64) bool {
			x, y := f32of(a), f32of(b)
			return f(x < y, x == y, x != x || y != y)
		}, "")
		add(rel, f32, nil, flushes)
		add(rel, f64, func(a, b uint64) bool {
			x, y := f64of(a), f64of(b)
			return f(x < y, x == y, x != x || y != y)
		}, "")
		if len(rel) != 2 { // unordered relations have three letters
			continue
		}
		for _, ty := range []typ{b16, b32, b64, u16, u32, u64, s16, s32, s64} {
			switch ty.class() {
			case 'b':
				if rel == "eq" || rel == "ne" {
					add(rel, ty, func(a, b uint64) bool { return f(false, a == b, false) }, "")
				}
			case 'u':
				holds := func(a, b uint64) bool { return f(a < b, a == b, false) }
				add(rel, ty, holds, "")
				if other := unsignedNames[rel]; other != "" {
					add(other, ty, holds, "")
				}
			case 's':
				add(rel, ty, func(a, b uint64) bool { return f(int64(ty.extend(a)) < int64(ty.extend(b)), a == b, false) }, "")
			}
		}
	}
}

func unless(forbidden string, f func(a, b, c uint64) uint64) func(a, b, c uint64) uint64 {
	if forbidden != "" {
		return nil
	}
	return f
}

// floatValue returns a function that reads a register of float type t exactly as a
// float64.
func floatValue(t typ) func(x uint64) float64 {
	switch t {
	case f16:
		return load16
	case f32:
		return func(x uint64) float64 { return float64(f32of(x)) }
	}
	return f64of
}

// floatBits returns a function that rounds a float64 to float type t.
func floatBits(t typ, toward0 bool) func(f float64) uint64 {
	switch t {
	case f16:
		return func(f float64) uint64 { return bits16(f, toward0) }
	case f32:
		return func(f float64) uint64 { return bits32(narrow(f, toward0)) }
	}
	return bits64
}

// conversions adds cvt.
func (t table) conversions() {
	ints := []typ{u8, s8, u16, s16, u32, s32, u64, s64}
	floats := []typ{f16, f32, f64}
	add := func(d, s typ, round, forbidden string, eval func(a, _, _ uint64) uint64) {
		t.add(form{name: fmt.Sprintf("cvt%s.%v.%v", round, d, s), dst: d, src: []typ{s}, lax: true, forbidden: forbidden, eval: eval})
		if d == f32 || s == f32 {
			t.add(form{name: fmt.Sprintf("cvt%s.ftz.%v.%v", round, d, s), dst: d, src: []typ{s}, lax: true, forbidden: flushes})
		}
	}
	for _, d := range ints {
		for _, s := range ints {
			add(d, s, "", "", func(a, _, _ uint64) uint64 { return d.extend(s.extend(a)) })
		}
	}
	rounds := map[string]string{".rn": "", ".rz": towardZero}
	integral := map[string]func(float64) float64{".rni": math.RoundToEven, ".rzi": math.Trunc, ".rmi": math.Floor, ".rpi": math.Ceil}
	for _, f := range floats {
		value := floatValue(f)
		for _, i := range ints {
			for round, forbidden := range rounds {
				add(f, i, round, forbidden, func(a, _, _ uint64) uint64 { return fromInt(a, f, i, round == ".rz") })
			}
			wide := f == f64 || i.bits() == 64
			for round, integer := range integral {
				add(i, f, round, "", func(a, _, _ uint64) uint64 { return toInt(integer(value(a)), i, wide) })
			}
		}
		exact := floatBits(f, false)
		for round, integer := range integral {
			add(f, f, round, "", func(a, _, _ uint64) uint64 { return exact(integer(value(a))) })
		}
		for _, g := range floats {
			switch {
			case g.bits() < f.bits(): // f widens g
				value := floatValue(g)
				add(f, g, "", "", func(a, _, _ uint64) uint64 { return exact(value(a)) })
			case g.bits() > f.bits(): // f narrows g
				value := floatValue(g)
				for round, forbidden := range rounds {
					rounded := floatBits(f, round == ".rz")
					add(f, g, round, forbidden, func(a, _, _ uint64) uint64 { return rounded(value(a)) })
				}
			}
		}
	}
}

// moves adds mov, selp and cvta.
func (t table) moves() {
	for _, ty := range []typ{pred, b16, u16, s16, b32, u32, s32, f32, b64, u64, s64, f64} {
		t.unary("mov."+ty.String(), ty, ty, func(a, _, _ uint64) uint64 { return a })
		if ty == pred {
			continue
		}
		t.ternary("selp."+ty.String(), ty, [3]typ{ty, ty, pred}, func(a, b, c uint64) uint64 {
			if c != 0 {
				return a
			}
			return b
		})
	}
	for _, s := range []space{global, shared} {
		for _, to := range []string{"", "to."} {
			t.add(form{name: "cvta." + to + spaceNames[s] + ".u64", kind: kindAddress, dst: u64, src: []typ{u64}, space: s, mode: to})
		}
	}
}

// memory adds loads, stores and atomic additions. Cache operators are hints that
// change no result of a launch, so they are accepted and ignored.
func (t table) memory() {
	elements := []typ{b8, u8, s8, b16, u16, s16, b32, u32, s32, f32, b64, u64, s64, f64}
	add := func(name string, f form, hints ...string) {
		for _, hint := range hints {
			for n := uint(1); n <= 4; n *= 2 {
				v := ""
				if n > 1 {
					v = fmt.Sprintf(".v%d", n)
				}
				for _, ty := range elements {
					if ty.bytes()*n > 16 {
						continue
					}
					g := f
					g.name, g.vector, g.lax = name+hint+v+"."+ty.String(), int(n), true
					if f.kind == kindLoad {
						g.dst = ty
					} else {
						g.src = []typ{ty}
					}
					t.add(g)
				}
			}
		}
	}
	loads, stores := []string{"", ".ca", ".cg", ".cs", ".lu"}, []string{"", ".wb", ".cg", ".cs"}
	add("ld", form{kind: kindLoad, space: generic}, loads...)
	add("ld.global", form{kind: kindLoad, space: global}, loads...)
	add("ld.global", form{kind: kindLoad, space: global, constant: true}, ".nc", ".ca.nc", ".cg.nc", ".cs.nc")
	add("ld.shared", form{kind: kindLoad, space: shared}, "")
	add("ld.param", form{kind: kindLoad, space: param}, "")
	add("st", form{kind: kindStore, space: generic}, stores...)
	add("st.global", form{kind: kindStore, space: global}, stores...)
	add("st.shared", form{kind: kindStore, space: shared}, "")
	for _, s := range []space{generic, global, shared} {
		dot := ""
		if s != generic {
			dot = "." + spaceNames[s]
		}
		for _, ty := range []typ{u32, s32, u64, f32} {
			eval := func(a, b, _ uint64) uint64 { return a + b }
			if ty == f32 {
				eval = func(a, b, _ uint64) uint64 { return bits32(f32of(a) + f32of(b)) }
			}
			f := form{space: s, vector: 1, src: []typ{ty}, eval: eval}
			if ty == f32 {
				f.forbidden = unordered
			}
			f.name, f.kind = "red"+dot+".add."+ty.String(), kindReduce
			t.add(f)
			f.name, f.kind, f.dst = "atom"+dot+".add."+ty.String(), kindAtomic, ty
			t.add(f)
		}
	}
}

// control adds branches, exits and all that synchronises threads.
func (t table) control() {
	t.add(form{name: "bra", kind: kindBranch})
	t.add(form{name: "bra.uni", kind: kindBranch, uniform: true})
	t.add(form{name: "ret", kind: kindExit})
	t.add(form{name: "exit", kind: kindExit})
	t.add(form{name: "trap", kind: kindTrap})
	t.add(form{name: "bar.sync", kind: kindBarrier, src: []typ{u32}})
	t.add(form{name: "barrier.sync", kind: kindBarrier, src: []typ{u32}})
	t.add(form{name: "bar.warp.sync", kind: kindWarpBarrier, src: []typ{b32}})
	for _, mode := range []string{"up", "down", "bfly", "idx"} {
		t.add(form{name: "shfl.sync." + mode + ".b32", kind: kindShuffle, mode: mode, dst: b32, src: []typ{b32, u32, u32, b32}})
	}
	for _, mode := range []string{"all", "any", "uni"} {
		t.add(form{name: "vote.sync." + mode + ".pred", kind: kindVote, mode: mode, dst: pred, src: []typ{pred, b32}})
	}
	t.add(form{name: "vote.sync.ballot.b32", kind: kindVote, mode: "ballot", dst: b32, src: []typ{pred, b32}})
}

// has reports whether an opcode has the modifier.
func has(opcode, modifier string) bool {
	return strings.Contains(opcode+".", "."+modifier+".")
}
