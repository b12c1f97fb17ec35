package sampler

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"cps/schedule"
)

// An AuditStep compares the signal and noise that a transition leaves with those
// of its schedule.
type AuditStep struct {
	Step        int // index of the transition
	From, To    schedule.Point
	Signal      float64 // the sum of all X0; the ideal is To.Signal
	Ideal       float64 // To.Noise
	Level       float64 // hypot(X1, Eps); a solver's counts how the run correlates the noise of its evaluations
	Excess      float64 // Level - Ideal
	Accumulated float64 // √Σ(Level² - Ideal²) so far, with the sign of the sum
}

// An Audit is the noise account of a run, with one entry for each transition.
type Audit []AuditStep

// Audit returns the noise account of s. It needs no model. The levels hold where
// the model's predictions are exact, so any excess is the sampler's own (Section
// 3.1, Figures 2 and 8). Accumulated follows the authors' notebook
// (IamCreateAI/FlowCPS, scripts/analysis/sde_noise_level.ipynb).
func (s *Sampler) Audit() Audit {
	a := make(Audit, len(s.steps))
	var sum float64
	leaves := levels(s.steps)
	for i, t := range s.steps {
		level, ideal := leaves[i].noise, t.To.Noise
		// The product keeps an exact level exact: it adds nothing to the sum.
		sum += float64((level - ideal) * (level + ideal))
		a[i] = AuditStep{
			Step: i, From: t.From, To: t.To,
			Signal: leaves[i].signal, Ideal: ideal, Level: level, Excess: level - ideal,
			Accumulated: math.Copysign(math.Sqrt(math.Abs(sum)), sum),
		}
	}
	return a
}

// String returns a as a table, one line for each transition.
func (a Audit) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "step\tsignal\tideal signal\tnoise\tideal noise\texcess\taccumulated\t")
	for _, s := range a {
		fmt.Fprintf(w, "%d\t%.4f\t%.4f\t%.4f\t%.4f\t%+.4f\t%.4f\t\n",
			s.Step, s.Signal, s.To.Signal, s.Level, s.Ideal, flush(s.Excess), flush(s.Accumulated))
	}
	w.Flush()
	return b.String()
}

// flush returns 0 for small x, so that String never prints -0.0000.
func flush(x float64) float64 {
	if math.Abs(x) < 0.5e-4 {
		return 0
	}
	return x
}
