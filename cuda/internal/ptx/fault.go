package ptx

import (
	"errors"
	"fmt"
)

// The kinds of faults; test with [errors.Is].
var (
	ErrBounds       = errors.New("address outside of every allocation")
	ErrFreed        = errors.New("use after free")
	ErrAlign        = errors.New("misaligned address")
	ErrUnwritten    = errors.New("read of bytes never written")
	ErrRegister     = errors.New("read of a register never written")
	ErrRace         = errors.New("data race")
	ErrBarrier      = errors.New("barrier that not all threads reach")
	ErrMembers      = errors.New("member mask names threads that take no part")
	ErrDivergent    = errors.New("bra.uni diverges")
	ErrDivision     = errors.New("integer division by zero")
	ErrTrap         = errors.New("trap")
	ErrLimit        = errors.New("instruction limit reached")
	ErrNotExecuted  = errors.New("instruction is known but not executed by this package")
	ErrLaunch       = errors.New("invalid launch")
	ErrOutOfMemory  = errors.New("out of memory")
	ErrInvalidValue = errors.New("invalid value")
)

// A Fault is an error of one thread of a launch.
type Fault struct {
	Kernel      string
	Line        int    // of the instruction in the source, from 1
	Instruction string // as written
	Block       Dim    // index of the block in the grid
	Thread      Dim    // index of the thread in the block
	Address     uint64 // of the access that failed, otherwise 0
	Err         error  // one of the kinds above, perhaps with more detail
}

func (f *Fault) Error() string {
	at := ""
	if f.Address != 0 {
		at = fmt.Sprintf(" at %#x", f.Address)
	}
	return fmt.Sprintf("ptx: %s, line %d, %q: block %v thread %v%s: %v", f.Kernel, f.Line, f.Instruction, f.Block, f.Thread, at, f.Err)
}

// Unwrap returns f.Err.
func (f *Fault) Unwrap() error { return f.Err }

// A SyntaxError says why [Parse] refuses a source.
type SyntaxError struct {
	Line    int // from 1
	Message string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("ptx: line %d: %s", e.Line, e.Message) }
