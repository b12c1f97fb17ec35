package golden

import (
	"math"
	"slices"
)

// A reason says why a case is not simply compared. The name of a case never excuses it. A
// predicate on its numbers and settings finds the reason, and the judge checks what the reason
// promises instead.
type reason string

// Reasons for which the module differs from upstream on purpose.
const (
	noDensity     reason = "no noise: no density"
	noRoot        reason = "1 - ᾱ' - Eps² rounds below 0 upstream: no root"
	noiseLost     reason = "the noise of a step is lost beside its latents in float32: no sampler"
	noExcess      reason = "no noise in excess: upstream takes the root of a sum that rounds below 0"
	levelsRise    reason = "levels rise: a run from data to noise is an Inversion"
	levelsTwice   reason = "every level twice: the second is Heun's second evaluation, a step of length 0"
	oneLevel      reason = "one level, 1, has no distance to stretch: 0/0 upstream"
	goesNowhere   reason = "the last step goes from timestep 0 to itself"
	otherNext     reason = "upstream steps by ⌊T/n⌋ and misses its own next timestep"
	spacingOfOne  reason = "numpy's linspace of one timestep is its start, 0; one step from there samples nothing"
	spacingOfMore reason = "numpy's arange yields one timestep more, -1"
	clipEdge      reason = "the ratio is on the edge of the clip: which side it falls on is a rounding"
	aloneSample   reason = "a group of one under a sample standard deviation: NaN upstream"
	signOfThird   reason = "SDE of order 3: upstream has +1/2 for -1/2 in the weight of the second difference, which makes it of order 1"
	equalRewards  reason = "equal rewards: upstream divides the rounding of their mean by eps"
)

// Reasons for which the module has nothing to compare with.
const (
	severalEvaluations reason = "the step takes several evaluations of the model"
	noSolver           reason = "a multistep solver, or one with a corrector, that the module has no rule for"
	otherGenerator     reason = "another generator than Philox4x32-10, the one of cuRAND and torch on CUDA"
	noOtherAdvantage   reason = "an advantage that is not (reward - mean)/std: no Norm computes it"
	noStepReward       reason = "rewards of single steps, branches and pairs: only what normalises them is here"
	noTrim             reason = "statistics without the outliers: no Norm computes them"
	noSpacing          reason = "levels picked from a table or by a formula of one program: no constructor lays them out"
	notFlow            reason = "noise levels of a variance-exploding path, or timesteps: no flow levels"
	noTrainingTimes    reason = "times of training, not of sampling"
)

// allReasons are all reasons. A test checks that each meets a case.
var allReasons = []reason{
	noDensity, noRoot, noiseLost, noExcess, levelsRise, levelsTwice, oneLevel, goesNowhere, otherNext, spacingOfOne, spacingOfMore,
	clipEdge, aloneSample, signOfThird, equalRewards,
	severalEvaluations, noSolver, otherGenerator, noOtherAdvantage, noStepReward, noTrim, noSpacing, notFlow, noTrainingTimes,
}

// otherFiles are the golden files that no judge reads, with the reasons.
var otherFiles = map[string]string{
	"correction":        "correction of log-probabilities between engines: the module has none",
	"matching":          "objectives of the forward process: the module has none",
	"step_weights":      "weights of steps and schedules of clipping: the module has few of them, in other units",
	"solvers_exact":     "exact solutions, against which package sampler/solver measures orders",
	"solvers_multieval": "solvers of several evaluations: the module's rules are of one",
	"solvers_corrector": "solvers with a corrector: the module's rules have none",
}

// silent reports whether all of upstream's numbers are NaN.
func silent(a []float64) bool {
	return len(a) > 0 && !slices.ContainsFunc(a, func(x float64) bool { return !math.IsNaN(x) })
}
