package main

import (
	"context"
	"slices"
)

// each calls do with every weight tensor and its gradient.
func (p *policy) each(do func(i int, weights, grad []float32)) error {
	for i, n := range p.backward.params {
		grad, err := n.Grad()
		if err != nil {
			return err
		}
		do(i, n.Value().Data().([]float32), grad.Data().([]float32))
	}
	return nil
}

// Move implements trainer.Mover, so that Trainer.CheckBackward can check Backward and Update.
// The graphs share the memory of the weights, so both move.
func (p *policy) Move(_ context.Context, h float64) (squares float64, err error) {
	first := p.still == nil
	err = p.each(func(i int, weights, grad []float32) {
		if first {
			p.still = append(p.still, slices.Clone(weights))
		}
		copy(weights, p.still[i])
		for k, g := range grad {
			if h != 0 { // which keeps the sign of a zero
				weights[k] += float32(h * float64(g))
			}
			squares += float64(g) * float64(g)
		}
	})
	return squares, err
}

// ClearGradient implements trainer.Mover. Gorgonia's solver clears the gradient in Update.
func (p *policy) ClearGradient(context.Context) error {
	p.still = nil
	return p.each(func(_ int, _, grad []float32) { clear(grad) })
}
