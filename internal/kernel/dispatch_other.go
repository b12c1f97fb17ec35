//go:build !(amd64 || arm64) || purego

package kernel

// An implementation is one way to compute the passes. All give the same bits.
type implementation uint8

const portable implementation = 0

// available lists the implementations that this machine can run, the fastest last.
func available() []implementation { return []implementation{portable} }

// use is the implementation in use. Tests set it.
var use = portable

func (implementation) stepRate() float64 { return 64 }
func (implementation) passRate() float64 { return 700 }

func (implementation) String() string { return "portable" }

// vectors is the memory of vector kernels in a [Work]. Portable code needs none.
type vectors struct{}

// Do does a pass. A pass over words computes with their values, and rounds a gradient to
// their type. Do does not allocate. It panics if lengths are wrong.
func Do[T Element](w *Work, p *Pass[T]) {
	if p.check() {
		doPortable(w, p)
	}
}

func survey(rows []Row) Survey { return surveyPortable(rows) }

func (s Stream) normal(dst []float32, off uint64) { s.normalPortable(dst, off) }
