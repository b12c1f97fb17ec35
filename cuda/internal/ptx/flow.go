package ptx

// setMeets computes the immediate postdominator of every branch: the first instruction that all
// paths from the branch pass. len(code) stands for the exit. Paths that end in a trap do not count.
// The algorithm is that of Cooper, Harvey and Kennedy ("A Simple, Fast Dominance Algorithm") on the
// reversed graph.
func setMeets(code []instr) {
	exit := len(code)
	before := make([][]int, exit+1) // predecessors
	after := make([][]int, exit)
	edge := func(from, to int) {
		before[to] = append(before[to], from)
		after[from] = append(after[from], to)
	}
	for i := range code {
		in := &code[i]
		switch in.form.kind {
		case kindBranch:
			edge(i, in.target)
		case kindExit:
			edge(i, exit)
		}
		if !in.leaves() {
			edge(i, i+1)
		}
	}

	// Postorder from the exit, backwards along the edges.
	const unseen = -1
	number := make([]int, exit+1)
	for i := range number {
		number[i] = unseen
	}
	type frame struct{ node, next int }
	var order []int
	stack := []frame{{exit, 0}}
	number[exit] = exit + 1 // marks it as seen; its final number follows
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next < len(before[top.node]) {
			n := before[top.node][top.next]
			top.next++
			if number[n] == unseen {
				number[n] = exit + 1
				stack = append(stack, frame{n, 0})
			}
			continue
		}
		number[top.node] = len(order)
		order = append(order, top.node)
		stack = stack[:len(stack)-1]
	}

	meet := make([]int, exit+1)
	for i := range meet {
		meet[i] = unseen
	}
	meet[exit] = exit
	intersect := func(a, b int) int {
		for a != b {
			for number[a] < number[b] {
				a = meet[a]
			}
			for number[b] < number[a] {
				b = meet[b]
			}
		}
		return a
	}
	for changed := true; changed; {
		changed = false
		for i := len(order) - 2; i >= 0; i-- { // reverse postorder without the exit
			node, m := order[i], unseen
			for _, s := range after[node] {
				switch {
				case meet[s] == unseen:
				case m == unseen:
					m = s
				default:
					m = intersect(m, s)
				}
			}
			if m != meet[node] {
				meet[node], changed = m, true
			}
		}
	}
	for i := range code {
		code[i].meet = exit // also if no path leads out
		if meet[i] != unseen {
			code[i].meet = meet[i]
		}
	}
}
