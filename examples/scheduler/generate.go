package main

// An array stands for the generator's own type, such as that of MLX or of a tensor library
// on a GPU. The scheduler only multiplies and adds arrays, and copies noise to them.
type array []float32

func fromHost(x []float32) array { return x }

func (x array) times(w float64) array {
	y := make(array, len(x))
	for i := range x {
		y[i] = float32(w) * x[i]
	}
	return y
}

func (x array) plus(y array) array {
	z := make(array, len(x))
	for i := range x {
		z[i] = x[i] + y[i]
	}
	return z
}

// generate is the loop of an image generator. A model takes latents and a time in its own
// units. Image-to-image starts from image; text-to-image passes zeros.
func generate(s *scheduler, image array, model func(x array, time float64) array) array {
	x := s.first(image)
	for i := range s.Steps() {
		x = s.step(i, x, model(x, s.Time(i)))
	}
	return x
}
