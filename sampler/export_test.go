package sampler

// In tests goroutines share even the smallest work.
func init() { worthwhile, worthAwake = 0, 0 }
