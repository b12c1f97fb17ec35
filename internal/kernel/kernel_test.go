package kernel

var (
	testStream = Stream{Key: 0x0123456789abcdef, Sample: 0xfedcba9876543210, Step: 7}

	// 0.55 and its like hide no fusion, as 0.5 would.
	testAffine = Affine{X: 0.55, V: -0.37, Eps: 0.41}
)

// input returns n normal float32 of a stream of its own.
func input(n int, step uint32) []float32 {
	x := make([]float32, n)
	Stream{Key: 0x5eed, Step: step}.Normal(x, 0)
	return x
}
