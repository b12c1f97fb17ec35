package cuda

import "embed"

//go:generate kernels/ptx.sh

//go:embed kernels/*.ptx
var sources embed.FS

// A kernel is an index into the table of kernels.
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
	warps    = 4    // in a group of threads
	warpLen  = 32   // threads in a warp

	// rounds bounds the groups of a launch to that many times the groups that the GPU
	// runs at once. A whole number leaves no round half empty. With more than one,
	// faster multiprocessors can do more. The groups then take blocks in turns.
	rounds = 4
)
