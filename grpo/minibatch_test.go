package grpo

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Every transition is in exactly one minibatch, sizes are as asked for, and the same
// arguments give the same minibatches.
func minibatchesProperty(t *rapid.T) {
	m := Minibatches{
		Rows:    rapid.IntRange(0, 9).Draw(t, "Rows"),
		Steps:   rapid.IntRange(0, 7).Draw(t, "Steps"),
		InOrder: rapid.Bool().Draw(t, "InOrder"),
		Key:     rapid.Uint64().Draw(t, "Key"),
	}
	epoch := rapid.IntRange(0, 3).Draw(t, "epoch")
	rows := rapid.IntRange(1, 20).Draw(t, "rows")
	set := rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 1, 6, rapid.ID[int]).Draw(t, "steps")
	slices.Sort(set)
	all, err := m.Epoch(epoch, rows, set)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := m.Epoch(epoch, rows, set)
	perRow, perStep := m.Rows, m.Steps
	if perRow == 0 {
		perRow = rows
	}
	if perStep == 0 {
		perStep = len(set)
	}
	ceil := func(n, d int) int { return (n + d - 1) / d }
	if want := ceil(rows, perRow) * ceil(len(set), perStep); len(all) != want {
		t.Fatalf("%d minibatches, want %d", len(all), want)
	}
	seen := map[Item]bool{}
	for i, b := range all {
		if !slices.Equal(b, again[i]) {
			t.Fatal("the same arguments gave other minibatches")
		}
		perOne := map[int]int{}
		steps := map[int]int{}
		for _, x := range b {
			if seen[x] {
				t.Fatalf("%v twice", x)
			}
			if x.Row < 0 || x.Row >= rows || !slices.Contains(set, x.Step) {
				t.Fatalf("%v is none of %d rows and steps %v", x, rows, set)
			}
			seen[x] = true
			perOne[x.Row]++
			steps[x.Step]++
		}
		if len(perOne) > perRow {
			t.Fatalf("a minibatch of %d rows, want at most %d", len(perOne), perRow)
		}
		for row, n := range perOne {
			if n > perStep || n != len(b)/len(perOne) {
				t.Fatalf("row %d has %d steps in a minibatch of %d", row, n, len(b))
			}
		}
		if m.InOrder {
			for step, n := range steps {
				if n != len(perOne) {
					t.Fatalf("step %d is taken by %d rows of %d", step, n, len(perOne))
				}
			}
		}
	}
	if len(seen) != rows*len(set) {
		t.Fatalf("%d transitions, want %d", len(seen), rows*len(set))
	}
}

func TestMinibatchesPartition(t *testing.T) { rapid.Check(t, minibatchesProperty) }

func FuzzMinibatches(f *testing.F) { f.Fuzz(rapid.MakeFuzz(minibatchesProperty)) }

// In order, steps follow one another for every row of a block.
func TestMinibatchesInOrder(t *testing.T) {
	all := must(Minibatches{Rows: 4, Steps: 1, InOrder: true, Key: 7}.Epoch(0, 8, []int{2, 3, 4}))(t)
	for i, b := range all {
		for _, x := range b {
			if x.Step != 2+i%3 {
				t.Errorf("minibatch %d has %v", i, x)
			}
		}
	}
}

// All places of a permutation are equally likely, for rows and for the steps of a row, at
// every epoch and key.
func TestMinibatchesUniform(t *testing.T) {
	const n, draws = 5, 4000
	var rows, steps [n][n]float64
	for k := range draws {
		m := Minibatches{Key: uint64(k / 2)}
		all := must(m.Epoch(k%2, n, identity(n)))(t)[0]
		for i, x := range all {
			if i < n {
				rows[i][x.Row]++
			}
			if x.Row == 3 {
				steps[i/n][x.Step]++
			}
		}
	}
	for name, table := range map[string][n][n]float64{"rows": rows, "steps": steps} {
		chi := 0.0
		for _, row := range table {
			for _, c := range row {
				d := c - draws/n
				chi += d * d / (draws / n)
			}
		}
		// 16 degrees of freedom, keys fixed: 5.6e-5 odds above 47.
		if chi > 47 {
			t.Errorf("%s: χ² = %.1f", name, chi)
		}
	}
}

func TestMinibatchesKeyAndEpochCount(t *testing.T) {
	base := must(Minibatches{}.Epoch(0, 30, identity(4)))(t)[0]
	for _, other := range [][]Item{
		must(Minibatches{Key: 1}.Epoch(0, 30, identity(4)))(t)[0],
		must(Minibatches{}.Epoch(1, 30, identity(4)))(t)[0],
	} {
		if slices.Equal(base, other) {
			t.Error("another key or epoch gave the same shuffle")
		}
	}
}

func TestMinibatchesErrors(t *testing.T) {
	for _, c := range []struct {
		m           Minibatches
		epoch, rows int
		steps       []int
		kind        error
		text        string
	}{
		{Minibatches{Rows: -1}, 0, 1, []int{0}, ErrSetting, "grpo: Minibatches.Rows -1 is negative: setting out of range"},
		{Minibatches{Steps: -2}, 0, 1, []int{0}, ErrSetting, "grpo: Minibatches.Steps -2 is negative: setting out of range"},
		{Minibatches{}, -1, 1, []int{0}, ErrSetting, "grpo: minibatches of epoch -1, which is negative: setting out of range"},
		{Minibatches{}, 0, 0, []int{0}, ErrEmpty, "grpo: minibatches of 0 trajectories: empty"},
		{Minibatches{}, 0, 1, nil, ErrWindow, "grpo: minibatches of no steps: no such window of steps"},
		{Minibatches{}, 0, 1, []int{1, 1}, ErrWindow, "grpo: minibatches of the steps [1 1], which are not ascending from 0: no such window of steps"},
		{Minibatches{}, 0, 1, []int{2, 1}, ErrWindow, "grpo: minibatches of the steps [2 1], which are not ascending from 0: no such window of steps"},
		{Minibatches{}, 0, 1, []int{-1, 1}, ErrWindow, "grpo: minibatches of the steps [-1 1], which are not ascending from 0: no such window of steps"},
	} {
		_, err := c.m.Epoch(c.epoch, c.rows, c.steps)
		wantError(t, err, c.kind, c.text)
	}
	// A size beyond what there is means all.
	if all := must(Minibatches{Rows: math.MaxInt, Steps: math.MaxInt}.Epoch(0, 3, identity(2)))(t); len(all) != 1 || len(all[0]) != 6 {
		t.Errorf("huge sizes gave %v", all)
	}
}

func ExampleMinibatches() {
	// Four trajectories, two at a time, one step of each after the other.
	m := Minibatches{Rows: 2, Steps: 1, InOrder: true, Key: 1}
	all, err := m.Epoch(0, 4, []int{0, 1, 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range all {
		fmt.Println(b)
	}
	// Output:
	// [{1 0} {0 0}]
	// [{1 1} {0 1}]
	// [{1 2} {0 2}]
	// [{3 0} {2 0}]
	// [{3 1} {2 1}]
	// [{3 2} {2 2}]
}

// With Group, consecutive trajectories stay together, and minibatches are of whole groups
// if Rows is a multiple of it.
func TestMinibatchesOfGroups(t *testing.T) {
	const rows, size = 24, 4
	shuffled := false
	for epoch := range 3 {
		all, err := Minibatches{Rows: 8, Steps: 2, Group: size, Key: 3}.Epoch(epoch, rows, []int{1, 2, 5})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[Item]bool{}
		for _, b := range all {
			of := map[int]int{}
			for _, x := range b {
				of[x.Row/size]++
				seen[x] = true
			}
			for g, n := range of {
				if n*8 != len(b)*size {
					t.Errorf("%d of %d items are of group %d", n, len(b), g)
				}
			}
		}
		if len(seen) != rows*3 {
			t.Errorf("%d items, want %d", len(seen), rows*3)
		}
		shuffled = shuffled || all[0][0].Row/size != 0
	}
	if !shuffled {
		t.Error("groups are not shuffled")
	}
	one, _ := Minibatches{Rows: 5, Group: 1, Key: 3}.Epoch(0, rows, []int{0, 1})
	none, _ := Minibatches{Rows: 5, Key: 3}.Epoch(0, rows, []int{0, 1})
	if !slices.EqualFunc(one, none, slices.Equal) {
		t.Error("Group 1 is another shuffle than Group 0")
	}
	for _, m := range []Minibatches{{Group: -1}, {Group: 5}, {Rows: 6, Group: 4}} {
		if _, err := m.Epoch(0, rows, []int{0}); err == nil {
			t.Errorf("%+v is no error", m)
		}
	}
}
