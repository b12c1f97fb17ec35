package kernel

// The order in which squares are added is frozen:
//
// A row is cut into blocks of [BlockLen] elements and a block into four quarters
// of 256. Within a quarter, element i goes to lane i mod [Lanes], and every lane
// adds its eight squares in order. Then, lane by lane,
//
//	(q0 + q1) + (q2 + q3)
//
// and the 32 lanes are folded in halves, lane l with lane l+16, then l+8, l+4, l+2
// and l+1. All of this is float32. The block sums are added in order in float64.
// A block that ends early is filled with zeros, which changes no sum.
//
// Why these numbers: 32 lanes are two registers of AVX-512, four of AVX2, and
// eight of NEON. Each register has a chain long enough to hide the latency of an
// addition. At four elements a thread, 32 lanes are also the 128 bytes that eight
// threads of a GPU read at once. With four quarters, a block is the work of one
// warp, whose threads add eight times each and then exchange five times. By
// llvm-mca, an AVX-512 loop over 16 lanes waits for its additions (4 cycles a
// register instead of 3), and a loop over 32 lanes does not. Measured with AVX2 in
// the second-level cache, the quarters cost 4 to 6 % against one sum over the
// block. From memory no difference was found.
//
// The error of a sum of 1024 squares is at most 15 roundings: 8 in a lane, 2 over
// quarters, and 5 in the folds.
const (
	BlockLen   = 1024
	Lanes      = 32
	quarterLen = BlockLen / 4
)

// Blocks returns the number of blocks of a row of n elements.
func Blocks(n int) int { return (n + BlockLen - 1) / BlockLen }

// lanes holds the 32 sums of one quarter.
type lanes [Lanes]float32

// add adds the squares of d to l. d is a quarter at most.
func (l *lanes) add(d []float32) {
	for len(d) >= Lanes {
		for i, x := range (*[Lanes]float32)(d) {
			l[i] += float32(x * x)
		}
		d = d[Lanes:]
	}
	for i, x := range d {
		l[i] += float32(x * x)
	}
}

// fold returns the sum of a block from the lanes of its quarters.
func fold(q *[4]lanes) float32 {
	var t lanes
	for i := range t {
		t[i] = (q[0][i] + q[1][i]) + (q[2][i] + q[3][i])
	}
	for h := Lanes / 2; h > 0; h /= 2 {
		for i := range h {
			t[i] += t[i+h]
		}
	}
	return t[0]
}
