//go:build (amd64 || arm64) && !purego

package kernel

func aheadTaken(w *Work) int { return w.made.next }
