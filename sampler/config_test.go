package sampler_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"cps/sampler"
	"cps/schedule"

	"pgregory.net/rapid"
)

var (
	nan   = math.NaN()
	inf   = math.Inf(1)
	plain = schedule.Linear(10)
)

type pointerSchedule struct{ schedule.Flow }

// endless has as many steps as an int can count.
type endless struct{}

func (endless) Steps() int            { return math.MaxInt }
func (endless) At(int) schedule.Point { panic("asked for a point") }

// Every mistake in a Config is an error that names the culprit.
func TestNewRefuses(t *testing.T) {
	vp := schedule.Points{schedule.VPLevel(0.9, 0.1), schedule.VPLevel(0.5, 0.5), schedule.VPLevel(0.1, 0.9)}
	ode, cps := sampler.FlowODE{}, sampler.FlowCPS{Eta: 1}
	type config = sampler.Config
	for name, tc := range map[string]struct {
		c        config
		want     error
		culprits []string
	}{
		"zero":               {config{}, sampler.ErrConfig, []string{"Scheduler is nil"}},
		"nil scheduler":      {config{Rule: ode}, sampler.ErrConfig, []string{"Scheduler is nil"}},
		"typed nil pointer":  {config{Scheduler: (*pointerSchedule)(nil), Rule: ode}, schedule.ErrNil, []string{"nil"}},
		"nil rule":           {config{Scheduler: plain}, sampler.ErrConfig, []string{"Rule is nil"}},
		"nil pointer rule":   {config{Scheduler: plain, Rule: (*sampler.FlowCPS)(nil)}, sampler.ErrConfig, []string{"step 0", "nil *sampler.FlowCPS"}},
		"nil func rule":      {config{Scheduler: plain, Rule: ruleFunc(nil)}, sampler.ErrConfig, []string{"step 0", "nil sampler_test.ruleFunc"}},
		"nil func outside":   {config{Scheduler: plain, Rule: ode, Outside: ruleFunc(nil), Window: sampler.Window{Start: 0, End: 4}}, sampler.ErrConfig, []string{"step 4", "nil sampler_test.ruleFunc"}},
		"nil func diffusion": {config{Scheduler: plain, Rule: sampler.FlowSDE{Diffusion: diffusionFunc(nil)}}, sampler.ErrDiffusion, []string{"step 0", "FlowSDE", "nil sampler_test.diffusionFunc"}},
		"prediction":         {config{Scheduler: plain, Rule: ode, Prediction: 5}, sampler.ErrConfig, []string{"Prediction(5)"}},
		"storage":            {config{Scheduler: plain, Rule: ode, Storage: 3}, sampler.ErrConfig, []string{"Storage(3)"}},

		"start":                   {config{Scheduler: plain, Rule: ode, Start: 3}, sampler.ErrConfig, []string{"Start(3)"}},
		"start below noise":       {config{Scheduler: schedule.Linear(20)[8:], Rule: ode}, sampler.ErrConfig, []string{"signal 0.4", "noise 0.6", "FromData", "FromPart"}},
		"start below noise on VP": {config{Scheduler: vp, Rule: ode}, sampler.ErrConfig, []string{"signal 0.316", "FromData"}},
		"part backwards":          {config{Scheduler: plain, Rule: ode, Part: sampler.Window{Start: 2, End: 1}}, sampler.ErrConfig, []string{"[2, 1) of Part"}},
		"part after":              {config{Scheduler: plain, Rule: ode, Part: sampler.Window{Start: 2, End: 11}}, sampler.ErrConfig, []string{"[2, 11) of Part", "10 steps"}},
		"second part from noise":  {config{Scheduler: plain, Rule: ode, Part: sampler.Window{Start: 2, End: 10}}, sampler.ErrConfig, []string{"Part starts at step 2", "FromPart"}},
		"window without noise":    {config{Scheduler: plain, Rule: sampler.FlowCPS{Eta: 1}, Window: sampler.Window{Start: 9, End: 10}}, sampler.ErrConfig, []string{"[9, 10) of Window", "no step"}},
		"window of the ODE":       {config{Scheduler: plain, Rule: ode, Window: sampler.Window{Start: 2, End: 5}}, sampler.ErrConfig, []string{"[2, 5) of Window", "no step"}},
		"set and window":          {config{Scheduler: plain, Rule: cps, Set: []int{1}, Window: sampler.Window{Start: 1, End: 2}}, sampler.ErrConfig, []string{"both Window and Set"}},
		"empty set":               {config{Scheduler: plain, Rule: cps, Set: []int{}}, sampler.ErrConfig, []string{"Set is empty"}},
		"set that falls":          {config{Scheduler: plain, Rule: cps, Set: []int{3, 1}}, sampler.ErrConfig, []string{"[3 1] of Set", "10 steps"}},
		"set twice":               {config{Scheduler: plain, Rule: cps, Set: []int{3, 3}}, sampler.ErrConfig, []string{"[3 3] of Set"}},
		"set beyond":              {config{Scheduler: plain, Rule: cps, Set: []int{3, 10}}, sampler.ErrConfig, []string{"[3 10] of Set"}},
		"set below":               {config{Scheduler: plain, Rule: cps, Set: []int{-1}}, sampler.ErrConfig, []string{"[-1] of Set"}},
		"set without noise":       {config{Scheduler: plain, Rule: cps, Set: []int{9}}, sampler.ErrConfig, []string{"Set [9]", "none can be trained"}},
		"clock backwards":         {config{Scheduler: plain, Rule: ode, Clock: sampler.Clock{Scale: -1000}}, sampler.ErrConfig, []string{"Scale of Clock", "-1000", "Reversed"}},
		"clock NaN":               {config{Scheduler: plain, Rule: ode, Clock: sampler.Clock{Scale: nan}}, sampler.ErrConfig, []string{"Scale of Clock", "NaN"}},
		"clock infinite":          {config{Scheduler: plain, Rule: ode, Clock: sampler.Clock{Scale: inf}}, sampler.ErrConfig, []string{"Scale of Clock", "Inf"}},
		"clock rounds all":        {config{Scheduler: plain, Rule: ode, Clock: sampler.Clock{Rounding: sampler.RoundDown}}, sampler.ErrConfig, []string{"Clock rounds", "0 or 1"}},
		"rounding":                {config{Scheduler: plain, Rule: ode, Clock: sampler.Clock{Scale: 1000, Rounding: 3}}, sampler.ErrConfig, []string{"Rounding(3)"}},
		"too long":                {config{Scheduler: endless{}, Rule: ode}, schedule.ErrLong, []string{"9223372036854775807"}},
		"inversion by noise":      {config{Scheduler: schedule.Invert(plain), Rule: sampler.FlowCPS{Eta: 0.5}, Start: sampler.FromData}, sampler.ErrPath, []string{"step 0", "FlowCPS", "inversion"}},
		"inversion by an SDE":     {config{Scheduler: schedule.Invert(plain), Rule: sampler.FlowSDE{Diffusion: sampler.Constant(0.5)}, Start: sampler.FromData}, sampler.ErrPath, []string{"step 0", "FlowSDE"}},
		"inversion from noise":    {config{Scheduler: schedule.Invert(plain), Rule: ode}, sampler.ErrConfig, []string{"signal 1", "FromData"}},
		"no inversion":            {config{Scheduler: schedule.Inversion{}, Rule: ode}, schedule.ErrNil, []string{"nil"}},

		"no levels":  {config{Scheduler: schedule.Flow{}, Rule: ode}, schedule.ErrShort, []string{"Steps is -1"}},
		"nil levels": {config{Scheduler: schedule.Flow(nil), Rule: ode}, schedule.ErrShort, []string{"Steps is -1"}},
		"one level":  {config{Scheduler: schedule.Flow{1}, Rule: ode}, schedule.ErrShort, []string{"Steps is 0"}},
		"rising":     {config{Scheduler: schedule.Flow{1, 0.4, 0.6, 0}, Rule: ode}, schedule.ErrOrder, []string{"level 2", "0.6", "0.4"}},
		"equal":      {config{Scheduler: schedule.Flow{1, 0.4, 0.4, 0}, Rule: ode}, schedule.ErrOrder, []string{"level 2", "0.4"}},
		"NaN":        {config{Scheduler: schedule.Flow{1, nan, 0}, Rule: ode}, schedule.ErrRange, []string{"level 1", "NaN"}},
		"above 1":    {config{Scheduler: schedule.Flow{1.5, 0.5, 0}, Rule: ode}, schedule.ErrRange, []string{"level 0", "1.5"}},
		"below 0":    {config{Scheduler: schedule.Flow{1, 0.5, -0.1}, Rule: ode}, schedule.ErrRange, []string{"level 2", "-0.1"}},
		"infinite":   {config{Scheduler: schedule.Flow{inf, 0.5, 0}, Rule: ode}, schedule.ErrRange, []string{"level 0", "Inf"}},
		"time":       {config{Scheduler: schedule.Points{{Time: 2, Noise: 1}, schedule.Level(0.5)}, Rule: ode}, schedule.ErrRange, []string{"level 0", "time", "2"}},

		"window backwards": {config{Scheduler: plain, Rule: ode, Window: sampler.Window{Start: 2, End: 1}}, sampler.ErrConfig, []string{"[2, 1) of Window"}},
		"window empty":     {config{Scheduler: plain, Rule: ode, Window: sampler.Window{Start: 3, End: 3}}, sampler.ErrConfig, []string{"[3, 3) of Window", "empty"}},
		"window before":    {config{Scheduler: plain, Rule: ode, Window: sampler.Window{Start: -1, End: 2}}, sampler.ErrConfig, []string{"[-1, 2) of Window"}},
		"window after":     {config{Scheduler: plain, Rule: ode, Window: sampler.Window{Start: 8, End: 11}}, sampler.ErrConfig, []string{"[8, 11) of Window", "10 steps"}},

		"eta of rule":           {config{Scheduler: plain, Rule: sampler.FlowCPS{Eta: 1.7}}, sampler.ErrEta, []string{"step 0", "noise 1 → 0.9", "FlowCPS", "eta 1.7"}},
		"eta outside":           {config{Scheduler: plain, Rule: ode, Outside: sampler.DDIM{Eta: -1}, Window: sampler.Window{Start: 0, End: 4}}, sampler.ErrEta, []string{"step 4", "DDIM", "eta -1"}},
		"eta of diffusion":      {config{Scheduler: plain, Rule: sampler.Exact{Diffusion: sampler.Proportional(nan)}}, sampler.ErrEta, []string{"step 0", "Exact", "Proportional", "eta NaN"}},
		"nil diffusion pointer": {config{Scheduler: plain, Rule: sampler.FlowSDE{Diffusion: (*sampler.Ratio)(nil)}}, sampler.ErrDiffusion, []string{"step 0", "FlowSDE", "nil *sampler.Ratio"}},
		"no diffusion":          {config{Scheduler: plain, Rule: sampler.FlowSDE{}}, sampler.ErrDiffusion, []string{"step 0", "FlowSDE", "nil"}},

		"FlowSDE on VP":     {config{Scheduler: vp, Rule: sampler.FlowSDE{Diffusion: sampler.Constant(1)}}, sampler.ErrPath, []string{"step 0", "FlowSDE", "rectified-flow"}},
		"NoisyODE on VP":    {config{Scheduler: vp, Rule: sampler.NoisyODE{Diffusion: sampler.Constant(1)}}, sampler.ErrPath, []string{"NoisyODE"}},
		"FlowCPWS on VP":    {config{Scheduler: vp, Rule: sampler.FlowCPWS{Diffusion: sampler.Constant(1)}}, sampler.ErrPath, []string{"FlowCPWS"}},
		"Exact on VP":       {config{Scheduler: vp, Rule: sampler.Exact{Diffusion: sampler.Constant(1)}}, sampler.ErrPath, []string{"Exact"}},
		"ModifiedSDE on VP": {config{Scheduler: vp, Rule: sampler.ModifiedSDE{Diffusion: sampler.Proportional(1)}}, sampler.ErrPath, []string{"ModifiedSDE"}},
		"Ancestral on VP":   {config{Scheduler: vp, Rule: sampler.Ancestral{Eta: 1}}, sampler.ErrPath, []string{"Ancestral"}},
		"SAGE on VP":        {config{Scheduler: vp, Rule: sampler.SAGE{Eta: 1}}, sampler.ErrPath, []string{"SAGE"}},
		"VPSDE on flow":     {config{Scheduler: plain, Rule: sampler.VPSDE{}}, sampler.ErrPath, []string{"step 0", "VPSDE", "variance-preserving"}},

		"DPMSDE at 1":                 {config{Scheduler: plain, Rule: sampler.DPMSDE{}}, sampler.ErrSingular, []string{"step 0", "DPMSDE", "signal"}},
		"SAGE near 1":                 {config{Scheduler: schedule.Flow{1, 0.9999, 0.5}, Rule: sampler.SAGE{Eta: 0.5}}, sampler.ErrSingular, []string{"step 0", "SAGE", "variance", "1 → 0.9999"}},
		"ModifiedSDE{Ratio} at 0":     {config{Scheduler: plain, Rule: sampler.ModifiedSDE{Diffusion: sampler.Ratio(0.5)}}, sampler.ErrSingular, []string{"step 9", "ModifiedSDE", "Ratio"}},
		"ModifiedSDE{Constant} at 0":  {config{Scheduler: plain, Rule: sampler.ModifiedSDE{Diffusion: sampler.Constant(0.5)}}, sampler.ErrSingular, []string{"step 9", "Constant"}},
		"PredictNoise at 1":           {config{Scheduler: plain, Rule: ode, Prediction: sampler.PredictNoise}, sampler.ErrSingular, []string{"step 0", "PredictNoise", "signal 0", "float32"}},
		"beyond float32":              {config{Scheduler: schedule.Flow{1e-60, 0}, Rule: sampler.Renoise{}, Prediction: sampler.PredictSample, Outside: ode, Start: sampler.FromData}, nil, nil},
		"beyond float32, large":       {config{Scheduler: plain, Rule: sampler.NoisyODE{Diffusion: sampler.Constant(1e40)}}, sampler.ErrSingular, []string{"step 0", "NoisyODE", "float32"}},
		"rule gives NaN":              {config{Scheduler: plain, Rule: fixed{sampler.Coeffs{X0: nan}}}, sampler.ErrSingular, []string{"step 0", "fixed", "NaN"}},
		"rule gives infinity":         {config{Scheduler: plain, Rule: fixed{sampler.Coeffs{X1: inf}}}, sampler.ErrSingular, []string{"step 0", "fixed", "Inf"}},
		"rule gives negative Eps":     {config{Scheduler: plain, Rule: fixed{sampler.Coeffs{Eps: -1e-9}}}, sampler.ErrSingular, []string{"step 0", "fixed", "-1e-09"}},
		"rule's own error":            {config{Scheduler: plain, Rule: refusing{}}, errRefusing, []string{"step 0", "refusing: not today"}},
		"signal falls with the noise": {config{Scheduler: schedule.Points{{Signal: 0.9, Noise: 0.9}, {Signal: 0.1, Noise: 0.5}}, Rule: sampler.DPMSDEPlus{}}, sampler.ErrPath, []string{"step 0", "DPMSDEPlus"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := sampler.New(tc.c)
			if tc.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, tc.want, append(tc.culprits, "sampler: ")...)
			if s != nil {
				t.Error("a sampler beside an error")
			}
		})
	}
}

var errRefusing = errors.New("not today")

// A ruleFunc is a rule of the caller's own.
type ruleFunc func(from, to schedule.Point) (sampler.Coeffs, error)

func (f ruleFunc) Coeffs(from, to schedule.Point) (sampler.Coeffs, error) { return f(from, to) }

type refusing struct{}

func (refusing) Coeffs(_, _ schedule.Point) (sampler.Coeffs, error) {
	return sampler.Coeffs{}, errors.Join(errors.New("refusing: not today"), errRefusing)
}

// anyRule draws a rule with any float64 for a parameter.
func anyRule(t *rapid.T) sampler.Rule {
	f := rapid.SampledFrom(families).Draw(t, "family")
	η := rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1), rapid.SampledFrom([]float64{nan, inf, -inf})).Draw(t, "eta")
	return f.at(η)
}

// New never lets a NaN or an infinity through: a Config that it accepts has finite
// float32 weights, no negative noise, and says which steps are stochastic.
func newIsFinite(t *rapid.T) {
	number := rapid.OneOf(rapid.Float64Range(0, 1), rapid.Float64(),
		rapid.Map(rapid.Float64Range(0, 320), func(x float64) float64 { return math.Pow(10, -x) }),
		rapid.Map(rapid.Float64Range(0, 17), func(x float64) float64 { return 1 - math.Pow(10, -x) }),
		rapid.SampledFrom([]float64{0, 1, nan, inf}))
	levels := rapid.SliceOfN(number, 0, 6).Draw(t, "levels")
	if rapid.Bool().Draw(t, "sorted") {
		slices.Sort(levels)
		slices.Reverse(levels)
		levels = slices.Compact(levels)
	}
	var scheduler schedule.Scheduler = schedule.Flow(levels)
	switch rapid.IntRange(0, 3).Draw(t, "path") {
	case 0:
		var p schedule.Points
		for _, x := range levels {
			p = append(p, schedule.VPLevel(x, 1-x))
		}
		scheduler = p
	case 1:
		var p schedule.Points
		for _, x := range levels {
			p = append(p, schedule.Point{Time: x, Signal: number.Draw(t, "signal"), Noise: x})
		}
		scheduler = p
	}
	c := sampler.Config{
		Scheduler:  scheduler,
		Rule:       anyRule(t),
		Outside:    rapid.OneOf(rapid.Just[sampler.Rule](nil), rapid.Custom(anyRule)).Draw(t, "outside"),
		Prediction: sampler.Prediction(rapid.IntRange(0, 4).Draw(t, "prediction")),
		Storage:    sampler.Storage(rapid.IntRange(0, 3).Draw(t, "storage")),
		Start:      sampler.Start(rapid.IntRange(0, 3).Draw(t, "start")),
	}
	if rapid.Bool().Draw(t, "windowed") {
		c.Window = sampler.Window{Start: rapid.IntRange(-1, 6).Draw(t, "start"), End: rapid.IntRange(-1, 6).Draw(t, "end")}
	}
	s, err := sampler.New(c)
	if err != nil {
		if s != nil {
			t.Fatal("a sampler beside an error")
		}
		return
	}
	if s.Steps() != scheduler.Steps() {
		t.Fatalf("%d steps of %d", s.Steps(), scheduler.Steps())
	}
	for i := range s.Steps() {
		tr := s.At(i)
		for _, x := range []float64{tr.Coeffs.X0, tr.Coeffs.X1, tr.Coeffs.Eps, tr.Affine.X, tr.Affine.V, tr.Affine.Eps} {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("%+v: step %d is %+v", c, i, tr)
			}
		}
		if tr.Coeffs.Eps < 0 || tr.Stochastic() != (tr.Affine.Eps > 0 && tr.Affine.V != 0) || tr.From != scheduler.At(i) || tr.To != scheduler.At(i+1) {
			t.Fatalf("%+v: step %d is %+v", c, i, tr)
		}
	}
	s.Audit()
}

func TestNewIsFinite(t *testing.T) { rapid.Check(t, newIsFinite) }
func FuzzNewIsFinite(f *testing.F) { f.Fuzz(rapid.MakeFuzz(newIsFinite)) }

func TestWindow(t *testing.T) {
	cps := sampler.FlowCPS{Eta: 0.5}
	for _, tc := range []struct {
		window     sampler.Window
		outside    sampler.Rule
		stochastic []int
		renoised   []int
	}{
		{sampler.Window{}, nil, []int{0, 1, 2, 3}, nil}, // step 4 goes to level 0
		{sampler.Window{Start: 1, End: 3}, nil, []int{1, 2}, nil},
		{sampler.Window{Start: 0, End: 1}, nil, []int{0}, nil},
		{sampler.Window{Start: 1, End: 3}, sampler.Renoise{}, []int{0, 1, 2, 3}, []int{0, 3}},
	} {
		// A set says the same as the window.
		var set []int
		for i := tc.window.Start; i < tc.window.End; i++ {
			set = append(set, i)
		}
		bySet := mustNew(t, sampler.Config{Scheduler: schedule.Linear(5), Rule: cps, Set: set, Outside: tc.outside})
		for i := range bySet.Steps() {
			if want := mustNew(t, sampler.Config{Scheduler: schedule.Linear(5), Rule: cps, Window: tc.window, Outside: tc.outside}).At(i); !reflect.DeepEqual(bySet.At(i), want) {
				t.Errorf("%v: step %d is %+v by a set, %+v by a window", tc.window, i, bySet.At(i), want)
			}
		}
		s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(5), Rule: cps, Window: tc.window, Outside: tc.outside})
		var stochastic, renoised []int
		for i := range s.Steps() {
			tr := s.At(i)
			if tr.Stochastic() {
				stochastic = append(stochastic, i)
			}
			if tr.Coeffs.X1 == 0 && tr.Coeffs.Eps > 0 {
				renoised = append(renoised, i)
			}
		}
		if !slices.Equal(stochastic, tc.stochastic) || !slices.Equal(renoised, tc.renoised) {
			t.Errorf("%v: stochastic %v, want %v; renoised %v, want %v", tc.window, stochastic, tc.stochastic, renoised, tc.renoised)
		}
	}
}

// A rule, a diffusion and a path of the caller's own work like those of the
// module.
func TestOwnTypes(t *testing.T) {
	half := diffusionFunc(func(u float64) float64 { return 0.5 })
	for _, r := range []func(sampler.Diffusion) sampler.Rule{
		func(d sampler.Diffusion) sampler.Rule { return sampler.FlowSDE{Diffusion: d} },
		func(d sampler.Diffusion) sampler.Rule { return sampler.NoisyODE{Diffusion: d} },
		func(d sampler.Diffusion) sampler.Rule { return sampler.FlowCPWS{Diffusion: d} },
		func(d sampler.Diffusion) sampler.Rule { return sampler.Exact{Diffusion: d} },
	} {
		own := mustNew(t, sampler.Config{Scheduler: plain, Rule: r(half)})
		ours := mustNew(t, sampler.Config{Scheduler: plain, Rule: r(sampler.Constant(0.5))})
		for i := range own.Steps() {
			a, b := own.At(i).Coeffs, ours.At(i).Coeffs
			if math.Abs(a.X1-b.X1) > 1e-12 || math.Abs(a.Eps-b.Eps) > 1e-12 || a.X0 != b.X0 {
				t.Errorf("%T, step %d: %+v, want %+v", r(half), i, a, b)
			}
		}
	}
	c := sampler.Coeffs{X0: 0.25, X1: 0.5, Eps: 0.125}
	s := mustNew(t, sampler.Config{Scheduler: schedule.Points{schedule.Level(1), schedule.Level(0.5)}, Rule: fixed{c}, End: sampler.ToPart})
	if got := s.At(0); got.Coeffs != c || got.Affine != (sampler.Affine{X: 0.75, V: -0.25, Eps: 0.125}) {
		t.Errorf("%+v", got)
	}
}

func TestBatchRefuses(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: plain, Rule: sampler.FlowODE{}})
	const says = " of a batch is not in [1, 2³⁴]"
	wantPanic(t, "sampler: Dim 0"+says, func() { s.Batch(0, 1, 0) })
	wantPanic(t, "sampler: Dim -1"+says, func() { s.Batch(-1, 1, 0) })
	wantPanic(t, says, func() { s.Batch(math.MinInt, 1) })
	for _, dim := range []int{0, -5} {
		wantPanic(t, says, func() { sampler.CPU{}.Step(nil, nil, nil, sampler.Batch{Dim: dim}, nil) })
		wantPanic(t, says, func() { sampler.CPU{}.SumSquares(nil, nil, nil, nil, sampler.Batch{Dim: dim}) })
		wantPanic(t, says, func() { sampler.CPU{}.Grad(nil, nil, nil, nil, sampler.Batch{Dim: dim}, nil) })
	}
	if strconv.IntSize == 64 {
		dim := int64(sampler.MaxDim) // a variable, so that this compiles for 32 bits
		wantPanic(t, says, func() { s.Batch(int(dim+1), 1, 0) })
		if b := s.Batch(int(dim), 1, 0); b.Dim != int(dim) {
			t.Error("the longest row is refused")
		}
	}
}

func TestBatchAndMove(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: plain, Rule: sampler.FlowCPS{Eta: 0.5}, Storage: sampler.Float16})
	b := s.Batch(5, 77, 3, 9, 3)
	if b.Dim != 5 || b.Key != 77 || b.Storage != sampler.Float16 || b.Len() != 15 {
		t.Errorf("%+v", b)
	}
	for i, sample := range []uint64{3, 9, 3} {
		if b.Rows[i] != sampler.InitialRow(sample) || b.Rows[i].Affine != (sampler.Affine{Eps: 1}) || b.Rows[i].Step != 0 {
			t.Errorf("row %d is %+v", i, b.Rows[i])
		}
	}
	s.SetStep(b, 4)
	for i, sample := range []uint64{3, 9, 3} {
		if b.Rows[i] != s.Row(sample, 4) || b.Rows[i].Step != 5 {
			t.Errorf("row %d moved to %+v", i, b.Rows[i])
		}
	}
	w := b.WithAffine(sampler.Affine{X: 0.25, V: 0.75})
	if w.Storage != sampler.Float32 || w.Dim != 5 || w.Key != 77 || len(w.Rows) != 3 || w.Rows[1].Affine != (sampler.Affine{X: 0.25, V: 0.75}) || w.Rows[1].ID != b.Rows[1].ID {
		t.Errorf("With gives %+v", w)
	}
	if b.Rows[1] != s.Row(9, 4) {
		t.Error("With changed its receiver")
	}
	if b := s.Batch(5, 77); len(b.Rows) != 0 || b.Len() != 0 {
		t.Errorf("no samples: %+v", b)
	}
}

// Of two wrong ranges, New names the same one every time.
func TestFirstWrongRange(t *testing.T) {
	bad := sampler.Window{Start: 3, End: 2}
	for range 50 {
		_, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(4), Rule: sampler.FlowODE{}, Window: bad, Part: bad})
		wantError(t, err, sampler.ErrConfig, "of Window")
	}
}

// An index that is of no transition is named, with the range, before anything is written.
func TestIndexRefused(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(4), Rule: sampler.FlowCPS{Eta: 0.5}, Part: sampler.Window{Start: 1, End: 4}, Start: sampler.FromPart})
	b := s.Batch(4, 1, 2)
	s.SetStep(b, 2)
	before := b.Rows[0]
	for method, call := range map[string]func(i int){
		"At":              func(i int) { s.At(i) },
		"Time":            func(i int) { s.Time(i) },
		"PredictedSample": func(i int) { s.PredictedSample(i) },
		"Row":             func(i int) { s.Row(0, i) },
		"SetStep":         func(i int) { s.SetStep(b, i) },
		"Evaluations":     func(i int) { s.Evaluations(i) },
		"Share":           func(i int) { s.Share(i, 0) },
	} {
		for i := range s.Steps() {
			call(i)
		}
		s.SetStep(b, 2)
		for _, i := range []int{-1, 3, math.MinInt, math.MaxInt} {
			wantPanic(t, fmt.Sprintf("sampler: Sampler.%s: transition %d is not in [0, 3)", method, i), func() { call(i) })
		}
	}
	if b.Rows[0] != before {
		t.Errorf("the row moved to %+v", b.Rows[0])
	}
	h := sampler.History[[]float32]{Device: sampler.CPU{}, Sampler: s}
	wantPanic(t, "sampler: History.Keep: vector -1 is negative", func() { h.Keep(make([]float32, 4), -1, make([]float32, 4), make([]float32, 4), b) })
	wantPanic(t, "Sampler.SetStep: transition 3", func() { s.SetStep(s.Batch(4, 1), 3) }) // also without rows
}
