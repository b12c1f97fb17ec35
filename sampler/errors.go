package sampler

import (
	"errors"
	"fmt"
	"strings"
)

// Kinds of errors, for errors.Is. The error itself says what is wrong where.
var (
	ErrConfig     = errors.New("bad configuration")
	ErrPath       = errors.New("the rule does not serve this path")
	ErrEta        = errors.New("eta is out of range")
	ErrDiffusion  = errors.New("the diffusion coefficient is unusable")
	ErrSingular   = errors.New("a step is not finite")
	ErrTrajectory = errors.New("the trajectory does not fit the run")
	ErrNoEta      = errors.New("no eta injects this noise")
)

// A fault is an error of a kind whose own text says everything.
type fault struct {
	kind error
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

// fail returns an error of a kind.
func fail(kind error, format string, args ...any) error {
	return &fault{kind, fmt.Sprintf(format, args...)}
}

// typeName names the type of a rule or a diffusion: FlowCPS for one of this
// package, trainer.MyRule for others.
func typeName(x any) string { return strings.TrimPrefix(fmt.Sprintf("%T", x), "sampler.") }
