package schedule

import "math"

// Shift returns the levels
//
//	t' = s·t / (1 + (s-1)·t)
//
// for a shift s > 0 (Esser et al., arXiv 2403.03206, Eq. 23). A shift above 1
// spends more steps on noisy latents. SD3 takes 3, HunyuanVideo 5 or 7, and Wan
// 3 to 5. Shift multiplies the odds t/(1-t) by s. Two shifts therefore equal one
// shift by their product. Shift(1) changes nothing, and the levels 0 and 1 stay.
// The ratio
//
//	e^(-h) = (1-t)u / (t(1-u))
//
// of neighbours t and u stays too. Many samplers are functions of it.
//
// diffusers calls this map shift or flow_shift. Its time_shift with
// time_shift_type "linear" is the same map, with mu for s. DanceGRPO calls it
// sd3_time_shift. Any other s gives NaN.
func (f Flow) Shift(s float64) Flow {
	g := make(Flow, len(f))
	for i, t := range f {
		g[i] = shift(t, s)
	}
	return g
}

func shift(t, s float64) float64 {
	if !(s > 0) {
		return math.NaN() // as +Inf does by itself
	}
	// The denominator in this form is exact at t = 0 and t = 1 and never
	// cancels.
	return s * t / (float64(s*t) + (1 - t))
}

// DynamicShift returns f.Shift(e^mu), with mu usually from Mu or FluxMu:
//
//	t' = e^mu / (e^mu + (1/t - 1))
//
// This is diffusers' use_dynamic_shifting with time_shift_type "exponential".
// For the type "linear" call Shift(mu).
func (f Flow) DynamicShift(mu float64) Flow {
	return f.Shift(math.Exp(mu))
}

// Mu returns the mu of DynamicShift for a latent of seqLen tokens. It lies on
// the line through baseMu at baseLen tokens and maxMu at maxLen:
//
//	mu = baseMu + (maxMu - baseMu)·(seqLen - baseLen)/(maxLen - baseLen)
//
// The line continues beyond both ends. diffusers calls the function
// calculate_shift. It calls the four constants base_image_seq_len,
// max_image_seq_len, base_shift and max_shift.
func Mu(seqLen, baseLen, maxLen int, baseMu, maxMu float64) float64 {
	slope := (maxMu - baseMu) / float64(maxLen-baseLen)
	return baseMu + float64(slope*float64(seqLen-baseLen))
}

// FluxMu returns Mu with the constants of FLUX.1 dev: 0.5 at 256 tokens, 1.15 at
// 4096. An image of w by h pixels has (w/16)·(h/16) tokens there, 4096 for
// 1024 by 1024.
func FluxMu(seqLen int) float64 {
	return Mu(seqLen, 256, 4096, 0.5, 1.15)
}

// Flux2Mu returns the mu of DynamicShift for n steps of FLUX.2 on a latent of
// seqLen tokens. It is m10 for 10 steps, m200 for 200, and linear in n. Beyond
// 4300 tokens it is m200 for every n:
//
//	mu = m10 + (m200 - m10)·(n - 10)/190
//	m10 = 8.73809524e-5·seqLen + 1.89833333
//	m200 = 0.00016927·seqLen + 0.45666666
//
// The constants are those of Black Forest Labs' code, which diffusers copies as
// compute_empirical_mu. An image of w by h pixels has (w/16)·(h/16) tokens.
func Flux2Mu(seqLen, n int) float64 {
	l := float64(seqLen)
	m10 := float64(8.73809524e-5*l) + 1.89833333
	m200 := float64(0.00016927*l) + 0.45666666
	if seqLen > 4300 {
		return m200
	}
	return m10 + (m200-m10)*((float64(n)-10)/190)
}

// StretchTerminal returns levels whose last one above 0 is end, in (0, 1). The
// distances of all levels from 1 keep their proportions:
//
//	t' = 1 - (1-t)·(1-end)/(1-last)
//
// A final 0 stays. This is shift_terminal of diffusers, which stretches before
// it appends the 0 (LTX-Video 0.1, Qwen-Image 0.02). If the last level above 0
// is 1, as in a single step, the levels stay as they are; diffusers has NaN
// there.
func (f Flow) StretchTerminal(end float64) Flow {
	g := make(Flow, len(f))
	n := len(f)
	if n > 0 && f[n-1] == 0 {
		n--
	}
	if n == 0 {
		return g
	}
	last := f[n-1]
	if last == 1 && 0 < end && end < 1 {
		copy(g, f)
		return g
	}
	for i, t := range f[:n] {
		w := (1 - t) / (1 - last)
		g[i] = (1 - w) + float64(w*end) // exact at w = 0 and w = 1
	}
	return g
}
