package grpo

import (
	"fmt"
	"math/bits"
)

// An Item names what is trained: a row of the batch and the transition that it takes.
type Item struct{ Row, Step int }

// Minibatches cuts the transitions of a batch into what one step of the optimiser
// sees: Rows trajectories, and Steps transitions of each of them. What does not
// divide evenly makes the last minibatch of its kind smaller. A 0 stands for all, so
// the zero Minibatches is a single one of everything.
//
//	Minibatches{Rows: 8}            whole trajectories, eight at a time
//	Minibatches{Steps: 1}           all trajectories, one step of each
//	Minibatches{Rows: 8, Steps: 1}  both: flow_grpo without gradient accumulation
//
// Group keeps consecutive trajectories together, as many as it says: with the size of the
// groups of a batch and Rows a multiple of it, every minibatch holds whole groups. 0 and 1
// shuffle single trajectories.
//
// Trajectories are shuffled at every epoch. So are the steps of every trajectory,
// each on its own, as in DanceGRPO and ddpo-pytorch, whose minibatches thus hold rows
// at different steps; InOrder keeps all rows of a minibatch at the same steps, the
// noisiest first, as in flow_grpo. The shuffles depend on Key and epoch alone, so
// that every worker and a resumed run agree without sharing state; published trainers
// draw them from torch's global generator.
//
// To evaluate a minibatch, gather what its transitions name into a batch of its own: a
// row of package sampler for each (Sampler.Row takes a step), the latents before and
// after the step, its time for the model, and the old log p and the advantage. The
// example does it.
//
// Key is any number that differs between iterations, such as that of a noise.Key
// that is derived for each.
type Minibatches struct {
	Rows, Steps int
	InOrder     bool
	Group       int // consecutive trajectories that stay together
	Key         uint64
}

// Epoch returns the minibatches of an inner epoch over rows trajectories and some of
// their steps, ascending: those that draw noise, which sampler.Sampler.Stochastic
// returns. Every item is in exactly one of them. All minibatches of some trajectories stand together, so that
// with Steps the gradients of one set of rows can be accumulated before the next.
//
// It reports a negative size or epoch, a Group that does not divide the trajectories and Rows, no rows, and steps that are none, negative or not
// ascending. It allocates the result.
func (m Minibatches) Epoch(epoch, rows int, steps []int) ([][]Item, error) {
	switch {
	case m.Rows < 0:
		return nil, fmt.Errorf("grpo: Minibatches.Rows %d: %w", m.Rows, ErrSetting)
	case m.Steps < 0:
		return nil, fmt.Errorf("grpo: Minibatches.Steps %d: %w", m.Steps, ErrSetting)
	case m.Group < 0:
		return nil, fmt.Errorf("grpo: Minibatches.Group %d: %w", m.Group, ErrSetting)
	case m.Group > 1 && (rows%m.Group != 0 || m.Rows%m.Group != 0):
		return nil, fmt.Errorf("grpo: Minibatches.Group %d does not divide the %d trajectories and Rows %d: %w", m.Group, rows, m.Rows, ErrSize)
	case epoch < 0:
		return nil, fmt.Errorf("grpo: minibatches of epoch %d: %w", epoch, ErrSetting)
	case rows < 1:
		return nil, fmt.Errorf("grpo: minibatches: %w", ErrEmpty)
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
	walk := make([][]int, rows) // of every row, in the order in which it takes them
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

// groups returns 0 to n-1 with runs of size in random order.
func (s *shuffler) groups(n, size int) []int {
	order := make([]int, 0, n)
	for _, g := range s.permutation(n / size) {
		for i := range size {
			order = append(order, g*size+i)
		}
	}
	return order
}

// permutation returns 0 to n-1 in random order, by Fisher and Yates.
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
