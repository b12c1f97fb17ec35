package main

import "cps/examples/internal/finetune"

// A ledger knows the parts of an iteration by the jobs that ask for them: which are open,
// and who answered the others. One goroutine at a time uses it.
//
// It is what makes an answer count once, however often and by how many workers it is given.
// Message ids cannot do that: the server forgets them after a time, and remembers them when
// the work itself is lost.
type ledger struct {
	order []jobID
	parts map[jobID]*entry
	open  int
}

// An entry is a part.
type entry struct {
	job     job
	first   int // sample of the iteration
	shape   finetune.Shape
	done    bool
	by      uint32 // the member whose answer was taken, once done
	checked bool   // the learner computed it, too
}

func newLedger() *ledger { return &ledger{parts: map[jobID]*entry{}} }

// add opens a part. One that is there already stays.
func (l *ledger) add(id jobID, e entry) {
	if l.parts[id] != nil {
		return
	}
	l.order = append(l.order, id)
	l.parts[id] = &e
	if !e.done {
		l.open++
	}
}

// take closes an open part.
func (l *ledger) take(id jobID, by uint32, checked bool) {
	e := l.parts[id]
	if e == nil || e.done {
		panic("cluster: the part is not open")
	}
	e.done, e.by, e.checked = true, by, checked
	l.open--
}

// revoke opens again what a member answered and nobody checked, and returns the number.
func (l *ledger) revoke(by uint32) int {
	n := 0
	for _, e := range l.parts {
		if e.done && e.by == by && !e.checked {
			e.done = false
			n++
		}
	}
	l.open += n
	return n
}

// missing returns the open parts in their order.
func (l *ledger) missing() []jobID {
	var all []jobID
	for _, id := range l.order {
		if !l.parts[id].done {
			all = append(all, id)
		}
	}
	return all
}
