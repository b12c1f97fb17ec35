package main

import (
	"context"
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
	wants: func() ([]want, error) {
		arms, err := dpmArms()
		return wants(dpmRewards, arms...), err
	},
	draw:  drawDPM,
	write: writeDPM,
}

func dpmArms() ([]arm, error) {
	matched, err := matchedCPS()
	return []arm{flowCPS, matched, dpmPlus}, err
}

func drawDPM(_ context.Context, s *study, to files) error {
	arms, err := dpmArms()
	if err != nil {
		return err
	}
	data := curveTable()
	var panels []*plot.Plot
	for _, reward := range dpmRewards {
		p, err := s.odePanel(&data, reward, arms)
		if err != nil {
			return err
		}
		panels = append(panels, p)
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
	if err := savePanels(to.dir, to.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return to.saveData(data)
}

func writeDPM(r *results, out *section) error {
	arms, err := dpmArms()
	if err != nil {
		return err
	}
	out.note("notes", words{"Matched": arms[1].label})
	out.Table = r.armTable(dpmRewards, arms)
	for _, reward := range dpmRewards {
		for i, a := range arms[:2] {
			d := r.differ(a, dpmPlus, reward, average)
			out.ask(d.positive(), "higher on average", words{"Reward": reward, "A": a.label, "B": dpmPlus.label, "Difference": d})
			out.key([...]string{"finding: the paper's η", "finding: the same mean η"}[i], words{"A": a.label, "B": dpmPlus.label})
		}
	}
	off, err := stepwise()
	if err != nil {
		return err
	}
	out.check(off < 1e-12, "same sampler", words{"Off": off})
	return nil
}

// stepwise compares the coefficients of SDE-DPM-Solver++1 with those of Flow-CPS at the
// equivalent eta of each step. It returns the greatest difference.
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
