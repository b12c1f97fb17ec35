package sampler

// Tests share work between goroutines however little there is of it.
func init() { worthwhile, worthAwake = 0, 0 }
