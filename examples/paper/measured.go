package main

import (
	"fmt"
	"math"
)

// A measured is a quantity that samples of one network have, with its standard error.
type measured struct{ value, se float64 }

// times returns m in units of 1/factor.
func (m measured) times(factor float64) measured { return measured{m.value * factor, m.se * factor} }

// less returns m - o, with twice its standard error.
func (m measured) less(o measured) difference {
	return difference{m.value - o.value, 2 * math.Hypot(m.se, o.se)}
}

// over returns m/o in words, with twice its standard error.
func (m measured) over(o measured) string {
	ratio := m.value / o.value
	return fmt.Sprintf("%.2f ± %.2f times", ratio, 2*ratio*math.Hypot(m.se/m.value, o.se/o.value))
}

func (m measured) String() string { return fmt.Sprintf("%.4f ± %.4f", m.value, m.se) }

// noMore is how much noise, in units of the ODE's, this study still counts as no more. It
// is less than residualRatio, so no rule can count both as leaving no more and as leaving
// what Flow-SDE must.
const noMore = 1.25

// atMost judges the claim that m is no more than o.
func (m measured) atMost(o measured) outcome { return m.less(o.times(noMore)).notPositive() }

// side says in words whether a difference from the ODE is more, less or neither.
func (d difference) side() string {
	switch d.positive() {
	case agrees:
		return "more"
	case differs:
		return "less"
	}
	return "no difference is measured"
}
