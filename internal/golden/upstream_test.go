package golden

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// This file writes new golden files. It computes the formulas of testdata/README.md in the
// precision and order of the published code, on random settings and numbers. Nothing here calls
// the module.

// An object is a JSON object of a golden file.
type object = map[string]any

// numbers are written as in golden files: those that are not finite are strings.
type numbers []float64

func (a numbers) MarshalJSON() ([]byte, error) {
	words := make([]string, len(a))
	for i, x := range a {
		switch {
		case math.IsNaN(x):
			words[i] = `"NaN"`
		case math.IsInf(x, 0):
			words[i] = `"` + strings.Replace(strconv.FormatFloat(x, 'g', -1, 64), "Inf", "Infinity", 1) + `"`
		default:
			words[i] = strconv.FormatFloat(x, 'g', -1, 64)
		}
	}
	return []byte("[" + strings.Join(words, ",") + "]"), nil
}

// A source makes cases. In single precision it rounds every operation to float32.
type source struct {
	*rand.Rand
	single bool
}

func newSource(seed uint64) source {
	r := rand.New(rand.NewPCG(seed, 1))
	return source{r, r.IntN(3) > 0}
}

// r rounds to the source's precision.
func (s source) r(x float64) float64 {
	if s.single {
		return float64(float32(x))
	}
	return x
}

func (s source) precision() string {
	if s.single {
		return "f32"
	}
	return "f64"
}

func (s source) pick(x ...float64) float64 { return x[s.IntN(len(x))] }

func (s source) normals(n int) numbers {
	a := make(numbers, n)
	for i := range a {
		a[i] = float64(float32(s.NormFloat64()))
	}
	return a
}

// levels returns n+1 falling levels, shifted.
func (s source) levels(n int) numbers {
	shift := 1 + 4*s.Float64()
	f := make(numbers, n+1)
	for i := range f {
		u := float64(n-i) / float64(n)
		f[i] = s.r(shift * u / (1 + (shift-1)*u))
	}
	return f
}

// An upstreamStep is one row of a published sampler.
type upstreamStep struct {
	prev, mean         numbers
	std, scale, logpro float64
}

// step takes one row from level t to s. second is the schedule's second level. A nil prev is
// drawn. store is the type to which prev is rounded.
func (c source) step(name string, eta, t, s, second float64, x, v, noise, prev numbers, store func(float64) float64) upstreamStep {
	r := c.r
	eta = r(eta)
	d := r(t - s)
	var o upstreamStep
	mean := func(x, v float64) float64 { return r(x - r(d*v)) }
	switch name {
	case "flow_sde", "ff_flow_sde":
		from := t
		if t == 1 {
			from = second
		}
		o.std = r(eta * r(math.Sqrt(r(t/r(1-from)))))
		o.scale = r(o.std * r(math.Sqrt(d)))
		square := r(o.std * o.std)
		a := r(1 - r(r(square/r(2*t))*d))
		b := r(r(1+r(r(square*r(1-t))/r(2*t))) * d)
		mean = func(x, v float64) float64 { return r(r(x*a) - r(v*b)) }
	case "dance_sde", "ff_dance_sde":
		o.std = eta
		o.scale = r(eta * r(math.Sqrt(d)))
		mean = func(x, v float64) float64 {
			x0 := r(x - r(t*v))
			score := r(r(x-r(r(1-t)*x0)) / r(t*t))
			return r(x - r(d*r(v+r(r(r(eta*eta)/2)*score))))
		}
	case "dance_noise":
		o.std, o.scale = eta, r(eta*r(math.Sqrt(d)))
	case "flow_cps", "ff_cps":
		o.std = r(s * r(math.Sin(eta*math.Pi/2)))
		o.scale = o.std
		x1 := r(math.Sqrt(r(r(s*s) - r(o.std*o.std))))
		mean = func(x, v float64) float64 {
			return r(r(r(x-r(t*v))*r(1-s)) + r(r(x+r(r(1-t)*v))*x1))
		}
	}
	o.mean = make(numbers, len(x))
	o.prev = make(numbers, len(x))
	var sum float64
	for i := range x {
		o.mean[i] = mean(x[i], v[i])
		if prev != nil {
			o.prev[i] = prev[i]
		} else {
			o.prev[i] = store(r(o.mean[i] + r(o.scale*noise[i])))
		}
		square := r(r(o.prev[i]-o.mean[i]) * r(o.prev[i]-o.mean[i]))
		switch name {
		case "ff_ode":
		case "flow_cps", "ff_cps":
			sum -= square
		default:
			sum += r(r(r(-square/r(2*r(o.scale*o.scale)))-r(math.Log(o.scale))) - r(math.Log(math.Sqrt(2*math.Pi))))
		}
	}
	o.logpro = r(sum / float64(len(x)))
	return o
}

func float32Again(x float64) float64 { return x }

// bfloat16 rounds a float32 to 8 bits, halves to even.
func bfloat16(x float64) float64 {
	b := math.Float32bits(float32(x))
	b += 0x7fff + b>>16&1
	return float64(math.Float32frombits(b &^ 0xffff))
}

var singleSamplers = []string{"flow_sde", "flow_cps", "dance_sde", "dance_noise", "ff_flow_sde", "ff_dance_sde", "ff_cps", "ff_ode"}

// sampler returns a sampler and an eta for it. In double precision it is one of the paper's
// authors.
func (c source) sampler() (string, float64) {
	names := singleSamplers
	if !c.single {
		names = names[:3]
	}
	return names[c.IntN(len(names))], c.pick(0, 0.2, 0.35, 0.6, 0.85, 1)
}

func (c source) stepCase() object {
	name, eta := c.sampler()
	steps := 2 + c.IntN(20)
	f := c.levels(steps)
	rows, dim := 1+c.IntN(4), 2+c.IntN(40)
	stores := strings.HasPrefix(name, "ff_") && name != "ff_ode" && c.single
	dtype, store := "float64", float32Again
	if c.single {
		dtype = "float32"
	}
	half := c.single && c.IntN(3) == 0
	x, v := c.normals(rows*dim), c.normals(rows*dim)
	if half {
		dtype = "bfloat16"
		for i := range x {
			x[i], v[i] = bfloat16(x[i]), bfloat16(v[i])
		}
		if stores {
			store = bfloat16
		}
	}
	given := c.IntN(3) == 0
	noise, prev := c.normals(rows*dim), numbers(nil)
	if given {
		prev = c.normals(rows * dim)
		for i := range prev {
			prev[i] = store(prev[i])
		}
	}
	o := object{
		"sampler": name, "precision": c.precision(), "in_dtype": dtype, "steps": steps, "eta": eta,
		"shape": []int{rows, dim}, "x": x, "v": v, "prev_given": given,
	}
	index := make([]int, rows)
	var from, to, second, std, scale, logProb, mean, next numbers
	for i := range rows {
		index[i] = c.IntN(steps)
		if c.IntN(4) == 0 {
			index[i] = steps - 1
		}
		t, s := f[index[i]], f[index[i]+1]
		row := func(a numbers) numbers {
			if a == nil {
				return nil
			}
			return a[i*dim:][:dim]
		}
		u := c.step(name, eta, t, s, f[1], row(x), row(v), row(noise), row(prev), store)
		from, to, second = append(from, t), append(to, s), append(second, f[1])
		std, scale, logProb = append(std, u.std), append(scale, u.scale), append(logProb, u.logpro)
		mean, next = append(mean, u.mean...), append(next, u.prev...)
	}
	o["step_index"], o["sigma"], o["sigma_next"], o["sigma_second"] = index, from, to, second
	o["std"], o["noise_scale"], o["log_prob"], o["mean"], o["prev"] = std, scale, logProb, mean, next
	if !given {
		o["noise"] = noise
	}
	return o
}

func (c source) trajectoryCase() object {
	name, eta := c.sampler()
	if name == "dance_noise" {
		name = "dance_sde"
	}
	steps, batch, dim := 2+c.IntN(12), 1+c.IntN(3), 2+c.IntN(20)
	f := c.levels(steps)
	n := batch * dim
	x, v, noise := c.normals(n), c.normals(steps*n), c.normals(steps*n)
	var mean, scale, logProb numbers
	for i := range steps {
		for b := range batch {
			at := i*n + b*dim
			u := c.step(name, eta, f[i], f[i+1], f[1], x[at:][:dim], v[at:][:dim], noise[at:][:dim], nil, float32Again)
			x, mean, logProb = append(x, u.prev...), append(mean, u.mean...), append(logProb, u.logpro)
			if b == 0 {
				scale = append(scale, u.scale)
			}
		}
	}
	return object{
		"sampler": name, "precision": c.precision(), "eta": eta, "steps": steps, "batch": batch, "dim": dim,
		"sigmas": f, "x": x, "v": v, "noise": noise, "mean": mean, "noise_scale": scale, "log_prob": logProb,
	}
}

func (c source) noiseLevelsCase() object {
	c.single = false
	f := c.levels(2 + c.IntN(30))
	name, eta := [2]string{"flow_sde", "dance_sde"}[c.IntN(2)], c.pick(0, 1e-8, 0.2, 0.5, 1)
	var level, ideal numbers
	var sum float64
	for i, t := range f[:len(f)-1] {
		s := f[i+1]
		std := eta
		if name == "flow_sde" {
			from := t
			if t == 1 {
				from = f[1]
			}
			std *= math.Sqrt(t / (1 - from))
		}
		kept := s - std*std*(t-s)/(2*t)
		l := math.Sqrt(kept*kept + std*std*(t-s))
		level, ideal = append(level, l), append(ideal, s)
		sum += l*l - s*s
	}
	return object{"sampler": name, "eta": eta, "sigmas": f, "noise_level": level, "ideal": ideal, "accumulated_error": numbers{math.Sqrt(sum)}}
}

// float32s of a schedule in double precision.
func float32Levels(f ...float64) numbers {
	g := make(numbers, len(f))
	for i, t := range f {
		g[i] = float64(float32(t))
	}
	return g
}

func linspace(n int, from, to float64) []float64 {
	f := make([]float64, n)
	for i := range f {
		f[i] = from
		if n > 1 {
			f[i] += float64(i) * (to - from) / float64(n-1)
		}
	}
	return f
}

func shiftAll(f []float64, s float64) []float64 {
	g := make([]float64, len(f))
	for i, t := range f {
		g[i] = s * t / (1 + (s-1)*t)
	}
	return g
}

func timesOf(f []float64) numbers {
	g := make(numbers, len(f))
	for i, t := range f {
		g[i] = float64(float32(float64(float32(t)) * 1000))
	}
	return g
}

func (c source) scheduleCase() object {
	n := 1 + c.IntN(40)
	s := 1 + 5*c.Float64()
	mu := 2 * c.Float64()
	low := s / 1000 / (1 + (s-1)/1000)
	var f []float64
	o := object{"config": object{"shift": s}, "call": object{"num_inference_steps": n}, "class": "FlowMatchEulerDiscreteScheduler"}
	config := o["config"].(object)
	times := true
	switch c.IntN(9) {
	case 0:
		f = append(shiftAll(linspace(n, 1, low), s), 0)
	case 1:
		config["use_dynamic_shifting"] = true
		o["call"] = object{"sigmas": numbers(linspace(n, 1, 1/float64(n))), "mu": mu}
		f = append(shiftAll(linspace(n, 1, 1/float64(n)), math.Exp(mu)), 0)
	case 2:
		config["use_dynamic_shifting"], config["shift_terminal"] = true, 0.1
		o["call"] = object{"num_inference_steps": n, "mu": mu}
		f = shiftAll(linspace(n, 1, 0.001), math.Exp(mu))
		for i, t := range slices.Clone(f) {
			f[i] = 1 - (1-t)/((1-f[len(f)-1])/0.9)
			if i == len(f)-1 {
				f[i] = 0.1
			}
			if n == 1 {
				f[i] = math.NaN()
			}
		}
		f = append(f, 0)
	case 3:
		config["invert_sigmas"] = true
		for _, t := range shiftAll(linspace(n, 1, low), s) {
			f = append(f, 1-float64(float32(t)))
		}
		f = append(f, 1)
	case 4:
		o["class"] = "FlowMatchHeunDiscreteScheduler"
		once := shiftAll(linspace(n, 1, low), s)
		f = append(f, once[0])
		for _, t := range once[1:] {
			f = append(f, t, t)
		}
		f = append(f, 0)
	case 5:
		config["use_exponential_sigmas"] = true
		for _, l := range linspace(n, 0, math.Log(s*low/(1+(s-1)*low))) {
			f = append(f, math.Exp(l))
		}
		f = append(f, 0)
	case 6:
		o["class"], o["config"] = "UniPCMultistepScheduler", object{"use_flow_sigmas": true, "flow_shift": s}
		f = shiftAll(linspace(n+1, 1, 0.001), s)
		f[0] -= 1e-6
		f[n] = 0
		times = false
	case 7:
		o["class"], o["config"] = "DPMSolverMultistepScheduler", object{"use_flow_sigmas": true, "flow_shift": s}
		f = shiftAll(linspace(n+1, 0.999, 0), s)
		times = false
	case 8:
		o["class"], o["call"] = "DanceGRPO sd3_time_shift(shift, linspace(1,0,n+1))", object{"n": n}
		f = shiftAll(linspace(n+1, 1, 0), s)
		times = false
	}
	o["sigmas"] = float32Levels(f...)
	if times {
		o["timesteps"] = timesOf(f[:len(f)-1])
	}
	return o
}

func (c source) presetCase() object {
	n, l := 1+c.IntN(60), 256+c.IntN(9000)
	u := linspace(n, 1, 1/float64(n))
	o := object{"kind": "schedule", "n": n, "seq_len": l, "port": "diffusers"}
	var f []float64
	switch c.IntN(5) {
	case 0:
		mu := 0.00016927*float64(l) + 0.45666666
		if l <= 4300 {
			a := (mu - (8.73809524e-05*float64(l) + 1.89833333)) / 190
			mu = a*float64(n) + mu - 200*a
		}
		o["name"], f = "flux2", append(shiftAll(u, math.Exp(mu)), 0)
	case 1:
		mu := 0.5 + 0.4*float64(l-256)/(8192-256)
		f = shiftAll(u, math.Exp(mu))
		last := f[n-1]
		for i, t := range f {
			f[i] = 1 - (1-t)/((1-last)/0.98)
		}
		o["name"], f = "qwen_image", append(f, 0)
	case 2:
		m := max(2, n)
		k, th := 1+c.IntN(m-1), 0.3*c.Float64()
		th *= float64(k) / float64(m)
		square := (float64(k) - th*float64(m)) / float64(k*(m-k)*(m-k))
		slope := th/float64(k) - 2*(float64(k)-th*float64(m))/float64((m-k)*(m-k))
		for i := range m {
			y := th * float64(i) / float64(k)
			if i >= k {
				y = square*float64(i*i) + slope*float64(i) + square*float64(k*k)
			}
			f = append(f, 1-y)
		}
		o["n"], o["name"], o["linear_steps"], o["threshold_noise"] = m, "linear_quadratic", k, th
		f = append(f, 0)
	case 3:
		s := 1 + 3*c.Float64()
		low := s / 1000 / (1 + (s-1)/1000)
		o["name"], o["port"], o["model"], o["shift"], o["levels"] = "kl_optimal", "sdcpp", "flow", s, 1000
		for _, r := range linspace(n, 0, 1) {
			f = append(f, math.Tan(r*math.Atan(low)+(1-r)*math.Atan(1)))
		}
		f = append(f, 0)
	case 4:
		o["name"], o["port"], o["model"], o["shift"], o["levels"] = "bong_tangent", "sdcpp", "flow", 1, 1000
		f = append(u, 0)
	}
	o["sigmas"] = float32Levels(f...)
	return o
}

func (c source) ddimCase() object {
	r := func(x float64) float64 { return float64(float32(x)) }
	train := 1000
	config := object{"beta_schedule": "linear", "clip_sample": false}
	betas := make([]float64, train)
	switch c.IntN(3) {
	case 0:
		for i := range betas {
			betas[i] = r(0.0001 + (0.02-0.0001)*float64(i)/999)
		}
	case 1:
		config["beta_schedule"], config["beta_start"], config["beta_end"] = "scaled_linear", 0.00085, 0.012
		a, b := math.Sqrt(0.00085), math.Sqrt(0.012)
		for i := range betas {
			root := r(a + (b-a)*float64(i)/999)
			betas[i] = r(root * root)
		}
	case 2:
		config["beta_schedule"] = "squaredcos_cap_v2"
		bar := func(u float64) float64 { c := math.Cos((u + 0.008) / 1.008 * math.Pi / 2); return c * c }
		for i := range betas {
			betas[i] = r(min(1-bar(float64(i+1)/1000)/bar(float64(i)/1000), 0.999))
		}
	}
	if c.IntN(3) == 0 {
		config["rescale_betas_zero_snr"] = true
		bar := cumulate(betas)
		first, last := r(math.Sqrt(bar[0])), r(math.Sqrt(bar[train-1]))
		var before float64
		for i := range bar {
			root := r(r(r(math.Sqrt(bar[i]))-last) * r(first/r(first-last)))
			now := r(root * root)
			alpha := now
			if i > 0 {
				alpha = r(now / before)
			}
			betas[i], before = r(1-alpha), now
		}
	}
	bar := cumulate(betas)

	n := 1 + c.IntN(30)
	offset, steps := 0, []int(nil)
	switch c.IntN(3) {
	case 0:
		offset = c.IntN(2)
		config["steps_offset"] = offset
		for i := range n {
			steps = append(steps, (n-1-i)*(train/n)+offset)
		}
	case 1:
		config["timestep_spacing"] = "trailing"
		if c.IntN(8) == 0 {
			n = 61 // for which arange yields one more
		}
		step := float64(train) / float64(n)
		for i := range int(math.Ceil(float64(train) / step)) {
			steps = append(steps, int(math.RoundToEven(float64(train)-float64(i)*step))-1)
		}
		if n == 61 {
			steps = append(steps, -1)
		}
	case 2:
		config["timestep_spacing"] = "linspace"
		for i := range n {
			at := 0.0
			if n > 1 {
				at = float64(n-1-i) * (999 / float64(n-1))
			}
			steps = append(steps, int(math.RoundToEven(at)))
		}
	}
	i := c.IntN(len(steps))
	if c.IntN(4) == 0 {
		i = len(steps) - 1
	}
	timestep := steps[i]
	prev := timestep - train/n
	one := c.IntN(2) == 0
	config["set_alpha_to_one"] = one
	to := 1.0
	if !one {
		to = bar[0]
	}
	if prev >= 0 {
		to = bar[prev]
	}
	from := bar[(timestep+train)%train]

	limit := math.Inf(1)
	if c.IntN(2) == 0 {
		limit = c.pick(0.5, 1, 2.5)
		config["clip_sample"] = true
		if limit != 1 {
			config["clip_sample_range"] = limit
		}
	}
	prediction := [...]string{"epsilon", "sample", "v_prediction"}[c.IntN(3)]
	if from < 1e-6 {
		prediction = "v_prediction" // the others divide by √ᾱ
	}
	config["prediction_type"] = prediction
	eta := c.pick(0, 0.25, 0.6, 1)
	rows, dim := 1+c.IntN(3), 2+c.IntN(10)
	x, output, noise := c.normals(rows*dim), c.normals(rows*dim), c.normals(rows*dim)

	rest, restTo := r(1-from), r(1-to)
	variance := r(r(restTo/rest) * r(1-r(from/to)))
	std := r(eta * r(math.Sqrt(variance)))
	direction := r(math.Sqrt(r(restTo - r(std*std))))
	var next, x0s, logProb numbers
	for k := range rows {
		var sum float64
		for j := k * dim; j < (k+1)*dim; j++ {
			α, σ := r(math.Sqrt(from)), r(math.Sqrt(rest))
			var x0, x1 float64
			switch prediction {
			case "epsilon":
				x0, x1 = r(r(x[j]-r(σ*output[j]))/α), output[j]
			case "sample":
				x0 = output[j]
				x1 = r(r(x[j]-r(α*x0)) / σ)
			default:
				x0, x1 = r(r(α*x[j])-r(σ*output[j])), r(r(α*output[j])+r(σ*x[j]))
			}
			x0 = max(-limit, min(x0, limit))
			mean := r(r(r(math.Sqrt(to))*x0) + r(direction*x1))
			p := r(mean + r(std*noise[j]))
			next, x0s = append(next, p), append(x0s, x0)
			z := r(p - mean)
			sum += r(r(r(-r(z*z)/r(2*r(std*std)))-r(math.Log(std))) - r(math.Log(r(math.Sqrt(2*math.Pi)))))
		}
		logProb = append(logProb, r(sum/float64(dim)))
	}
	o := object{
		"config": config, "steps": n, "timestep": timestep, "prev_timestep": prev, "alpha_prod": numbers{from}, "alpha_prod_prev": numbers{to},
		"eta": eta, "shape": []int{rows, dim}, "x": x, "model_output": output, "noise": noise, "prev": next, "pred_x0": x0s,
	}
	if eta > 0 && std > 0 && prev >= 0 {
		o["ddpo_prev"], o["ddpo_log_prob"] = next, logProb
	}
	return o
}

// cumulate returns the products of 1 - beta, each rounded to float32.
func cumulate(betas []float64) []float64 {
	bar := make([]float64, len(betas))
	product := 1.0
	for i, b := range betas {
		product *= float64(float32(1 - b))
		bar[i] = float64(float32(product))
	}
	return bar
}

func (c source) rolloutCase() object {
	c.single = true
	r := c.r
	n, batch, dim := 2+c.IntN(18), 1+c.IntN(3), 2+c.IntN(5)
	f := c.levels(n)
	f[0] = r(f[0] - 1e-3)
	o := object{"steps": n, "batch": batch, "dim": dim}
	size := batch * dim
	steps := n
	kind, order := c.IntN(5), 1
	switch kind {
	case 0, 1:
		o["class"], o["config"] = "FlowMatchEulerDiscreteScheduler", object{"shift": 2, "stochastic_sampling": kind == 1}
	case 2:
		o["class"], o["config"] = "FlowMatchHeunDiscreteScheduler", object{"shift": 2}
		twice := numbers{f[0]}
		for _, t := range f[1:n] {
			twice = append(twice, t, t)
		}
		f = append(twice, 0)
		steps = len(f) - 1
	case 3, 4:
		order = 1 + c.IntN(3)
		o["class"] = "DPMSolverMultistepScheduler"
		o["config"] = object{"algorithm_type": "dpmsolver++", "solver_order": order, "solver_type": "midpoint", "use_flow_sigmas": true, "prediction_type": "flow_prediction", "flow_shift": 2}
		if order > 1 {
			kind = 4
		} else {
			kind = 3
		}
	}
	x, v, noise := c.normals(size), c.normals(steps*size), c.normals(steps*size)
	for i := range steps {
		t, s := f[i], f[i+1]
		for k := range size {
			j := i*size + k
			var next float64
			switch {
			case kind == 1:
				next = r(r(r(1-s)*r(x[j]-r(t*v[j]))) + r(s*noise[j]))
			case kind == 3 || kind == 4:
				// DPM-Solver++'s (s/t)·x - α'(e^-h - 1)·x̂0, with e^-h = s(1-t)/(t(1-s)).
				ratio := s * (1 - t) / (t * (1 - s))
				next = r(r(r(s/t)*x[j]) - r(r(r(1-s)*r(ratio-1))*r(x[j]-r(t*v[j]))))
				if kind == 4 {
					next += lookBack(f, x, v, i, j, size, order)
				}
			case kind == 2 && i%2 == 1: // Heun's second evaluation
				next = r(x[j-size] + r(r(r(v[j-size]+v[j])/2)*r(f[i+1]-f[i-1])))
			default:
				next = r(x[j] + r(r(s-t)*v[j]))
			}
			x = append(x, r(next))
		}
	}
	o["sigmas"], o["x"], o["v"] = f, x, v
	if kind == 1 {
		o["noise"] = noise
	}
	return o
}

// lookBack returns what the orders above the first add to element j of step i in
// DPM-Solver++ of type midpoint. Runs of less than 15 steps lower the order at their end.
func lookBack(f, x, v numbers, i, j, size, order int) float64 {
	steps := len(f) - 1
	if order = min(order, i+1); i == steps-1 {
		order = 1
	} else if i == steps-2 && steps < 15 {
		order = min(order, 2)
	}
	lambda := func(k int) float64 { return math.Log((1 - f[k]) / f[k]) }
	sample := func(back int) float64 { return x[j-back*size] - f[i-back]*v[j-back*size] }
	h := lambda(min(i+1, steps-1)) - lambda(i) // at the end it is not used
	phi2 := (math.Exp(-h)-1)/h + 1
	switch order {
	case 2:
		d := (sample(0) - sample(1)) * h / (lambda(i) - lambda(i-1))
		return (1 - f[i+1]) * (1 - math.Exp(-h)) / 2 * d
	case 3:
		near, far := (lambda(i)-lambda(i-1))/h, (lambda(i-1)-lambda(i-2))/h
		a, b := (sample(0)-sample(1))/near, (sample(1)-sample(2))/far
		second := (a - b) / (near + far)
		return (1 - f[i+1]) * (phi2*(a+near*second) - (phi2/h-.5)*second)
	}
	return 0
}

func (c source) advantagesCase() object {
	groups, size := 1+c.IntN(4), 1+c.IntN(6)
	n := groups * size
	group, rewards := make([]int, n), make(numbers, n)
	names := c.Perm(groups)
	center := c.pick(0, 0.5, 20)
	for i := range n {
		group[i] = 10 * names[i%groups]
		rewards[i] = center + c.NormFloat64()
		if i%groups == 0 && size > 1 && groups > 1 {
			rewards[i] = 0.3 // a group of equals, or of almost all
		}
	}
	if center == 0.5 {
		for i := range rewards {
			rewards[i] = float64(c.IntN(2))
		}
	}
	o := object{"group": group}
	stats := func(rewards numbers, i int, all, sample bool, r func(float64) float64) (mean, std float64) {
		var sum, squares, k float64
		for j, x := range rewards {
			if all || group[j] == group[i] {
				sum = r(sum + x)
				k++
			}
		}
		mean = r(sum / k)
		for j, x := range rewards {
			if all || group[j] == group[i] {
				squares = r(squares + r(r(x-mean)*r(x-mean)))
			}
		}
		if sample {
			k--
		}
		return mean, r(math.Sqrt(r(squares / k)))
	}
	double := func(x float64) float64 { return x }
	single := func(x float64) float64 { return float64(float32(x)) }
	a := make(numbers, n)
	switch c.IntN(6) {
	case 0:
		global := c.IntN(2) == 0
		o["method"], o["global_std"] = "flow_grpo_per_prompt", global
		for i := range a {
			mean, std := stats(rewards, i, false, false, double)
			if global {
				_, std = stats(rewards, i, true, false, double)
			}
			a[i] = (rewards[i] - mean) / (std + 1e-4)
		}
	case 1:
		o["method"] = "dance_group"
		rewards = float32Levels(rewards...)
		for i := range a {
			mean, std := stats(rewards, i, false, true, single)
			a[i] = single(single(rewards[i]-mean) / single(std+1e-8))
		}
	case 2, 3:
		o["method"], o["global_std"] = "ff_weighted_sum", false
		weights := numbers{0.3 + c.Float64(), -0.7, 1}
		multi := []numbers{float32Levels(rewards...), c.normals(n), c.normals(n)}
		o["weights"], o["rewards_multi"] = weights, multi
		rewards = make(numbers, n)
		for k, m := range multi {
			for i, x := range m {
				rewards[i] += single(single(weights[k]) * x)
			}
		}
		for i := range a {
			mean, std := stats(rewards, i, false, false, double)
			a[i] = (rewards[i] - mean) / max(std, 1e-6)
		}
	case 4:
		o["kind"], o["method"], o["epsilon"], o["global_std"], o["norm_by_std"] = "advantages", "verl_omni_flow_grpo", 1e-4, false, true
		for i := range a {
			mean, std := stats(rewards, i, false, true, double)
			if a[i] = (rewards[i] - mean) / (std + 1e-4); size == 1 {
				a[i] = 0
			}
		}
	case 5:
		o["kind"], o["method"] = "advantages", [...]string{"rloo", "gardo"}[c.IntN(2)]
		a = rewards
	}
	o["advantages"] = a
	if o["rewards_multi"] == nil {
		o["rewards"] = rewards
	}
	return o
}

func (c source) lossCase() object {
	name := [...]string{"flow_sde", "flow_cps"}[c.IntN(2)]
	precise := c
	precise.single = false // both precisions are computed in double; single ones are rounded
	eta := c.pick(0.3, 0.7, 0.9)
	rows, dim := 2+c.IntN(4), 3+c.IntN(20)
	f := c.levels(3 + c.IntN(12))
	beta, clip := c.pick(0, 0.01, 0.04), c.pick(1e-4, 1e-3, 0.2)
	x, v, ref := c.normals(rows*dim), c.normals(rows*dim), c.normals(rows*dim)
	round := func(a numbers) numbers { return a }
	if c.single {
		round = func(a numbers) numbers { return float32Levels(a...) }
	}
	var from, to, prev, mean, meanRef, std, logProb, msd, exact, ratio, gradLog, gradV, gradMean numbers
	var old, adv numbers
	var policy, kl, approx, outside, above, below float64
	for i := range rows {
		k := c.IntN(len(f) - 1)
		t, s := f[k], f[k+1]
		row := func(a numbers) numbers { return a[i*dim:][:dim] }
		// prev was drawn by a policy near this one.
		u := precise.step(name, eta, t, s, f[1], row(x), row(v), c.normals(dim), nil, func(x float64) float64 { return float64(float32(x)) })
		u = precise.step(name, eta, t, s, f[1], row(x), row(v), nil, u.prev, float32Again)
		q := precise.step(name, eta, t, s, f[1], row(x), row(ref), nil, u.prev, float32Again)
		from, to, prev = append(from, t), append(to, s), append(prev, u.prev...)
		mean, meanRef, std, logProb = append(mean, u.mean...), append(meanRef, q.mean...), append(std, u.std), append(logProb, u.logpro)
		var square float64
		for j := range dim {
			square += (u.mean[j] - q.mean[j]) * (u.mean[j] - q.mean[j]) / float64(dim)
		}
		msd = append(msd, square)
		exact = append(exact, square/(2*u.scale*u.scale))
		kl += square / float64(rows)
		if name == "flow_sde" {
			kl += square/float64(rows)/(2*u.std*u.std) - square/float64(rows)
		}
		a := c.NormFloat64() * 3
		a = float64(float32(a))
		adv = append(adv, a)
		o := u.logpro + clip*3*c.NormFloat64()
		if c.IntN(6) == 0 {
			o = u.logpro - math.Log1p(clip) // on the edge
		}
		old = append(old, o)
	}
	logProb, old = round(logProb), round(old)
	g := func(i int) float64 { return max(-5, min(adv[i], 5)) }
	for i := range rows {
		r := math.Exp(logProb[i] - old[i])
		ratio = append(ratio, r)
		near := max(1-clip, min(r, 1+clip))
		if c.r(near) == c.r(r) {
			near = r
		}
		l := max(-g(i)*r, -g(i)*near)
		policy += l / float64(rows)
		d := logProb[i] - old[i]
		approx += d * d / 2 / float64(rows)
		grad := -g(i) * r / float64(rows)
		if l != -g(i)*r {
			grad = 0
		}
		gradLog = append(gradLog, grad)
		if r = c.r(r); math.Abs(c.r(r-1)) > clip {
			outside += 1 / float64(rows)
		}
		if c.r(r-1) > clip {
			above += 1 / float64(rows)
		}
		if c.r(1-r) > clip {
			below += 1 / float64(rows)
		}
	}
	for i := range rows {
		t, s := from[i], to[i]
		var byV float64 // ∂mean/∂v
		scale2 := 0.5   // log p is -(prev-mean)²/(2·scale2)
		if name == "flow_cps" {
			byV = -(1-s)*t + math.Sqrt(s*s-std[i]*std[i])*(1-t)
		} else {
			byV = -(1 + std[i]*std[i]*(1-t)/(2*t)) * (t - s)
			scale2 = std[i] * std[i] * (t - s)
		}
		for j := i * dim; j < (i+1)*dim; j++ {
			d := gradLog[i] * (prev[j] - mean[j]) / scale2 / float64(dim)
			if beta != 0 {
				w := beta / float64(rows) * 2 * (mean[j] - meanRef[j]) / float64(dim)
				if name == "flow_sde" {
					w /= 2 * std[i] * std[i]
				}
				d += w
			}
			gradMean = append(gradMean, d)
			gradV = append(gradV, d*byV)
		}
	}
	o := object{
		"sampler": name, "precision": c.precision(), "eta": eta, "beta": beta, "clip_range": clip, "adv_clip_max": 5, "shape": []int{rows, dim},
		"sigma": from, "sigma_next": to, "x": x, "v": v, "v_ref": ref, "prev": prev, "advantages": adv, "log_prob_old": old,
		"log_prob": logProb, "mean": round(mean), "mean_ref": round(meanRef), "std": round(std), "mean_sq_diff": round(msd), "ratio": round(ratio),
		"policy_loss": round(numbers{policy}), "approx_kl": round(numbers{approx}),
		"clipfrac": numbers{outside}, "clipfrac_gt_one": numbers{above}, "clipfrac_lt_one": numbers{below},
		"grad_log_prob": round(gradLog), "grad_v": round(gradV), "grad_mean": round(gradMean), "loss": round(numbers{policy}),
	}
	if name == "flow_sde" {
		o["kl_exact_gauss"] = round(exact)
	}
	if beta != 0 {
		o["kl_loss"], o["loss"] = round(numbers{kl}), round(numbers{policy + beta*kl})
	}
	return o
}

// freshFiles makes the cases of each kind of golden file.
var freshFiles = map[string]func(source) object{
	"steps":              source.stepCase,
	"trajectories":       source.trajectoryCase,
	"real_model7":        source.trajectoryCase,
	"noise_levels":       source.noiseLevelsCase,
	"schedules":          source.scheduleCase,
	"schedules2":         source.presetCase,
	"ddim":               source.ddimCase,
	"rollouts_diffusers": source.rolloutCase,
	"advantages3":        source.advantagesCase,
	"grpo_loss":          source.lossCase,
}

// writeFresh writes a folder of golden files with n cases each.
func writeFresh(t tester, dir string, seed uint64, n int) {
	t.Helper()
	for name, make := range freshFiles {
		var cases []object
		for i := range n {
			o := make(newSource(seed<<32 | uint64(len(name))<<16 | uint64(i)))
			if o["kind"] == nil {
				o["id"] = fmt.Sprintf("made up/%d", i)
			}
			cases = append(cases, o)
		}
		writeFile(t, filepath.Join(dir, name+".json"), object{"format": 1, "what": name, "cases": cases})
	}
}

func writeFile(t tester, path string, content any) {
	t.Helper()
	b, err := json.Marshal(content)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
