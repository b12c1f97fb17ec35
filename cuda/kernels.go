package cuda

import "embed"

//go:generate kernels/ptx.sh

//go:embed kernels/*.ptx
var sources embed.FS

// A kernel is an entry of the table of kernels.
type kernel int

const (
	stepKernel kernel = iota
	squaresKernel
	gradKernel
	sumRowsKernel
	kernelCount
)

var kernelNames = [kernelCount]string{"step", "squares", "grad", "sum_rows"}

func (k kernel) String() string { return kernelNames[k] }

// source returns the committed PTX of a kernel.
func (k kernel) source() string {
	text, err := sources.ReadFile("kernels/" + kernelNames[k] + ".ptx")
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

const (
	blockLen = 1024 // elements that a warp does at a time; internal/kernel.BlockLen
	warps    = 4    // of a group of threads
	warpLen  = 32   // threads of a warp

	// rounds bounds the groups of a launch, by how often the GPU is filled with groups:
	// a whole number, so that it does not end half empty, and more than one, so that
	// multiprocessors that are faster do more. The groups then take blocks in turns.
	rounds = 4
)
