package main

import (
	"fmt"
	"math"
)

// A measured is a quantity of samples of one network, with its standard error.
type measured struct{ value, se float64 }

// times is m in other units.
func (m measured) times(factor float64) measured { return measured{m.value * factor, m.se * factor} }

// less returns m - o, with twice its standard error.
func (m measured) less(o measured) difference {
	return difference{m.value - o.value, 2 * math.Hypot(m.se, o.se)}
}

// over says m/o, with twice the standard error that its parts give it.
func (m measured) over(o measured) string {
	ratio := m.value / o.value
	return fmt.Sprintf("%.2f ± %.2f times", ratio, 2*ratio*math.Hypot(m.se/m.value, o.se/o.value))
}

func (m measured) text() string { return fmt.Sprintf("%.4f ± %.4f", m.value, m.se) }

// noMore is how much noise, in units of the ODE's, this study still counts as no more: less
// than residualRatio, so that no rule both leaves no more and leaves what Flow-SDE must.
const noMore = 1.25

// atMost judges the claim that m is no more than o.
func (m measured) atMost(o measured) outcome { return m.less(o.times(noMore)).notPositive() }

// side says on which side of 0 a difference from the ODE lies.
func (d difference) side() string {
	switch d.positive() {
	case agrees:
		return "it differs upwards: there is more"
	case differs:
		return "it differs downwards: there is less"
	}
	return "no difference is measured"
}
