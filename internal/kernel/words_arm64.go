//go:build !purego

package kernel

// Passes over buffers of 16-bit words of a storage type: dst, x, v and the next of a
// gradient are words, which the pass reads as float32s and rounds what it writes to. The
// noise of a step, sums and scales are float32s.

//go:noescape
func stepBFloat16WordsNEON(a *passArgs)

//go:noescape
func squaresBFloat16WordsNEON(a *passArgs)

//go:noescape
func gradBFloat16WordsNEON(a *passArgs)

//go:noescape
func stepFloat16WordsNEON(a *passArgs)

//go:noescape
func squaresFloat16WordsNEON(a *passArgs)

//go:noescape
func gradFloat16WordsNEON(a *passArgs)
