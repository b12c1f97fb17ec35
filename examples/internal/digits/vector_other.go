//go:build !amd64 || purego

package digits

var useVector = false

func (product) tiles(_, _, _ int) {}

func vectorSilu(_, _, _ []float32) int { return 0 }

func vectorAdam(_, _, _, _ []float32, _ adamStep) int { return 0 }
