// Asm generates the vector kernels of package kernel: noise, step, squares, gradient, and what
// short rows need before them.
//
//	go run . -isa AVX2 -out ../avx2_amd64.s
//	go run . -isa AVX512 -out ../avx512_amd64.s
//
// The kernels do with eight or sixteen elements at once what the portable code of package
// kernel does with one, in the same order. The comments there say what and why.
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type vec = reg.VecVirtual

func main() {
	name := flag.String("isa", "AVX2", "AVX2 or AVX512")
	flag.Parse()
	ConstraintExpr("amd64,!purego")
	var set isa
	noise := normals
	switch *name {
	case "AVX2":
		set = new(avx2)
	case "AVX512":
		set, noise = new(avx512), normals512
	default:
		log.Fatalf("no instruction set %s", *name)
	}
	if *name == "AVX2" { // AVX-512 uses the same two
		survey()
		heads()
	}
	noise(oneStream)
	noise(manyStreams)
	for _, t := range []storage{float32s, bfloat16s, float16s} {
		pass(set, step, t, false)
	}
	pass(set, squares, float32s, false)
	pass(set, gradient, float32s, false)
	for _, t := range []storage{bfloat16s, float16s} {
		for _, k := range []kind{step, squares, gradient} {
			pass(set, k, t, true)
		}
	}
	Generate()
}

// Constants are named by their content, so that each exists once.
var data = map[string]Mem{}

// words returns a constant of the given words.
func words(w ...uint32) Mem {
	name := "w"
	for _, x := range w {
		name += fmt.Sprintf("_%x", x)
	}
	if !slices.ContainsFunc(w, func(x uint32) bool { return x != w[0] }) {
		name = fmt.Sprintf("w%d_%08x", len(w), w[0])
	}
	m, ok := data[name]
	if !ok {
		m = GLOBL(name, 24) // RODATA|NOPTR
		for i, x := range w {
			DATA(4*i, U32(x))
		}
		data[name] = m
	}
	return m
}

// all returns a constant of eight equal words.
func all(x uint32) Mem { return words(x, x, x, x, x, x, x, x) }

// allF returns a constant of eight equal float32s.
func allF(x float64) Mem { return all(math.Float32bits(float32(x))) }

// quads returns a constant of four equal 64-bit words.
func quads(x uint32) Mem { return words(x, 0, x, 0, x, 0, x, 0) }

// at returns the memory at an offset from a pointer.
func at(p reg.Register, offset int) Mem { return Mem{Base: p, Disp: offset} }
