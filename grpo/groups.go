package grpo

import (
	"fmt"
	"iter"
)

// Groups says which samples are compared with each other, usually those of one
// prompt. It is immutable and safe for concurrent use. Make it once per batch:
// functions that take it do not allocate. The zero Groups is a single group of all
// samples.
type Groups struct {
	n     int
	size  int   // of every group, where groups are consecutive
	order []int // samples, group after group, where they are not
	ends  []int // of each group in order
}

// BySize groups n consecutive samples in runs of size, as DanceGRPO does. Sample i
// belongs to group i/size. n or size below 1 and an n that is no multiple of size
// are errors.
func BySize(n, size int) (Groups, error) {
	switch {
	case n < 1:
		return Groups{}, fmt.Errorf("grpo: batch: %w", ErrEmpty)
	case size < 1:
		return Groups{}, fmt.Errorf("grpo: group size %d is below 1: %w", size, ErrSize)
	case n%size != 0:
		return Groups{}, fmt.Errorf("grpo: %d samples in groups of %d: %w", n, size, ErrSize)
	}
	return Groups{n: n, size: size}, nil
}

// ByID groups the samples that have the same id, as flow_grpo's statistics per
// prompt do. An id is a prompt or its number, for example. Groups may differ in
// size, and their samples may stand anywhere in the batch. Groups are numbered by
// first appearance. Empty ids are an error. So is a NaN among float ids, since it
// equals nothing.
func ByID[K comparable](ids []K) (Groups, error) {
	if len(ids) == 0 {
		return Groups{}, fmt.Errorf("grpo: batch: %w", ErrEmpty)
	}
	number := make(map[K]int)
	group := make([]int, len(ids))
	var ends []int // first sizes, then ends
	for i, id := range ids {
		if id != id {
			return Groups{}, fmt.Errorf("grpo: id of sample %d is NaN: %w", i, ErrNotFinite)
		}
		g, ok := number[id]
		if !ok {
			g = len(ends)
			number[id] = g
			ends = append(ends, 0)
		}
		group[i] = g
		ends[g]++
	}
	end := 0
	for g := range ends {
		ends[g], end = end, end+ends[g]
	}
	order := make([]int, len(ids))
	for i, g := range group {
		order[ends[g]] = i
		ends[g]++
	}
	return Groups{n: len(ids), order: order, ends: ends}, nil
}

// Len returns the number of groups.
func (g Groups) Len() int {
	switch {
	case g.order != nil:
		return len(g.ends)
	case g.size > 0:
		return g.n / g.size
	}
	return 1
}

// All yields the groups of a batch of n samples in order: the number of a group,
// and the samples in it. It panics if g was made for another number of samples. An
// [Estimator] of your own walks the groups by it:
//
//	for _, samples := range g.All(len(rewards)) {
//		for i := range samples {
//			… rewards[i] …
//		}
//	}
func (g Groups) All(n int) iter.Seq2[int, iter.Seq[int]] {
	g.check(n)
	return func(yield func(int, iter.Seq[int]) bool) {
		for k := range g.Len() {
			if !yield(k, g.at(k, n).samples) {
				return
			}
		}
	}
}

// group is one group of a batch: samples first, first+1, … or those of order.
type group struct {
	first, n int
	order    []int
}

// at returns group k of a batch of n samples.
func (g Groups) at(k, n int) group {
	switch {
	case g.order != nil:
		first := 0
		if k > 0 {
			first = g.ends[k-1]
		}
		return group{n: g.ends[k] - first, order: g.order[first:g.ends[k]]}
	case g.size > 0:
		return group{first: k * g.size, n: g.size}
	}
	return group{n: n}
}

// sample returns the index in the batch of member j of the group.
func (g group) sample(j int) int {
	if g.order != nil {
		return g.order[j]
	}
	return g.first + j
}

// samples yields the members of the group.
func (g group) samples(yield func(i int) bool) {
	for j := range g.n {
		if !yield(g.sample(j)) {
			return
		}
	}
}

func (g Groups) check(n int) {
	if g.n != 0 && g.n != n {
		panic(panicGroups)
	}
}
