package grpo

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// members lists the samples of every group.
func members(g Groups, n int) [][]int {
	var out [][]int
	for k, samples := range g.All(n) {
		if k != len(out) {
			panic("groups are not numbered in order")
		}
		out = append(out, slices.Collect(samples))
	}
	return out
}

func TestGroups(t *testing.T) {
	for _, tc := range []struct {
		name string
		g    Groups
		n    int
		want [][]int
	}{
		{"zero", Groups{}, 3, [][]int{{0, 1, 2}}},
		{"size", must(BySize(6, 2))(t), 6, [][]int{{0, 1}, {2, 3}, {4, 5}}},
		{"size 1", must(BySize(2, 1))(t), 2, [][]int{{0}, {1}}},
		{"size n", must(BySize(2, 2))(t), 2, [][]int{{0, 1}}},
		{"ids", must(ByID([]string{"b", "a", "b", "c", "a", "b"}))(t), 6, [][]int{{0, 2, 5}, {1, 4}, {3}}},
		{"one id", must(ByID([]int{7, 7}))(t), 2, [][]int{{0, 1}}},
		{"one sample", must(ByID([]int{7}))(t), 1, [][]int{{0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := members(tc.g, tc.n); !slices.EqualFunc(got, tc.want, slices.Equal) {
				t.Errorf("groups are %v, want %v", got, tc.want)
			}
		})
	}
}

// Every sample is in one group, with all samples of its id and no others.
func propByID(t *rapid.T) {
	ids := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 30).Draw(t, "ids")
	g := must(ByID(ids))(t)
	seen := make([]int, len(ids))
	for k, list := range members(g, len(ids)) {
		if !slices.IsSorted(list) {
			t.Errorf("group %d is out of order: %v", k, list)
		}
		count := 0
		for _, id := range ids {
			if id == ids[list[0]] {
				count++
			}
		}
		if len(list) != count {
			t.Errorf("group %d has %d samples, id %d has %d", k, len(list), ids[list[0]], count)
		}
		for _, i := range list {
			seen[i]++
			if ids[i] != ids[list[0]] {
				t.Errorf("group %d has samples of ids %d and %d", k, ids[list[0]], ids[i])
			}
		}
	}
	for i, n := range seen {
		if n != 1 {
			t.Errorf("sample %d is in %d groups", i, n)
		}
	}
}

func TestByID(t *testing.T) { rapid.Check(t, propByID) }

func TestGroupsErrors(t *testing.T) {
	_, err := BySize(0, 4)
	wantError(t, err, ErrEmpty, "grpo: batch: empty")
	_, err = BySize(8, 0)
	wantError(t, err, ErrSize, "grpo: group size 0 is below 1: groups do not divide the samples")
	_, err = BySize(8, -2)
	wantError(t, err, ErrSize, "grpo: group size -2 is below 1: groups do not divide the samples")
	_, err = BySize(10, 4)
	wantError(t, err, ErrSize, "grpo: 10 samples in groups of 4: groups do not divide the samples")
	_, err = ByID([]string{})
	wantError(t, err, ErrEmpty, "grpo: batch: empty")
	_, err = ByID([]float64{1, nan})
	wantError(t, err, ErrNotFinite, "grpo: id of sample 1 is NaN: not a finite number")
}
