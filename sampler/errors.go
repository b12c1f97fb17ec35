package sampler

import (
	"errors"
	"fmt"
	"reflect"
)

// Kinds of errors, for errors.Is. The text of an error says where it arose and
// what is wrong.
var (
	ErrConfig     = errors.New("bad configuration")                     // a field or an argument is missing or out of range
	ErrPath       = errors.New("the rule does not serve this path")     // such as FlowSDE on a variance-preserving path, or a step to more noise
	ErrEta        = errors.New("eta is out of range")                   // of a rule, or of a diffusion of this package
	ErrDiffusion  = errors.New("the diffusion coefficient is unusable") // nil, not a finite number ≥ 0, or not integrable
	ErrSingular   = errors.New("a step is not finite")                  // in float64, or its weights in float32
	ErrLost       = errors.New("noise is lost in rounding")             // a step injects less than the rounding of its latents
	ErrCall       = errors.New("the model does not serve this call")    // such as one time for all rows, where they differ
	ErrTrajectory = errors.New("the trajectory does not fit the run")   // in its lengths, its buffers or its batch
	ErrNoEta      = errors.New("no eta injects this noise")             // from EquivalentEta and MatchEta
	ErrDensity    = errors.New("the transition has no density")         // from Transition.Density
	ErrFacts      = errors.New("a rule contradicts its facts")          // it says that it preserves coefficients and does not
	ErrConvention = errors.New("the model follows another convention")  // from CheckModel
	ErrScale      = errors.New("the data differ in scale or shift")     // from CheckModel: wider, narrower, or of another mean than the model's
	ErrUndecided  = errors.New("the data do not tell")                  // from CheckModel
	ErrOffPolicy  = errors.New("the policy did not make the samples")   // from CheckOnPolicy: a sum of squares differs, so a ratio is not 1
)

// A fault is an error of a kind. Its own text says everything.
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

// typeName returns the name of the type of a rule or a diffusion: FlowCPS for one
// of this package, trainer.MyRule for others.
func typeName(x any) string {
	switch t := reflect.TypeOf(x); {
	case t == nil:
		return "<nil>"
	case t.PkgPath() == reflect.TypeFor[FlowODE]().PkgPath():
		return t.Name()
	default:
		return t.String()
	}
}

// isNil reports whether x is nil, or holds a nil pointer or a nil function. Then
// x has no method to call.
func isNil(x any) bool {
	switch v := reflect.ValueOf(x); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func:
		return v.IsNil()
	}
	return false
}
