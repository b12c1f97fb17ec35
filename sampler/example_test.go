package sampler_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"

	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// halfway is a toy model in closed form: the exact velocity of data that is ½
// everywhere.
func halfway(v, x []float32, time float64) error {
	for i := range x {
		v[i] = float32((float64(x[i]) - 0.5) / time)
	}
	return nil
}

// Four samples of a toy model, in ten steps.
func Example() {
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(10).Shift(3),
		Rule:      sampler.FlowCPS{Eta: 0.9},
	})
	if err != nil {
		log.Fatal(err)
	}
	const dim, seed = 3, 42
	b := s.Batch(dim, noise.Key(seed), 0, 1, 2, 3)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu := sampler.CPU{}
	cpu.Step(run.Latents[0], nil, nil, b, nil) // initial noise
	if err := sampler.Rollout(context.Background(), cpu, s, b, run, sampler.OneTime(halfway)); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("start  %6.3f\n", run.Latents[0][:dim])
	fmt.Printf("middle %6.3f\n", run.Latents[5][:dim])
	fmt.Printf("end    %6.3f\n", run.Latents[10][:dim])
	fmt.Println("on policy:", sampler.CheckOnPolicy(context.Background(), cpu, s, b, run, sampler.OneTime(halfway)))
	// Output:
	// start  [ 0.194 -0.970  1.924]
	// middle [ 1.824 -1.753 -1.008]
	// end    [ 0.500  0.500  0.500]
	// on policy: <nil>
}

// Mistakes in a configuration end in New.
func ExampleNew() {
	_, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(10),
		Rule:      sampler.FlowCPS{Eta: 1.7},
	})
	fmt.Println(err)
	fmt.Println(errors.Is(err, sampler.ErrEta))
	_, err = sampler.New(sampler.Config{
		Scheduler: schedule.Linear(10),
		Rule:      sampler.ModifiedSDE{Diffusion: sampler.Ratio(0.7)},
	})
	fmt.Println(err)
	// Output:
	// sampler: step 0 (noise 1 → 0.9): FlowCPS: eta 1.7 is not in [0, 1]
	// true
	// sampler: step 9 (noise 0.1 → 0): ModifiedSDE: Ratio divides by the level, which is 0: leave this step out of Window, or take SquareRoot or Proportional
}

// What Flow-SDE leaves behind, and what Flow-CPS does not.
func ExampleSampler_Audit() {
	for _, rule := range []sampler.Rule{
		sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)},
		sampler.FlowCPS{Eta: 0.5},
	} {
		s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(5).Shift(3), Rule: rule})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%T\n%v", rule, s.Audit())
	}
	// Output:
	// sampler.FlowSDE
	//   step  signal  ideal signal   noise  ideal noise   excess  accumulated
	//      0  0.0769        0.0769  0.9746       0.9231  +0.0515       0.3126
	//      1  0.1818        0.1818  0.9226       0.8182  +0.1044       0.5286
	//      2  0.3333        0.3333  0.7403       0.6667  +0.0736       0.6189
	//      3  0.5714        0.5714  0.5456       0.4286  +0.1170       0.7049
	//      4  1.0000        1.0000  0.4373       0.0000  +0.4373       0.8296
	// sampler.FlowCPS
	//   step  signal  ideal signal   noise  ideal noise   excess  accumulated
	//      0  0.0769        0.0769  0.9231       0.9231  +0.0000       0.0000
	//      1  0.1818        0.1818  0.8182       0.8182  +0.0000       0.0000
	//      2  0.3333        0.3333  0.6667       0.6667  +0.0000       0.0000
	//      3  0.5714        0.5714  0.4286       0.4286  +0.0000       0.0000
	//      4  1.0000        1.0000  0.0000       0.0000  +0.0000       0.0000
}

// EquivalentEta returns the eta at which Flow-CPS explores as much as Flow-GRPO's
// sampler in a step. MatchEta goes the other way.
func ExampleEquivalentEta() {
	from, to := schedule.Level(0.75), schedule.Level(0.5)
	eta, err := sampler.EquivalentEta(sampler.FlowSDE{Diffusion: sampler.Ratio(0.5)}, from, to)
	if err != nil {
		log.Fatal(err)
	}
	cps, err := sampler.FlowCPS{Eta: eta}.Coeffs(from, to)
	if err != nil {
		log.Fatal(err)
	}
	family := func(eta float64) sampler.Rule { return sampler.FlowSDE{Diffusion: sampler.Ratio(eta)} }
	back, err := sampler.MatchEta(family, cps.Eps, from, to)
	fmt.Printf("eta %.4f injects %.4f, as Ratio(%.4f) does; %v\n", eta, cps.Eps, back, err)

	// At the end of a run Flow-SDE injects noise where none is allocated.
	_, err = sampler.EquivalentEta(sampler.FlowSDE{Diffusion: sampler.Ratio(0.5)}, to, schedule.Level(0))
	fmt.Println(err)
	// Output:
	// eta 0.6667 injects 0.4330, as Ratio(0.5000) does; <nil>
	// sampler: FlowSDE injects 0.3535533905932738 into the level 0
}

// Rules of any family at equal exploration.
func ExampleMatchEta() {
	from, to := schedule.Level(0.6), schedule.Level(0.5)
	for _, family := range []func(eta float64) sampler.Rule{
		func(eta float64) sampler.Rule { return sampler.FlowCPS{Eta: eta} },
		func(eta float64) sampler.Rule { return sampler.DDIM{Eta: eta} },
		func(eta float64) sampler.Rule { return sampler.Exact{Diffusion: sampler.Constant(eta)} },
		func(eta float64) sampler.Rule { return sampler.FlowSDE{Diffusion: sampler.Ratio(eta)} },
	} {
		eta, err := sampler.MatchEta(family, 0.2, from, to)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%+v\n", family(math.Round(eta*1e4)/1e4))
	}
	// Output:
	// {Eta:0.262}
	// {Eta:0.5367}
	// {Diffusion:0.7232}
	// {Diffusion:0.5164}
}

// Blend replaces a share of the noise that halves with the level.
type Blend struct{}

func (Blend) Coeffs(from, to schedule.Point) (sampler.Coeffs, error) {
	rho := 1 - to.Noise/2
	return sampler.Coeffs{
		X0:  to.Signal,
		X1:  to.Noise * rho,
		Eps: to.Noise * math.Sqrt((1-rho)*(1+rho)),
	}, nil
}

// A rule of your own is one method. New checks it like any other.
func ExampleRule() {
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(4), Rule: Blend{}})
	if err != nil {
		log.Fatal(err)
	}
	for i := range s.Steps() {
		t := s.At(i)
		fmt.Printf("%.2f → %.2f: level %.2f, new noise %.3f, preserving: %v\n",
			t.From.Noise, t.To.Noise, t.Coeffs.NoiseLevel(), t.Coeffs.Eps, t.Coeffs.Preserves(t.To, 1e-15))
	}
	// Output:
	// 1.00 → 0.75: level 0.75, new noise 0.585, preserving: true
	// 0.75 → 0.50: level 0.50, new noise 0.331, preserving: true
	// 0.50 → 0.25: level 0.25, new noise 0.121, preserving: true
	// 0.25 → 0.00: level 0.00, new noise 0.000, preserving: true
}

// Above is a constant coefficient that stops at a level.
type Above struct{ Level, Eta float64 }

func (g Above) G(t, s float64) float64 {
	if t > g.Level {
		return g.Eta
	}
	return 0
}

// A diffusion coefficient of your own is one method, too.
func ExampleDiffusion() {
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(4),
		Rule:      sampler.FlowCPWS{Diffusion: Above{0.5, 0.4}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for i := range s.Steps() {
		fmt.Printf("step %d: Eps %.2f, stochastic: %v\n", i, s.At(i).Coeffs.Eps, s.At(i).Stochastic())
	}
	// Output:
	// step 0: Eps 0.20, stochastic: true
	// step 1: Eps 0.20, stochastic: true
	// step 2: Eps 0.00, stochastic: false
	// step 3: Eps 0.00, stochastic: false
}

// A window makes some steps stochastic, as MixGRPO and Flow-GRPO-Fast train them.
// The trajectory keeps only what training needs of them.
func ExampleWindow() {
	window := sampler.Window{Start: 2, End: 4}
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(8),
		Rule:      sampler.FlowCPS{Eta: 0.7},
		Window:    window,
	})
	if err != nil {
		log.Fatal(err)
	}
	b := s.Batch(4, 1, 0, 1)
	run := sampler.NewTrajectory(b, s.Steps(), window)
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(context.Background(), sampler.CPU{}, s, b, run, sampler.OneTime(halfway)); err != nil {
		log.Fatal(err)
	}
	for i, sq := range run.SumSquares {
		fmt.Printf("step %d: stochastic %-5v sums %.3f\n", i, s.At(i).Stochastic(), sq)
	}
	fmt.Printf("end %.3f\n", run.Latents[8][:4])
	// Output:
	// step 0: stochastic false sums []
	// step 1: stochastic false sums []
	// step 2: stochastic true  sums [0.600 1.625]
	// step 3: stochastic true  sums [0.256 1.181]
	// step 4: stochastic false sums []
	// step 5: stochastic false sums []
	// step 6: stochastic false sums []
	// step 7: stochastic false sums []
	// end [0.500 0.500 0.500 0.500]
}

// A training batch takes transitions at several steps from a stored rollout.
// Every row says which step it takes and whose noise it drew.
func ExampleSampler_Row() {
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(6), Rule: sampler.FlowCPS{Eta: 0.7}})
	if err != nil {
		log.Fatal(err)
	}
	const dim = 5
	cpu := sampler.CPU{}
	b := s.Batch(dim, 1, 10, 11)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(context.Background(), cpu, s, b, run, sampler.OneTime(halfway)); err != nil {
		log.Fatal(err)
	}

	train := sampler.Batch{Dim: dim, Key: b.Key, Rows: []sampler.Row{s.Row(10, 4), s.Row(11, 0), s.Row(10, 2)}}
	var next, x, v []float32
	for _, pick := range [][2]int{{0, 4}, {1, 0}, {0, 2}} { // row of the rollout, step
		row, i := pick[0]*dim, pick[1]
		next = append(next, run.Latents[i+1][row:][:dim]...)
		x = append(x, run.Latents[i][row:][:dim]...)
		out := make([]float32, dim)
		if err := halfway(out, run.Latents[i][row:][:dim], s.At(i).From.Time); err != nil {
			log.Fatal(err)
		}
		v = append(v, out...)
	}
	sq := make([]float64, 3)
	cpu.SumSquares(sq, next, x, v, train)
	fmt.Println(sq[0] == run.SumSquares[4][0], sq[1] == run.SumSquares[0][1], sq[2] == run.SumSquares[2][0])
	// Output: true true true
}

// The predicted sample clipped to [-1, 1], as pixel models want it.
func ExampleApplyClipped() {
	from, to := schedule.Level(0.5), schedule.Level(0.25)
	c, err := sampler.FlowODE{}.Coeffs(from, to)
	if err != nil {
		log.Fatal(err)
	}
	x, v := []float64{0.2, 1.5}, []float64{0.4, -1} // predicted samples 0 and 2
	fmt.Println(sampler.Apply(make([]float64, 2), x, v, nil, c.Affine(sampler.PredictVelocity, from)))
	fmt.Println(sampler.ApplyClipped(make([]float64, 2), x, v, nil, c, sampler.PredictVelocity, from, 1))
	// Output:
	// [0.1 1.75]
	// [0.1 1]
}

// Classifier-free guidance is a step with other weights.
func ExampleBatch_WithAffine() {
	b := sampler.Batch{Dim: 2, Rows: make([]sampler.Row, 1)}
	unconditional, conditional := []float32{1, 2}, []float32{1.5, 1}
	const w = 3
	v := make([]float32, 2)
	sampler.CPU{}.Step(v, unconditional, conditional, b.WithAffine(sampler.Affine{X: 1 - w, V: w}), nil)
	fmt.Println(v)

	sq := make([]float64, 1)
	sampler.CPU{}.SumSquares(sq, unconditional, nil, conditional, b.WithAffine(sampler.Affine{V: 1}))
	fmt.Println(sq)
	// Output:
	// [2.5 -1]
	// [1.25]
}

func ExampleStorage_Pack() {
	x := []float32{1, -0.1, 1e-3}
	words := make([]uint16, len(x))
	sampler.BFloat16.Pack(words, x)
	sampler.BFloat16.Unpack(x, words)
	fmt.Printf("%#04x %v\n", words, x)
	// Output:
	// [0x3f80 0xbdcd 0x3a83] [1 -0.100097656 0.0009994507]
}
