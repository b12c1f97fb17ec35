package kernel

var (
	testStream = Stream{Key: 0x0123456789abcdef, Sample: 0xfedcba9876543210, Step: 7}

	// A fused multiply-add shows with weights such as 0.55. With 0.5 it would
	// not.
	testAffine = Affine{X: 0.55, V: -0.37, Eps: 0.41}
)

// input returns n float32 normals from a stream of its own.
func input(n int, step uint32) []float32 {
	x := make([]float32, n)
	Stream{Key: 0x5eed, Step: step}.Normal(x, 0)
	return x
}
