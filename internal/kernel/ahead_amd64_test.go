//go:build !purego

package kernel

func aheadTaken(w *Work) int { return w.made.next }
