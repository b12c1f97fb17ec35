package finetune

import "cps/examples/internal/digits"

// board is the side of an image with a margin of paper all around.
const board = digits.Side + 2

// topology returns the number of connected pieces of ink in an image, and the number of
// pieces of paper that ink encloses. Pixels of ink connect at sides and corners, and
// pixels of paper at sides. A pixel above 0 is ink.
func topology(x []float32) (pieces, holes int) {
	var ink, seen [board * board]bool
	for i, v := range x {
		ink[(i/digits.Side+1)*board+i%digits.Side+1] = v > 0
	}
	sides := []int{-1, 1, -board, board}
	around := append([]int{-board - 1, -board + 1, board - 1, board + 1}, sides...)
	var todo []int
	for start := range seen {
		if seen[start] {
			continue
		}
		color, steps := ink[start], sides
		if color {
			steps = around
			pieces++
		} else {
			holes++
		}
		seen[start] = true
		todo = append(todo, start)
		for len(todo) > 0 {
			at := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for _, d := range steps {
				// A step over the edge of the board ends in the margin of the other side.
				// That is paper too, of the same piece, and ink never touches it.
				next := at + d
				if next >= 0 && next < len(seen) && !seen[next] && ink[next] == color {
					seen[next] = true
					todo = append(todo, next)
				}
			}
		}
	}
	return pieces, holes - 1 // the margin is not enclosed
}
