package schedule

import "math"

// Shift returns the levels
//
//	t' = s·t / (1 + (s-1)·t)
//
// for a shift s > 0: above 1 it spends more steps on noisy latents (Esser et
// al., arXiv 2403.03206, Eq. 23; SD3 takes 3, HunyuanVideo 5 or 7, Wan 3 to 5).
// The odds t/(1-t) are multiplied by s, so shifts compose by multiplication,
// Shift(1) changes nothing, and 0 and 1 stay. So does the ratio
//
//	e^(-h) = (1-t)u / (t(1-u))
//
// of neighbours t and u, in which many samplers are written.
//
// The same map is called shift or flow_shift in diffusers, its time_shift with
// time_shift_type "linear" has mu for s, and DanceGRPO calls it sd3_time_shift.
// Any other s gives NaN.
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
// This is diffusers' use_dynamic_shifting with time_shift_type "exponential";
// for the type "linear" call Shift(mu).
func (f Flow) DynamicShift(mu float64) Flow {
	return f.Shift(math.Exp(mu))
}

// Mu returns the mu of DynamicShift for a latent of seqLen tokens, on the line
// that gives baseMu at baseLen tokens and maxMu at maxLen:
//
//	mu = baseMu + (maxMu - baseMu)·(seqLen - baseLen)/(maxLen - baseLen)
//
// It goes on beyond both ends. diffusers calls it calculate_shift, and the four
// constants base_image_seq_len, max_image_seq_len, base_shift and max_shift.
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
// seqLen tokens. It lies on a line in n between two lines in seqLen, and beyond
// 4300 tokens on one of them, whatever n is:
//
//	mu = m10 + (m200 - m10)·(n - 10)/190
//	m10 = 8.73809524e-5·seqLen + 1.89833333
//	m200 = 0.00016927·seqLen + 0.45666666
//
// The six constants are those of Black Forest Labs' code, which diffusers has as
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

// StretchTerminal returns levels in which the last one above 0 is end, in (0, 1),
// and the distances of all from 1 keep their proportions:
//
//	t' = 1 - (1-t)·(1-end)/(1-last)
//
// A final 0 stays. This is shift_terminal of diffusers, which stretches before
// it appends the 0 (LTX-Video 0.1, Qwen-Image 0.02). Where the last level above 0
// is 1, as in a single step, nothing can be stretched and the levels stay;
// diffusers has NaN there.
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
