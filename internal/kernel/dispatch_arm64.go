//go:build !purego

package kernel

// An implementation is one way to compute the passes. All give the same bits.
type implementation uint8

const (
	portable implementation = iota
	neon
)

// available lists the implementations that this machine can run, the fastest last. Every
// arm64 has NEON.
func available() []implementation { return []implementation{portable, neon} }

// use is the implementation in use. Tests set it.
var use = available()[len(available())-1]

// stepRate and passRate are elements a microsecond on one core, modelled by llvm-mca,
// not measured.
func (i implementation) stepRate() float64 { return [...]float64{64, 400}[i] }
func (i implementation) passRate() float64 { return [...]float64{700, 3000}[i] }

func (i implementation) String() string { return [...]string{"portable", "NEON"}[i] }
