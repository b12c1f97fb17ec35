package digits_test

import (
	"fmt"
	"log"

	"cps/examples/internal/digits"
	"cps/noise"
)

// This example draws one sample of every digit, with sixteen steps of Euler's method from
// pure noise. Then it classifies them.
func ExampleVelocity() {
	net, err := digits.Velocity()
	if err != nil {
		log.Fatal(err)
	}
	judge, err := digits.Judge()
	if err != nil {
		log.Fatal(err)
	}
	classes := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	x := make([]float32, len(classes)*digits.Dim)
	for i := range classes {
		noise.Normal(x[i*digits.Dim:][:digits.Dim], 1, noise.ID{Sample: uint64(i)}, 0)
	}
	v := make([]float32, len(x))
	const steps = 16
	for i := range steps {
		net.Forward(v, x, classes, 1-float64(i)/steps)
		for j := range x {
			x[j] -= v[j] / steps
		}
	}
	fmt.Println(judge.Classify(make([]int, len(classes)), x))
	// Output: [0 1 2 3 4 5 6 7 8 9]
}

// This example takes a gradient step on a loss of its own, half the squared velocity. A step
// of reinforcement learning does the same with another loss.
func ExamplePass() {
	net, err := digits.Velocity()
	if err != nil {
		log.Fatal(err)
	}
	net = net.Clone() // the original stays as a reference
	x := make([]float32, 2*digits.Dim)
	classes, times := []int{3, 8}, []float64{0.9, 0.1}
	v := make([]float32, len(x))
	grad := make([]float32, len(net.Params()))
	adam := digits.NewAdam(len(grad))
	pass := digits.NewPass(net, len(classes))
	var losses [3]float64
	for i := range losses {
		pass.Forward(v, x, classes, times)
		for _, v := range v {
			losses[i] += float64(v) * float64(v) / 2
		}
		pass.Backward(grad, v) // the derivative of half the square is v
		adam.Step(net.Params(), grad, 1e-3)
	}
	fmt.Println(losses[0] > losses[1] && losses[1] > losses[2])
	// Output: true
}
