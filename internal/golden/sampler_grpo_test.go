package golden

import (
	"errors"
	"math"
	"slices"

	"cps/logprob"
	"cps/sampler"
)

// lossCase has the numbers that a trainer gets from packages sampler and logprob: log p, means,
// divergence, and the gradients that autograd computed through them. Arrays are row-major
// [batch, dim]. The loss itself is in an objectiveCase.
type lossCase struct {
	Sampler, Precision string
	Eta, Beta          float64
	Shape              []int
	Sigma              arr
	SigmaNext          arr `json:"sigma_next"`
	X, V, Prev         arr
	VRef               arr `json:"v_ref"`
	LogProb            arr `json:"log_prob"`
	Mean, Std          arr
	MeanRef            arr `json:"mean_ref"`
	MeanSqDiff         arr `json:"mean_sq_diff"`
	KLExact            arr `json:"kl_exact_gauss"`
	KLLoss             arr `json:"kl_loss"`
	GradLogProb        arr `json:"grad_log_prob"`
	GradV              arr `json:"grad_v"`
	GradMean           arr `json:"grad_mean"`
}

func (c lossCase) run(t tester, w worst) {
	if c.Precision == "f32" {
		c.narrow()
	}
	if c.gaussian() && slices.Contains(c.Std, 0) {
		// Upstream has NaN for the row, and therefore for the loss. It trains nothing.
		for i, r := range c.transitions(t) {
			if c.Std[i] == 0 {
				c.checkNoDensity(t, sampler.Batch{Dim: 1, Rows: []sampler.Row{{Affine: r.Affine}}}, 0)
			}
		}
		if !silent(c.LogProb[slices.Index(c.Std, 0):][:1]) {
			t.Errorf("upstream has log p %v where its std %v is 0", c.LogProb, c.Std)
		}
		return
	}
	policy := c.policy(t)
	c.checkPolicy(t, w, policy)
	c.checkKL(t, w, policy)
	c.checkGrad(t, w, policy)
}

func (c *lossCase) narrow() {
	for _, a := range []*arr{
		&c.Sigma, &c.SigmaNext, &c.X, &c.V, &c.Prev, &c.VRef, &c.LogProb, &c.Mean, &c.Std, &c.MeanRef,
		&c.MeanSqDiff, &c.KLExact, &c.KLLoss, &c.GradLogProb, &c.GradV, &c.GradMean,
	} {
		if *a != nil {
			*a = narrow(*a)
		}
	}
}

// A lossPolicy has the numbers that are compared with a lossCase. In single precision they are
// the library's. In double precision they follow from its coefficients and the formulas.
type lossPolicy struct {
	rows      []sampler.Transition
	mean, ref []float64
	logProb   []float64 // this and the following have one number a row
	squares   []float64 // KL without denominator
	gauss     []float64 // KL, for Gaussian policies
	// grad returns the gradient of Σ (weight·log p + klWeight·KL) by v.
	grad func(weight, klWeight []float64) []float64
}

// gaussian reports which log p and KL the case's trainer uses.
func (c lossCase) gaussian() bool { return flowForm(c.Sampler).Gaussian }

func (c lossCase) transitions(t tester) []sampler.Transition {
	rule := flowRule(t, c.Sampler, c.Eta)
	rows := make([]sampler.Transition, len(c.Sigma))
	for i := range rows {
		rows[i] = oneStep(t, rule, c.Sigma[i], c.SigmaNext[i])
	}
	return rows
}

func (c lossCase) policy(t tester) lossPolicy {
	rows := c.transitions(t)
	if ulp(t, c.Precision) == ulp32 {
		return c.single(t, rows)
	}
	return c.double(rows)
}

// single returns the numbers that a trainer computes with the library.
func (c lossCase) single(t tester, rows []sampler.Transition) lossPolicy {
	n := len(c.X) / len(rows)
	b := sampler.Batch{Dim: n, Rows: make([]sampler.Row, len(rows))}
	x, v, ref, prev := float32s(c.X), float32s(c.V), float32s(c.VRef), float32s(c.Prev)
	p := lossPolicy{rows: rows}
	for i, r := range rows {
		b.Rows[i].Affine = r.Affine
		a := sampler.Affine{X: r.Affine.X, V: r.Affine.V}
		lo, hi := i*n, (i+1)*n
		mean := make([]float32, n)
		p.mean = append(p.mean, float64s(sampler.Apply(mean, x[lo:hi], v[lo:hi], nil, a))...)
		p.ref = append(p.ref, float64s(sampler.Apply(mean, x[lo:hi], ref[lo:hi], nil, a))...)
	}

	form := flowForm(c.Sampler)
	distance := b.WithAffine(sampler.Affine{V: 1})
	var cpu sampler.CPU
	must := func(x []float64, err error) []float64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	perRow := func() []float64 { return make([]float64, len(rows)) }

	sq := perRow()
	cpu.SumSquares(sq, prev, x, v, b)
	for i := range b.Rows {
		if c.Std[i] != 0 {
			continue
		}
		c.checkNoDensity(t, b, i)
		b.Rows[i].Eps = 1 // neither the form without denominator nor kernels here read it
	}
	p.logProb = must(form.LogProb(perRow(), b, sq))
	cpu.SumSquares(sq, ref, nil, v, distance)
	p.squares = must(logprob.Form{}.KL(perRow(), b, sq))
	if c.gaussian() {
		p.gauss = must(form.KL(perRow(), b, sq))
	}

	p.grad = func(weight, klWeight []float64) []float64 {
		g := make([]float32, len(v))
		cpu.Grad(g, prev, x, v, b, must(form.GradScale(perRow(), b, weight)))
		scale := must(form.GradScaleKL(perRow(), b, 1))
		for i := range scale {
			scale[i] *= klWeight[i]
		}
		cpu.Grad(g, ref, nil, v, distance, scale)
		return float64s(g)
	}
	return p
}

// checkNoDensity judges row i, which draws no noise according to upstream.
func (c lossCase) checkNoDensity(t tester, b sampler.Batch, i int) {
	t.Helper()
	t.differs(noDensity)
	b.Rows = b.Rows[i : i+1]
	_, err := flowForm(c.Sampler).LogProb(make([]float64, 1), b, []float64{0})
	if !errors.Is(err, logprob.ErrNoDensity) {
		t.Errorf("row %d: LogProb: %v, want %v", i, err, logprob.ErrNoDensity)
	}
}

// double returns the same numbers by the formulas, without rounding of coefficients.
func (c lossCase) double(rows []sampler.Transition) lossPolicy {
	n := len(c.X) / len(rows)
	affine := make([]sampler.Affine, len(rows))
	p := lossPolicy{rows: rows}
	for i, r := range rows {
		a := r.Coeffs.Affine(sampler.PredictVelocity, r.From)
		affine[i] = a
		row := func(a arr) []float64 { return a[i*n:][:n] }
		mean := sampler.Apply(make([]float64, n), row(c.X), row(c.V), nil, sampler.Affine{X: a.X, V: a.V})
		ref := sampler.Apply(make([]float64, n), row(c.X), row(c.VRef), nil, sampler.Affine{X: a.X, V: a.V})
		p.mean, p.ref = append(p.mean, mean...), append(p.ref, ref...)

		lp := -meanSquare(row(c.Prev), mean)
		if c.gaussian() {
			lp = density(row(c.Prev), mean, a.Eps)
		}
		kl := a.V * a.V * meanSquare(row(c.V), row(c.VRef))
		p.logProb = append(p.logProb, lp)
		p.squares = append(p.squares, kl)
		if c.gaussian() {
			p.gauss = append(p.gauss, kl/(2*a.Eps*a.Eps))
		}
	}
	p.grad = func(weight, klWeight []float64) []float64 {
		g := make([]float64, len(c.V))
		for i, a := range affine {
			unit := 2 * a.V / float64(n)
			if c.gaussian() {
				unit /= 2 * a.Eps * a.Eps
			}
			for k := i * n; k < (i+1)*n; k++ {
				g[k] = unit * (weight[i]*(c.Prev[k]-p.mean[k]) - klWeight[i]*a.V*(c.VRef[k]-c.V[k]))
			}
		}
		return g
	}
	return p
}

func (c lossCase) group() string { return c.Sampler + " " + c.Precision }

// step returns the step of the case, for its tolerances.
func (c lossCase) step(p lossPolicy) publishedStep {
	return publishedStep{sampler: c.Sampler, precision: c.Precision, rows: p.rows, x: c.X, v: c.V}
}

func (c lossCase) checkPolicy(t tester, w worst, p lossPolicy) {
	n := len(c.X) / len(p.rows)
	s := c.step(p)
	w.near(t, c.group(), "std", diffusions(c.Sampler, c.Eta, p.rows), c.Std, 5*ulp(t, c.Precision))
	for i := range p.rows {
		lo, hi := i*n, (i+1)*n
		tol := s.tolerance(t, i)
		w.near(t, c.group(), "mean", p.mean[lo:hi], c.Mean[lo:hi], tol)
		w.near(t, c.group(), "reference mean", p.ref[lo:hi], c.MeanRef[lo:hi], tol)
		square := meanSquare(c.Prev[lo:hi], c.Mean[lo:hi])
		w.near(t, c.group(), "log p", p.logProb[i:i+1], c.LogProb[i:i+1], s.toleranceLog(t, i, square))
	}
}

func (c lossCase) checkKL(t tester, w worst, p lossPolicy) {
	if c.gaussian() != (c.KLExact != nil) || (c.Beta != 0) != (c.KLLoss != nil) {
		t.Fatal("kl_exact_gauss goes with Gaussian policies, kl_loss with beta")
	}
	// Upstream subtracts two means that may differ by as little as a thousandth. Squaring
	// doubles the relative error. The library does not compute these means.
	var loss, tolLoss float64
	s, factor := c.step(p), c.klFactor(p)
	for i := range p.rows {
		tol := 2 * s.tolerance(t, i) / math.Sqrt(c.MeanSqDiff[i])
		kl := p.squares
		w.scaled(t, c.group(), "KL without denominator", p.squares[i:i+1], c.MeanSqDiff[i:i+1], tol)
		if c.gaussian() {
			kl = p.gauss
			w.scaled(t, c.group(), "KL", p.gauss[i:i+1], c.KLExact[i:i+1], tol)
		}
		share := factor[i] * kl[i] / float64(len(p.rows))
		loss += share
		tolLoss += share * tol
	}
	if c.KLLoss != nil {
		w.scaled(t, c.group(), "KL loss", []float64{loss}, c.KLLoss, tolLoss/loss)
	}
}

// klFactor returns the published KL over the library's, for each row. Flow-GRPO divides by a
// variance without the length of the step.
func (c lossCase) klFactor(p lossPolicy) []float64 {
	f := make([]float64, len(p.rows))
	for i, r := range p.rows {
		f[i] = 1
		if c.gaussian() {
			f[i] = r.From.Noise - r.To.Noise
		}
	}
	return f
}

func (c lossCase) checkGrad(t tester, w worst, p lossPolicy) {
	kl := c.klFactor(p)
	for i := range kl {
		kl[i] *= c.Beta / float64(len(kl))
	}
	byV := p.grad(c.GradLogProb, kl)
	n := len(byV) / len(p.rows)
	s := c.step(p)
	for i, r := range p.rows {
		lo, hi := i*n, (i+1)*n
		// The gradient has a term in prev - mean, with the error of the mean, and a term in
		// the difference of two means. If the ratio is clipped, it has the second alone.
		d := math.Inf(1)
		if c.GradLogProb[i] != 0 {
			d = largest(difference(c.Prev[lo:hi], c.Mean[lo:hi]))
		}
		if c.Beta != 0 {
			d = min(d, largest(difference(c.MeanRef[lo:hi], c.Mean[lo:hi])))
		}
		// The error is at most that of its factor.
		byLog := 2 / float64(n)
		if c.gaussian() {
			byLog /= 2 * r.Coeffs.Eps * r.Coeffs.Eps
		}
		off, unit := s.tolerance(t, i), largest(c.GradMean[lo:hi])
		tol := off * byLog * (math.Abs(c.GradLogProb[i]) + 2*kl[i])
		if d > 0 {
			tol = min(tol, off/d*unit)
		}
		tol += 8 * ulp(t, c.Precision) * unit
		byMean := r.Coeffs.Affine(sampler.PredictVelocity, r.From).V
		w.near(t, c.group(), "gradient by v", byV[lo:hi], c.GradV[lo:hi], tol*math.Abs(byMean))
		w.near(t, c.group(), "gradient by the mean", over(byV[lo:hi], byMean), c.GradMean[lo:hi], tol)
	}
}

func difference(x, y []float64) []float64 {
	d := make([]float64, len(x))
	for i := range d {
		d[i] = x[i] - y[i]
	}
	return d
}
