package main

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A ledger is what a map from parts to the workers that did them says.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLedger()
		type state struct {
			by      uint32 // 0: open
			checked bool
		}
		var order []jobID
		model := map[jobID]state{}
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				id := jobID{rapid.Byte().Draw(rt, "id")}
				if _, ok := model[id]; !ok {
					order = append(order, id)
					model[id] = state{}
				}
				l.add(id, entry{})
			},
			"take": func(rt *rapid.T) {
				open := l.missing()
				if len(open) == 0 {
					rt.Skip()
				}
				id := rapid.SampledFrom(open).Draw(rt, "part")
				s := state{rapid.Uint32Range(1, 3).Draw(rt, "by"), rapid.Bool().Draw(rt, "checked")}
				model[id] = s
				l.take(id, s.by, s.checked)
			},
			"revoke": func(rt *rapid.T) {
				by, want := rapid.Uint32Range(1, 3).Draw(rt, "by"), 0
				for id, s := range model {
					if s.by == by && !s.checked {
						model[id] = state{}
						want++
					}
				}
				if got := l.revoke(by); got != want {
					rt.Errorf("%d parts are revoked, want %d", got, want)
				}
			},
			"": func(rt *rapid.T) {
				var open []jobID
				for _, id := range order {
					if model[id].by == 0 {
						open = append(open, id)
					}
				}
				if got := l.missing(); !slices.Equal(got, open) || l.open != len(open) {
					rt.Errorf("open are %v (%d), want %v", got, l.open, open)
				}
			},
		})
	})
}

// A part that is not open cannot be taken: an answer never counts twice.
func TestLedgerPanics(t *testing.T) {
	l := newLedger()
	l.add(jobID{1}, entry{})
	l.take(jobID{1}, 1, false)
	for _, id := range []jobID{{1}, {2}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("part %v is taken", id)
				}
			}()
			l.take(id, 1, false)
		}()
	}
}
