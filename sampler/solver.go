package sampler

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"cps/schedule"
)

// A Solver is a rule of higher order. Its steps look back at earlier evaluations of the
// model, or take several evaluations. Coeffs is its step where there is nothing to look
// back at.
//
// Plan returns the moves that take latents through points. There are at least two points,
// the noisiest first. A plan looks back only at evaluations of its own moves. The first
// evaluation is at points[0]. Every later evaluation is where the move before it went.
// The last move of a step goes to the step's last point. Other moves go to points of the
// solver's own, the stages of a step.
//
// Plan is a pure function, as Coeffs is. [New] checks the moves against points and
// against the solver's [Facts]. Package cps/sampler/solver has solvers.
type Solver interface {
	Rule
	Plan(points []schedule.Point) ([]Move, error)
}

// A Move is one evaluation of the model in a plan, and the transition that follows it,
//
//	next = X0·x̂0 + X1·x̂1 + Eps·ε + Σ (X0ⱼ·x̂0ⱼ + X1ⱼ·x̂1ⱼ)
//
// Coeffs weighs the predictions of its own evaluation, and Past those of earlier ones. An
// earlier latent is αⱼ·x̂0ⱼ + σⱼ·x̂1ⱼ, so moves express every linear step.
type Move struct {
	Step   int            // of the plan: from points[Step] to points[Step+1]
	To     schedule.Point // the point of the latents that it makes
	Coeffs Coeffs         // weights of its own evaluation and of the noise
	Past   []Past         // shares of earlier evaluations, in the order of Back
}

// A Past is the share of an earlier evaluation in a transition.
type Past struct {
	Back   int     // how many evaluations before this one; 1 is the one just before
	X0, X1 float64 // weights of its x̂0 and x̂1
}

// A Term is one summand of the base from which a transition steps when it looks back.
type Term struct {
	Back   int     // how many evaluations before this one; 0 means the latents
	Vector int     // index into [Transition.Keep] of that evaluation; 0 if Back is 0
	Weight float64 // a float32 value
}

// plan returns the transitions of steps start, start+1, … through points by one rule.
// They look back only at each other. With an error, the last transition returned names
// the step.
func plan(r Rule, p Prediction, points []schedule.Point, start int) ([]Transition, error) {
	solver, ok := r.(Solver)
	if !ok || isNil(r) {
		var ts []Transition
		for i := range len(points) - 1 {
			t, err := transition(r, p, points[i], points[i+1])
			t.Step = start + i
			if ts = append(ts, t); err != nil {
				return ts, err
			}
		}
		return ts, nil
	}
	f := FactsOf(r)
	at := func(i int) []Transition { return []Transition{{Step: start + i, From: points[i], To: points[i+1]}} }
	for i := range len(points) - 1 {
		if err := f.onPath(points[i], points[i+1]); err != nil {
			return at(i), err
		}
	}
	moves, err := solver.Plan(slices.Clone(points))
	if err != nil {
		return at(0), named(f.Name, err)
	}
	if err := f.checkPlan(moves, points); err != nil {
		return at(0), err
	}
	ts, err := f.compile(moves, p, points, start)
	if err != nil {
		return ts, err
	}
	for i, l := range levels(ts) {
		if err := f.keeps(Coeffs{X0: l.signal, X1: l.noise}, ts[i].To); err != nil {
			return ts[:i+1], err
		}
	}
	return ts, nil
}

// checkPlan returns an error unless the moves lead through points, one evaluation after
// another.
func (f Facts) checkPlan(moves []Move, points []schedule.Point) error {
	step, ends := -1, true // ends: the previous move is the last of its step
	for k, m := range moves {
		switch {
		case m.Step != step && (m.Step != step+1 || !ends), m.Step >= len(points)-1:
			return f.fail(ErrConfig, "move %d of the plan is of step %d, after step %d", k, m.Step, step)
		case !finite(m.To.Time, m.To.Signal, m.To.Noise):
			return f.fail(ErrSingular, "move %d of the plan goes to %+v", k, m.To)
		}
		if _, err := f.step(m.Coeffs); err != nil {
			return err
		}
		last := k
		for _, q := range m.Past {
			if q.Back < 1 || q.Back > k {
				return f.fail(ErrConfig, "move %d of the plan looks back at evaluation %d", k, k-q.Back)
			}
			if k-q.Back >= last {
				return f.fail(ErrConfig, "the shares %+v of move %d of the plan are not in the order of Back", m.Past, k)
			}
			last = k - q.Back
			if !finite(q.X0, q.X1) {
				return f.fail(ErrSingular, "the share %+v of move %d of the plan is not finite", q, k)
			}
		}
		step, ends = m.Step, m.To == points[m.Step+1]
	}
	if step != len(points)-2 || !ends {
		return f.fail(ErrConfig, "the plan of %d moves does not end where the %d steps do", len(moves), len(points)-1)
	}
	return nil
}

// compile returns the transitions of moves that start at points[0].
func (f Facts) compile(moves []Move, p Prediction, points []schedule.Point, start int) ([]Transition, error) {
	ts := make([]Transition, 0, len(moves))
	from := points[0]
	for k, m := range moves {
		t := Transition{Step: start + m.Step, From: from, To: m.To, Coeffs: m.Coeffs, Past: slices.Clone(m.Past)}
		if k > 0 && moves[k-1].Step == m.Step {
			t.Stage = ts[k-1].Stage + 1
		}
		a := m.Coeffs.Affine(p, from)
		t.Affine = a.round32()
		ts = append(ts, t)
		switch {
		case !finite(t.Affine.X, t.Affine.V, t.Affine.Eps):
			return ts, f.fail(ErrSingular, "with %v: the weights at signal %v, noise %v are %+v, beyond float32: a prediction need not determine x̂0 where there is no signal, or x̂1 where there is no noise", p, from.Signal, from.Noise, a)
		case m.To.Noise > from.Noise && m.Coeffs.Eps != 0:
			return ts, f.fail(ErrPath, "it injects noise, and inversion is deterministic: take FlowODE")
		case t.Stage > maxStage:
			return ts, f.fail(ErrConfig, "step %d has more than %d evaluations", t.Step, maxStage+1)
		}
		from = m.To
	}
	depth := maxBack(ts)
	for k := range ts {
		if err := f.keep(ts, k, depth, p); err != nil {
			return ts[:k+1], err
		}
	}
	for k := range ts {
		if err := f.base(ts, k); err != nil {
			return ts[:k+1], err
		}
	}
	f.densities(ts)
	return ts, nil
}

// maxStage is the last stage of a step. 16 bits name the noise of a stage. One stage more
// in the last step of the longest schedule would name the reserved noise step.
const maxStage = 1<<16 - 2

// keep chooses the vectors to keep of evaluation k: none, one of which all later shares
// are multiples, or both predictions.
func (f Facts) keep(ts []Transition, k, depth int, p Prediction) error {
	var shares []Past
	for j := k + 1; j < len(ts) && j-k <= depth; j++ {
		for _, q := range ts[j].Past {
			if q.Back == j-k && (q.X0 != 0 || q.X1 != 0) {
				shares = append(shares, q)
			}
		}
	}
	if len(shares) == 0 {
		return nil
	}
	first, alike := shares[0], true
	for _, q := range shares {
		alike = alike && float64(first.X0*q.X1) == float64(first.X1*q.X0)
	}
	var keep []Coeffs
	switch {
	case !alike:
		keep = []Coeffs{{X0: 1}, {X1: 1}}
	case first.X1 == 0:
		keep = []Coeffs{{X0: 1}}
	case first.X0 == 0:
		keep = []Coeffs{{X1: 1}}
	case first.X0 == -first.X1:
		keep = []Coeffs{{X0: -1, X1: 1}}
	default:
		keep = []Coeffs{{X0: first.X0, X1: first.X1}}
	}
	t := &ts[k]
	for _, c := range keep {
		a := c.Affine(p, t.From).round32()
		if !finite(a.X, a.V) {
			return f.fail(ErrSingular, "with %v: later steps look back at signal %v, noise %v, where the weights are %+v", p, t.From.Signal, t.From.Noise, a)
		}
		t.Keep = append(t.Keep, a)
		t.kept = append(t.kept, c)
	}
	return nil
}

// maxBack returns how many evaluations back a transition of ts looks, at most.
func maxBack(ts []Transition) int {
	n := 0
	for i := range ts {
		for _, q := range ts[i].Past {
			n = max(n, q.Back)
		}
	}
	return n
}

// base sets the terms of transition k from its past. The weight of its latents becomes 1.
func (f Facts) base(ts []Transition, k int) error {
	t := &ts[k]
	terms := []Term{{Weight: t.Affine.X}}
	for _, q := range t.Past {
		of := ts[k-q.Back].kept
		for i, c := range of {
			w := q.X0 // of the vector c
			switch {
			case len(of) == 2 && i == 1, c.X0 == 0:
				w = q.X1
			case c.X0 != 0:
				w /= c.X0
			}
			if w = float64(float32(w)); !finite(w) {
				return f.fail(ErrSingular, "the share %+v is beyond float32", q)
			}
			if w != 0 {
				terms = append(terms, Term{q.Back, i, w})
			}
		}
	}
	if len(terms) > 1 {
		t.Base, t.Affine.X = terms, 1
	}
	return nil
}

// densities marks the transitions that draw noise but have no density.
func (f Facts) densities(ts []Transition) {
	for lo := 0; lo < len(ts); {
		hi := lo + 1
		for hi < len(ts) && ts[hi].Step == ts[lo].Step {
			hi++
		}
		still := slices.ContainsFunc(ts[lo:hi], func(t Transition) bool { return t.Affine.Eps == 0 })
		for i := lo; i < hi; i++ {
			t := &ts[i]
			if still && t.Affine.Eps != 0 {
				t.noDensity = fmt.Sprintf("%s: step %d has no density: it has a stage without noise, whose latents move with the policy", f.Name, t.Step)
			}
		}
		lo = hi
	}
}

// A leftover is the signal and the noise that a transition leaves in the latents.
type leftover struct{ signal, noise float64 }

// levels returns what every transition leaves where the model is exact. There, x̂0 is the
// sample at every evaluation, and x̂1 is the unit noise of the latents at that
// evaluation. The transitions between two evaluations correlate their x̂1. Transitions
// whose points do not connect are separate runs, since a plan's first transition looks at
// no other.
func levels(ts []Transition) []leftover {
	all := make([]leftover, len(ts))
	n := maxBack(ts) + 1
	// corr[i][j] is the correlation of the x̂1 of the evaluations i and j back.
	corr := make([][]float64, n)
	for i := range corr {
		corr[i] = make([]float64, n)
		corr[i][i] = 1
	}
	w, with := make([]float64, n), make([]float64, n)
	for k := range ts {
		t := &ts[k]
		clear(w)
		w[0] = t.Coeffs.X1
		l := leftover{signal: t.Coeffs.X0, noise: t.Coeffs.NoiseLevel()}
		looks := false
		for _, q := range t.Past {
			l.signal += q.X0
			w[q.Back] += q.X1
			looks = looks || q.X1 != 0
		}
		for j := range with { // the covariance of next's noise with the x̂1 j back
			with[j] = 0
			for i, x := range w {
				with[j] += float64(x * corr[i][j])
			}
		}
		if looks {
			sq := float64(t.Coeffs.Eps * t.Coeffs.Eps)
			for j, x := range w {
				sq += float64(x * with[j])
			}
			l.noise = math.Sqrt(max(sq, 0))
		}
		all[k] = l
		for i := n - 1; i > 0; i-- {
			for j := n - 1; j > 0; j-- {
				corr[i][j] = corr[i-1][j-1]
			}
		}
		for j := 1; j < n; j++ {
			c := 0.0
			if l.noise > 0 {
				c = with[j-1] / l.noise
			}
			corr[0][j], corr[j][0] = c, c
		}
	}
	return all
}

// Depth returns how many evaluations back a transition of s looks, at most. It is 0 for
// rules of first order.
func (s *Sampler) Depth() int { return s.depth }

// Evaluations returns the transitions whose evaluations of the model transition i depends
// on, in ascending order: those that it looks back at, and itself.
func (s *Sampler) Evaluations(i int) []int {
	all := []int{i}
	for _, t := range s.at("Evaluations", i).Base {
		if t.Back > 0 {
			all = append(all, i-t.Back)
		}
	}
	slices.SortFunc(all, cmp.Compare)
	return slices.Compact(all)
}

// Transitions returns the range of transitions that the steps of w take, for
// [NewTrajectory]. A step takes one, unless a solver evaluates the model several times. w
// counts steps of the scheduler, and the zero Window is all of them. Steps of other parts
// have no transitions. If no step of w has any, the range is the empty Window{n, n}, n =
// Steps(). It panics if w ends before it starts.
func (s *Sampler) Transitions(w Window) Window {
	n := len(s.steps)
	switch {
	case w == (Window{}):
		return Window{0, n}
	case w.Start > w.End:
		panic(fmt.Sprintf("sampler: Sampler.Transitions: window [%d, %d) ends before it starts", w.Start, w.End))
	}
	at := func(step int) int {
		i, _ := slices.BinarySearchFunc(s.steps, step, func(t Transition, step int) int { return cmp.Compare(t.Step, step) })
		return i
	}
	if w = (Window{at(w.Start), at(w.End)}); w.Start == w.End {
		return Window{n, n} // {0, 0} would stand for all
	}
	return w
}

// taken returns the transition that a row takes. It returns -1 for a row that takes none:
// the row has noise step 0, or other weights, such as a span that waits. It panics if the
// sampler has no transition of the row's noise step.
func (s *Sampler) taken(r Row) int {
	if r.Step == 0 {
		return -1
	}
	step, stage := int(r.Step&(1<<16-1))-1-s.steps[0].Step, int(r.Step>>16)
	if step < 0 || step >= len(s.firsts) || s.firsts[step]+stage >= len(s.steps) {
		panic("sampler: a row stands at no transition of the sampler")
	}
	i := s.firsts[step] + stage
	switch t := &s.steps[i]; {
	case t.Stage != stage:
		panic("sampler: a row stands at no transition of the sampler")
	case t.Affine != r.Affine:
		return -1
	}
	return i
}
