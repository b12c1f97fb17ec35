package schedule_test

import (
	"errors"
	"fmt"
	"log"
	"math"

	"cps/schedule"
)

func Example() {
	f := schedule.Linear(4).Shift(3)
	if err := schedule.Validate(f); err != nil {
		log.Fatal(err)
	}
	for i := range f.Steps() + 1 {
		p := f.At(i)
		fmt.Printf("%d: time %.4f  signal %.4f  noise %.4f\n", i, p.Time, p.Signal, p.Noise)
	}
	// Output:
	// 0: time 1.0000  signal 0.0000  noise 1.0000
	// 1: time 0.9000  signal 0.1000  noise 0.9000
	// 2: time 0.7500  signal 0.2500  noise 0.7500
	// 3: time 0.5000  signal 0.5000  noise 0.5000
	// 4: time 0.0000  signal 1.0000  noise 0.0000
}

// The points of Stable Diffusion's DDIM, ten steps. The model is told whole
// timesteps.
func ExampleVP() {
	v, err := schedule.NewVP(schedule.ScaledLinearBetas(1000, 0.00085, 0.012))
	if err != nil {
		log.Fatal(err)
	}
	run, err := v.Points(v.Leading(10, 1), v.Point(0))
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range run[:3] {
		t := math.Round(p.Time * float64(v.Len()))
		fmt.Printf("timestep %v: signal %.4f  noise %.4f\n", t, p.Signal, p.Noise)
	}
	// Output:
	// timestep 901: signal 0.1183  noise 0.9930
	// timestep 801: signal 0.1912  noise 0.9816
	// timestep 701: signal 0.2862  noise 0.9582
}

// A Spherical path mixes sine and cosine, in equal angles.
type Spherical int

func (s Spherical) Steps() int { return int(s) }

func (s Spherical) At(i int) schedule.Point {
	if i < 0 || i > int(s) {
		panic("spherical: no such point")
	}
	t := float64(int(s)-i) / float64(s)
	sin, cos := math.Sincos(t * math.Pi / 2)
	return schedule.Point{Time: t, Signal: cos, Noise: sin}
}

// Any path takes two methods.
func ExampleScheduler() {
	var s schedule.Scheduler = Spherical(3)
	fmt.Println(schedule.Validate(s))
	for i := range s.Steps() + 1 {
		p := s.At(i)
		fmt.Printf("signal %.3f  noise %.3f  on the VP path: %v\n", p.Signal, p.Noise, p.OnVP())
	}
	// Output:
	// <nil>
	// signal 0.000  noise 1.000  on the VP path: true
	// signal 0.500  noise 0.866  on the VP path: true
	// signal 0.866  noise 0.500  on the VP path: true
	// signal 1.000  noise 0.000  on the VP path: true
}

func ExampleValidate() {
	err := schedule.Validate(schedule.Flow{1, 0.9, 0.7, 0.7, 0})
	fmt.Println(err)
	fmt.Println(errors.Is(err, schedule.ErrOrder))
	fmt.Println(schedule.Validate(schedule.Linear(10).Shift(-3)))
	fmt.Println(schedule.Validate(schedule.Linear(0)))
	// Output:
	// schedule: level 3 (0.7) is not below level 2 (0.7): noise does not decrease strictly
	// true
	// schedule: level 0: noise is NaN: coefficient outside [0, 1]
	// schedule: Steps is -1: fewer than two points
}

// FLUX.1 dev shifts by the size of the image.
func ExampleFluxMu() {
	for _, side := range []int{256, 512, 1024} {
		mu := schedule.FluxMu(side / 16 * side / 16)
		f := schedule.Linear(4).DynamicShift(mu)
		fmt.Printf("%d pixels: mu %.4f, levels %.4f\n", side, mu, []float64(f))
	}
	// Output:
	// 256 pixels: mu 0.5000, levels [1.0000 0.8318 0.6225 0.3547 0.0000]
	// 512 pixels: mu 0.6300, levels [1.0000 0.8492 0.6525 0.3849 0.0000]
	// 1024 pixels: mu 1.1500, levels [1.0000 0.9045 0.7595 0.5128 0.0000]
}

// diffusers shifts its lowest level twice if it gets the number of steps
// alone.
func ExampleDoubleShift() {
	fmt.Printf("%.4f\n", []float64(schedule.DoubleShift(4, 3)))
	fmt.Printf("%.4f\n", []float64(schedule.Linear(4).Shift(3)))
	// Output:
	// [1.0000 0.8577 0.6022 0.0089 0.0000]
	// [1.0000 0.9000 0.7500 0.5000 0.0000]
}
