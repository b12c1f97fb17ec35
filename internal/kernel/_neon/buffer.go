package main

type storage int

const (
	float32s storage = iota
	bfloat16s
	float16s
)

// A buffer is the memory of dst, x, v or next. It holds float32s, which a step rounds to a
// storage type, or 16-bit words of that type.
type buffer struct {
	storage
	words bool
}

func (b buffer) name() string {
	name := map[storage]string{float32s: "", bfloat16s: "BFloat16", float16s: "Float16"}[b.storage]
	if b.words {
		name += "Words"
	}
	return name
}

// size returns the bytes of one element.
func (b buffer) size() int {
	if b.words {
		return 2
	}
	return 4
}

// prepare loads the constants that conversions need.
func (p *passer) prepare() {
	if p.storage != bfloat16s {
		return
	}
	if p.kind != squares {
		p.table()
		p.one, p.below = p.constant(1), p.constant(0x7fff)
	}
	if p.words {
		p.zeros = fresh()
		p.zero(p.zeros)
	} else {
		p.upper = p.constant(0xffff0000)
	}
}

// A part is some elements, from index first on. Eight elements are in two registers, and
// four or one are in one register. A single element is where the pointers point.
type part struct{ first, n int }

// floats loads the float32s of a part.
func (p *passer) floats(base string, at part) wide {
	if at.n == 8 {
		return p.loadPair(base, 4*at.first)
	}
	return all(p.load(base, 4*at.first, 4*at.n))
}

// values loads the elements of a part and widens them to float32s.
func (p *passer) values(base string, at part) wide {
	switch {
	case !p.words:
		return p.floats(base, at)
	case at.n == 1:
		p.text("MOVHU (%s), %s", base, tmpReg)
		return p.widen(all(p.do(op{text: "FMOVS " + tmpReg + ", F{0}"})), at)
	}
	return p.widen(all(p.load(base, 2*at.first, 2*at.n)), at)
}

// widen returns the float32 values of stored elements.
func (p *passer) widen(kept wide, at part) (y wide) {
	if !p.words {
		return kept
	}
	halves := []op{zip1h, zip2h}
	from := []vec{p.zeros, kept[0]} // a bfloat16 is the upper half of a float32
	if p.storage == float16s {
		halves, from = []op{fcvtl, fcvtl2}, from[1:]
	}
	for _, o := range halves[:(at.n+3)/4] {
		y = append(y, p.do(o, from...))
	}
	return y
}

// round rounds y to the storage type, to nearest even. It returns what is to be stored:
// float32s, or words in one register.
func (p *passer) round(y wide) wide {
	switch {
	case p.storage == float32s:
		return y
	case p.storage == float16s && p.words:
		h := p.do(fcvtn, y[0])
		if len(y) > 1 {
			p.into(h, fcvtn2, y[1])
		}
		return all(h)
	case p.storage == float16s:
		return p.each(fcvtl, p.each(fcvtn, y))
	}
	odd := p.each(and, p.each(ushr(16), y), all(p.one))
	r := p.each(add, p.each(add, y, all(p.below)), odd)
	number := p.each(fcmeq, y, y)
	// The payload of a NaN is cut. It stays a NaN, since it is the quiet result of an
	// addition.
	for h := range number {
		p.into(number[h], bsl, r[h], y[h])
	}
	if p.words {
		return all(p.do(uzp2h, number[0], number[len(number)-1]))
	}
	return p.each(and, number, all(p.upper))
}

// put stores elements in dst.
func (p *passer) put(kept wide, at part) {
	switch {
	case p.words && at.n == 1:
		p.into(kept[0], op{text: "FMOVS F{0}, " + tmpReg})
		p.text("MOVH %s, (%s)", tmpReg, dstReg)
	case at.n == 8 && !p.words:
		p.storePair(kept, dstReg, 4*at.first)
	default:
		p.store(kept[0], dstReg, p.size()*at.first, p.size()*at.n)
	}
}
