package main

import (
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// A scheduler has all that an image generator needs from this module: weights, times and
// noise. Arrays are the generator's own. Copy this file and replace array by your type.
type scheduler struct {
	*sampler.Sampler           // Steps, and Time(i): what the model is told at step i
	dim              int       // elements of the latents of an image
	key              noise.Key // the seed
	image            uint64    // which image of the seed: its noise is the same in every batch
}

// newScheduler returns the scheduler of an image. The strength, in (0, 1], says how much of
// a given image changes: image-to-image takes only the last steps. 1 is text-to-image.
func newScheduler(c sampler.Config, strength float64, dim int, key noise.Key, image uint64) (*scheduler, error) {
	s, err := sampler.New(c)
	if err != nil || strength == 1 {
		return &scheduler{s, dim, key, image}, err
	}
	first, err := schedule.FirstStep(s.Steps(), strength)
	if err != nil {
		return nil, err
	}
	c.Part, c.Start = sampler.Window{Start: first, End: s.Steps()}, sampler.FromData
	s, err = sampler.New(c)
	return &scheduler{s, dim, key, image}, err
}

// first returns the first latents: noise, or Signal·image + Noise·noise for image-to-image.
func (s *scheduler) first(image array) array {
	return s.take(s.Batch(s.dim, s.key, s.image).Rows[0], image, image)
}

// step returns the latents after step i, from those before it and the model's output.
func (s *scheduler) step(i int, x, v array) array {
	return s.take(s.Row(s.image, i), x, v)
}

// take returns X·x + V·v + Eps·noise with the weights and the noise of a row.
func (s *scheduler) take(row sampler.Row, x, v array) array {
	next := x.times(row.X).plus(v.times(row.V))
	if row.Eps == 0 {
		return next
	}
	eps := make([]float32, s.dim)
	noise.Normal(eps, s.key, row.ID, 0)
	return next.plus(fromHost(eps).times(row.Eps))
}
