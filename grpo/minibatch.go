package grpo

import (
	"fmt"
	"math/bits"
)

// An Item names one transition to train: a row of the batch and the step that it takes.
type Item struct{ Row, Step int }

// Minibatches cuts the transitions of a batch into minibatches, one for each step of the
// optimiser. A minibatch has Rows trajectories and Steps transitions of each. The last one
// is smaller if the sizes do not divide evenly. 0 stands for all, so the zero Minibatches
// makes a single minibatch of all transitions.
//
//	Minibatches{Rows: 8}            whole trajectories, eight at a time
//	Minibatches{Steps: 1}           all trajectories, one step of each
//	Minibatches{Rows: 8, Steps: 1}  both: flow_grpo without gradient accumulation
//
// Group is a number of consecutive trajectories that stay together. Set it to the size of
// a batch's groups, and Rows to a multiple of it, so that every minibatch holds whole
// groups. 0 and 1 shuffle single trajectories.
//
// Every epoch shuffles the trajectories, and the steps of every trajectory on its own. A
// minibatch therefore holds rows at different steps, as in DanceGRPO and ddpo-pytorch.
// InOrder keeps all rows of a minibatch at the same steps instead, the noisiest first, as
// in flow_grpo. The shuffles depend on Key and epoch alone. All workers and a resumed run
// thus agree without shared state. Published trainers draw shuffles from torch's global
// generator.
//
// To evaluate a minibatch, gather its transitions into a batch of their own. Each needs a
// row of package sampler (see Sampler.Row). It also needs the latents before and after the
// step, the time for the model, the old log p and the advantage. The example shows how.
//
// Key is any number that differs between iterations, such as a noise.Key derived for each.
type Minibatches struct {
	Rows, Steps int
	InOrder     bool
	Group       int // number of consecutive trajectories that stay together
	Key         uint64
}

// Epoch returns the minibatches of an inner epoch over rows trajectories and the given
// steps, in ascending order. Take the steps that draw noise, from
// sampler.Sampler.Stochastic. Every item is in exactly one minibatch. If Steps is set, the
// minibatches of one set of trajectories follow each other, so their gradients can be
// accumulated.
//
// These are errors: a negative size or epoch, a Group that does not divide rows and Rows,
// rows below 1, and steps that are empty, negative or not ascending. Epoch allocates the
// result.
func (m Minibatches) Epoch(epoch, rows int, steps []int) ([][]Item, error) {
	switch {
	case m.Rows < 0:
		return nil, fmt.Errorf("grpo: Minibatches.Rows %d is negative: %w", m.Rows, ErrSetting)
	case m.Steps < 0:
		return nil, fmt.Errorf("grpo: Minibatches.Steps %d is negative: %w", m.Steps, ErrSetting)
	case m.Group < 0:
		return nil, fmt.Errorf("grpo: Minibatches.Group %d is negative: %w", m.Group, ErrSetting)
	case m.Group > 1 && (rows%m.Group != 0 || m.Rows%m.Group != 0):
		return nil, fmt.Errorf("grpo: Minibatches.Group %d does not divide the %d trajectories and Rows %d: %w", m.Group, rows, m.Rows, ErrSize)
	case epoch < 0:
		return nil, fmt.Errorf("grpo: minibatches of epoch %d, which is negative: %w", epoch, ErrSetting)
	case rows < 1:
		return nil, fmt.Errorf("grpo: minibatches of %d trajectories: %w", rows, ErrEmpty)
	case len(steps) == 0:
		return nil, fmt.Errorf("grpo: minibatches of no steps: %w", ErrWindow)
	}
	for i, step := range steps {
		if step < 0 || i > 0 && step <= steps[i-1] {
			return nil, fmt.Errorf("grpo: minibatches of the steps %v, which are not ascending from 0: %w", steps, ErrWindow)
		}
	}
	n := len(steps)
	perRow, perStep := m.Rows, m.Steps
	if perRow == 0 {
		perRow = rows
	}
	if perStep == 0 {
		perStep = n
	}
	r := shuffler{key: splitmix(m.Key, uint64(epoch))}
	order := r.groups(rows, max(1, m.Group))
	walk := make([][]int, rows) // the steps of every row, as indices, in the order of training
	for i := range walk {
		if m.InOrder {
			walk[i] = identity(n)
		} else {
			walk[i] = r.permutation(n)
		}
	}
	var all [][]Item
	for lo := 0; lo < rows; lo += min(perRow, rows-lo) {
		block := order[lo : lo+min(perRow, rows-lo)]
		for first := 0; first < n; first += min(perStep, n-first) {
			last := first + min(perStep, n-first)
			b := make([]Item, 0, len(block)*(last-first))
			for k := first; k < last; k++ {
				for _, row := range block {
					b = append(b, Item{row, steps[walk[row][k]]})
				}
			}
			all = append(all, b)
		}
	}
	return all, nil
}

// A shuffler draws permutations from one SplitMix64 sequence.
type shuffler struct{ key, drawn uint64 }

// groups returns 0 to n-1, cut into runs of size, with the runs in random order.
func (s *shuffler) groups(n, size int) []int {
	order := make([]int, 0, n)
	for _, g := range s.permutation(n / size) {
		for i := range size {
			order = append(order, g*size+i)
		}
	}
	return order
}

// permutation returns 0 to n-1 in random order (Fisher-Yates).
func (s *shuffler) permutation(n int) []int {
	p := identity(n)
	for i := n - 1; i > 0; i-- {
		j := s.below(i + 1)
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// below returns a number in [0, n), uniform to n·2⁻⁶⁴.
func (s *shuffler) below(n int) int {
	hi, _ := bits.Mul64(uint64(n), draw(s.key, s.drawn))
	s.drawn++
	return int(hi)
}

func identity(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	return p
}
