package solver

// For tests of their precision.
var (
	Phi2 = phi2
	Phi3 = phi3
)
