package noise

import "math"

// A TorchCPU is torch's generator on the CPU: the Mersenne Twister MT19937 (Matsumoto
// and Nishimura, 1998) and the normal that it may hold back. The result of a call
// depends on all earlier calls. Use it to compare with runs of torch, and [Normal] for
// everything else.
//
// Make one with [NewTorchCPU]; the zero TorchCPU panics. Copying one forks it. It is not
// safe for concurrent use.
type TorchCPU struct {
	state [mtLen]uint32
	next  int     // word of state that is next, plus 1; 0 in the zero TorchCPU
	held  float64 // the second normal of a pair, where holds is set
	holds bool
}

const (
	mtLen   = 624
	mtShift = 397

	torchFill = 16 // elements that torch fills at once; fewer are drawn one by one
)

// NewTorchCPU returns the generator after torch.manual_seed(seed). Only the low 32 bits
// of seed count, as in torch.
func NewTorchCPU(seed uint64) *TorchCPU {
	g := &TorchCPU{next: mtLen + 1}
	g.state[0] = uint32(seed)
	for i := 1; i < mtLen; i++ {
		g.state[i] = 1812433253*(g.state[i-1]^g.state[i-1]>>30) + uint32(i)
	}
	return g
}

// Uint32 returns the next word of the Mersenne Twister.
func (g *TorchCPU) Uint32() uint32 {
	switch {
	case g.next == 0:
		panic("noise: zero TorchCPU: make one with NewTorchCPU")
	case g.next > mtLen:
		g.twist()
	}
	y := g.state[g.next-1]
	g.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (g *TorchCPU) twist() {
	for i := range g.state {
		y := g.state[i]&(1<<31) | g.state[(i+1)%mtLen]&(1<<31-1)
		x := g.state[(i+mtShift)%mtLen] ^ y>>1
		if y&1 != 0 {
			x ^= 0x9908b0df
		}
		g.state[i] = x
	}
	g.next = 1
}

// uniform24 is torch's uniform float32 in [0, 1), uniform53 its float64.
func (g *TorchCPU) uniform24() float64 { return float64(g.Uint32()&(1<<24-1)) / (1 << 24) }

func (g *TorchCPU) uniform53() float64 {
	hi := uint64(g.Uint32())
	return float64((hi<<32|uint64(g.Uint32()))&(1<<53-1)) / (1 << 53)
}

// Normal stores in dst what
//
//	torch.randn(len(dst), generator=g)
//
// returns on the CPU. Of the tensor's shape only the number of elements n matters. If n
// is 16 or more, elements j and j+8 of every 16 are a pair, made of two uniforms u in
// [0, 1) of 24 bits:
//
//	√(-2·log(1-u[j]))·cos(2π·u[j+8]),  √(-2·log(1-u[j]))·sin(2π·u[j+8])
//
// If 16 does not divide n, the last 16 elements are then drawn once more, with new
// uniforms. If n is below 16, two float64 uniforms u, w of 53 bits each make a pair of
// elements, cosine first. The angle is 2π·u and the radius √(-2·log(1-w)). An odd n
// leaves the second normal of a pair, with which the next such call begins. (Source:
// normal_fill and normal_distribution in PyTorch's
// aten/src/ATen/native/cpu/DistributionTemplates.h and core/DistributionsHelper.h.)
//
// The uniforms are torch's exactly. For n of 16 or more the normals are about 1e-6 from
// torch's, whose float32 functions differ from machine to machine. For n below 16 they
// equal torch's but for roundings. Unlike the draws of the function Normal, they need
// not be the same bits on every architecture. Half-precision tensors and non-contiguous
// tensors have other layouts, which this method does not support.
//
// Normal does not allocate. It panics if NewTorchCPU did not make g.
func (g *TorchCPU) Normal(dst []float32) {
	if len(dst) < torchFill {
		for i := range dst {
			dst[i] = float32(g.single())
		}
		return
	}
	fill(dst, g.uniform24, func(u, w float32) (float32, float32) {
		// 1-u is exact; the angle is a float32, as in torch.
		radius := math.Sqrt(-2 * math.Log(float64(1-u)))
		sin, cos := math.Sincos(float64(float32(2*math.Pi) * w))
		return float32(radius * cos), float32(radius * sin)
	})
}

// Normal64 is [TorchCPU.Normal] for tensors of float64. Its uniforms have 53 bits and
// take two words for any n. The normals equal torch's but for roundings.
func (g *TorchCPU) Normal64(dst []float64) {
	if len(dst) < torchFill {
		for i := range dst {
			dst[i] = g.single()
		}
		return
	}
	fill(dst, g.uniform53, func(u, w float64) (float64, float64) {
		radius := math.Sqrt(-2 * math.Log(1-u))
		sin, cos := math.Sincos(2 * math.Pi * w)
		return radius * cos, radius * sin
	})
}

// single returns a normal that is drawn alone.
func (g *TorchCPU) single() float64 {
	if g.holds {
		g.holds = false
		return g.held
	}
	u, w := g.uniform53(), g.uniform53()
	radius := math.Sqrt(-2 * math.Log1p(-w))
	sin, cos := math.Sincos(2 * math.Pi * u)
	g.held, g.holds = radius*sin, true
	return radius * cos
}

// fill stores 16 or more normals in dst. It first draws their uniforms into dst.
func fill[T float32 | float64](dst []T, uniform func() float64, pair func(u, w T) (T, T)) {
	draw := func(x []T) {
		for i := range x {
			x[i] = T(uniform())
		}
	}
	turn := func(x []T) {
		for j := range torchFill / 2 {
			x[j], x[j+torchFill/2] = pair(x[j], x[j+torchFill/2])
		}
	}
	draw(dst)
	n := len(dst)
	for i := 0; i+torchFill <= n; i += torchFill {
		turn(dst[i:])
	}
	if n%torchFill != 0 {
		draw(dst[n-torchFill:])
		turn(dst[n-torchFill:])
	}
}
