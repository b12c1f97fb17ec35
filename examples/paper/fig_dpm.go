package main

import (
	"context"
	"fmt"
	"math"

	"cps/sampler"
	"cps/schedule"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

var dpmRewards = []string{"glyph", "taste"}

var dpmFigure = figure{
	id:    "7",
	title: "Figure 7: Flow-CPS and SDE-DPM-Solver++1",
	paper: "The paper shows that SDE-DPM-Solver++1 preserves coefficients too (Eq. 25-27), trains with it, and gives the η at which Flow-CPS injects as much noise, which changes along the run.",
	wants: func() ([]want, error) {
		arms, err := dpmArms()
		return wants(dpmRewards, arms...), err
	},
	make: makeDPM,
}

func dpmArms() ([]arm, error) {
	matched, err := matchedCPS()
	return []arm{flowCPS, matched, dpmPlus}, err
}

func makeDPM(_ context.Context, s *study, out *section) error {
	arms, err := dpmArms()
	if err != nil {
		return err
	}
	data := curveTable()
	out.table = armTable()
	var panels []*plot.Plot
	for _, reward := range dpmRewards {
		p, err := s.odePanel(out, &data, reward, arms)
		if err != nil {
			return err
		}
		panels = append(panels, p)
		for _, a := range arms[:2] {
			d := s.differ(a, dpmPlus, reward, s.area)
			out.ask(d.positive(), fmt.Sprintf("%s: %s is higher by the ODE than SDE-DPM-Solver++1 on the average of the run", reward, a.label), "%s", d.text())
			out.key()
		}
	}
	p := newPanel("η of Flow-CPS at equal injected noise", "step", "η")
	for _, a := range []arm{dpmPlus, flowSDE, danceSDE, flowCPS} {
		etas, err := equivalentEtas(a.rule)
		if err != nil {
			return err
		}
		var xy plotter.XYs
		for i, eta := range etas {
			xy = append(xy, plotter.XY{X: float64(i), Y: eta})
			data.add(a.label, "", "equivalent eta", i, eta, 0., 1)
		}
		if err := addLine(p, a.label, xy, a.ink, false); err != nil {
			return err
		}
	}
	p.Y.Min = 0
	p.Y.Max = 1.6 // room for the legend
	p.Legend.Top, p.Legend.XOffs, p.Legend.YOffs = true, -vg.Points(6), -vg.Points(4)
	panels = append(panels, p)

	off, err := stepwise()
	if err != nil {
		return err
	}
	out.check(off < 1e-12, "with the equivalent η at every step, Flow-CPS and SDE-DPM-Solver++1 are the same sampler", "their coefficients differ by %.1g at most", off)
	out.say("%s has the mean equivalent η of SDE-DPM-Solver++1 over the trained steps. An η of 1 in the right panel stands for noise that is more than Flow-CPS can inject.", arms[1].label)
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return out.saveData(data)
}

// stepwise returns the greatest difference of a coefficient of SDE-DPM-Solver++1 from that
// of Flow-CPS with the equivalent eta of the step.
func stepwise() (off float64, err error) {
	etas, err := equivalentEtas(dpmPlus.rule)
	if err != nil {
		return 0, err
	}
	s := schedule.Linear(steps)
	for i, eta := range etas {
		a, err := dpmPlus.rule.Coeffs(s.At(i), s.At(i+1))
		if err != nil {
			return 0, err
		}
		b, err := sampler.FlowCPS{Eta: eta}.Coeffs(s.At(i), s.At(i+1))
		if err != nil {
			return 0, err
		}
		off = max(off, math.Abs(a.X0-b.X0), math.Abs(a.X1-b.X1), math.Abs(a.Eps-b.Eps))
	}
	return off, nil
}
