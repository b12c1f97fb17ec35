package finetune

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"cps/examples/internal/digits"
	"cps/grpo"
)

// The statistics of an iteration equal their definitions. The test computes them from the
// weights, the latents and the network alone, in float64. Networks and sums of the
// trainer are float32, so a log p of about 1e-2 is right to 1e-8, and so are ratios.
func TestReportedStats(t *testing.T) {
	c := small(t)
	c.Epochs, c.Minibatches = 2, grpo.Minibatches{Rows: 5, Steps: 2}
	c.Rate = 1e-3
	c.Objective = grpo.Objective{ClipLow: 1e-4, ClipHigh: 2e-4}
	c.KL = Divergence{Beta: 0.5}
	it := run(t, c, 1).History()[0]

	twin := newTrainer(t, c)
	c = twin.Config()
	r := samples(t, twin)
	policy := twin.policy
	velocity := func(net *digits.Net, item grpo.Item) []float32 {
		v := make([]float32, digits.Dim)
		net.Forward(v, r.Trajectory.Latents[item.Step][item.Row*digits.Dim:][:digits.Dim], []int{policy.digit(item.Row)}, r.Sampler.Time(item.Step))
		return v
	}
	// logp is -‖next - X·x - V·v‖²/n.
	logp := func(item grpo.Item, v []float32) (p float64) {
		a := r.Sampler.At(item.Step).Affine
		for i, v := range v {
			at := item.Row*digits.Dim + i
			d := float64(r.Trajectory.Latents[item.Step+1][at]) - a.X*float64(r.Trajectory.Latents[item.Step][at]) - a.V*float64(v)
			p -= d * d / digits.Dim
		}
		return p
	}
	start := policy.net.Clone()
	batch := twin.loop.NewMinibatch()
	var want Iteration
	n := 0.0
	for epoch := range c.Epochs {
		minibatches, err := r.Minibatches(epoch)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range minibatches {
			var loss, kl, approx, clipped float64
			for _, item := range m {
				v := velocity(policy.net, item)
				ref := velocity(policy.ref, item)
				d := logp(item, v) - logp(item, velocity(start, item))
				ratio, adv := math.Exp(d), r.Advantages[item.Row]
				bounded := min(max(ratio, 1-1e-4), 1+2e-4)
				if bounded != ratio {
					clipped++
				}
				loss += max(-adv*ratio, -adv*bounded)
				approx += d * d / 2
				w := r.Sampler.At(item.Step).Affine.V
				for i := range v {
					q := w * (float64(v[i]) - float64(ref[i]))
					kl += q * q / digits.Dim
				}
				want.Deviation = max(want.Deviation, math.Abs(ratio-1))
			}
			size := float64(len(m))
			want.Loss += (loss + 0.5*kl) / size
			want.KL += kl / size
			want.ApproxKL += approx / size
			want.ClipFraction += clipped / size
			n++
			err := r.Fill(t.Context(), batch, m)
			if err == nil {
				err = policy.Velocity(t.Context(), batch.Call)
			}
			if err == nil {
				_, err = r.Loss(t.Context(), batch)
			}
			if err == nil {
				err = policy.Backward(t.Context(), batch.Call, batch.DV)
			}
			if err == nil {
				err = policy.Update(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, is := range map[string][3]float64{
		"Loss":         {it.Loss, want.Loss / n, 1e-7},
		"KL":           {it.KL, want.KL / n, 1e-4 * want.KL / n},
		"ApproxKL":     {it.ApproxKL, want.ApproxKL / n, 1e-3 * want.ApproxKL / n},
		"ClipFraction": {it.ClipFraction, want.ClipFraction / n, 1e-12},
		"Deviation":    {it.Deviation, want.Deviation, 1e-4 * want.Deviation},
	} {
		if math.Abs(is[0]-is[1]) > is[2] || is[1] == 0 {
			t.Errorf("%s is %v, want %v", name, is[0], is[1])
		}
	}
	if it.Updates != int(n) || it.OnPolicy != 0 {
		t.Errorf("%d updates, want %v; on policy %v", it.Updates, n, it.OnPolicy)
	}
}

// After the rename the directory is put on the disk, and an error there is returned.
func TestWriteFileSyncsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	text := func(w io.Writer) error { _, err := io.WriteString(w, "text"); return err }
	calls := 0
	err := writeFile(file, text, func(d string) error {
		calls++
		if b, err := os.ReadFile(file); d != dir || err != nil || string(b) != "text" {
			t.Errorf("sync of %s, where the file holds %q, %v", d, b, err)
		}
		return nil
	})
	if err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	broken := errors.New("broken")
	if err := writeFile(file, text, func(string) error { return broken }); err != broken {
		t.Errorf("error %v", err)
	}
	if err := writeFile(filepath.Join(dir, "none", "file"), text, func(string) error { t.Error("called"); return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := syncDir(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := syncDir(dir); err != nil {
		t.Error(err)
	}
}
