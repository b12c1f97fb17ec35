package golden

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// judgeDir returns the reports of the judges for a folder.
func judgeDir(dir string) record {
	r := newRecord(filepath.Base(dir))
	r.Run("folder", func(t tester) { judgeFolder(t, dir) })
	return r
}

func fail(t *testing.T, r record) {
	t.Helper()
	for i, f := range r.failures {
		if i == 20 {
			t.Errorf("and %d more", len(r.failures)-i)
			return
		}
		t.Error(f)
	}
}

const freshSeeds, freshCases = 6, 60

// New folders with other settings, sizes, numbers and names pass. Every reason is met in them or
// in testdata.
func TestUnseen(t *testing.T) {
	seeds := freshSeeds
	if testing.Short() {
		seeds = 1
	}
	reasons := judgeDir(ours).reasons
	for seed := range seeds {
		dir := t.TempDir()
		writeFresh(live{t}, dir, uint64(seed), freshCases)
		r := judgeDir(dir)
		fail(t, r)
		if r.numbers < 10000 {
			t.Errorf("%d numbers compared in a folder of %d files", r.numbers, len(freshFiles))
		}
		for why, n := range r.reasons {
			reasons[why] += n
		}
	}
	if testing.Short() {
		return
	}
	for _, why := range allReasons {
		if reasons[why] == 0 {
			t.Errorf("no case was met by the reason %q", why)
		}
	}
}

// The names of cases and files do not matter. The judges report the same for testdata with
// other names and in another order.
func TestRenamed(t *testing.T) {
	dir := t.TempDir()
	for _, path := range goldenFiles(live{t}, ours) {
		var f map[string]any
		readFile(t, path, &f)
		if cases, ok := f["cases"].([]any); ok {
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
			for _, c := range cases {
				delete(c.(map[string]any), "id")
			}
		}
		writeFile(live{t}, filepath.Join(dir, kindOf(path)+"1"+filepath.Base(path)[len(kindOf(path)):]), f)
	}
	before, after := judgeDir(ours), judgeDir(dir)
	fail(t, after)
	if before.numbers != after.numbers || !maps.Equal(before.reasons, after.reasons) {
		t.Errorf("renamed, %d numbers are compared and the reasons are %v; before %d and %v",
			after.numbers, after.reasons, before.numbers, before.reasons)
	}
}

func readFile(t *testing.T, path string, dst any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber() // keeps the decimals as they are
		err = d.Decode(dst)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Files that no judge knows are named. A folder with such files alone fails.
func TestUnknownFiles(t *testing.T) {
	dir := t.TempDir()
	writeFile(live{t}, filepath.Join(dir, "wavelets.json"), object{"format": 1, "what": "a novelty", "cases": []object{{"id": "a"}}})
	writeFile(live{t}, filepath.Join(dir, "matching.json"), object{"format": 1, "cases": []object{{"id": "a"}}})
	r := judgeDir(dir)
	if len(r.failures) != 1 || !strings.Contains(r.failures[0], "no file that a judge reads") {
		t.Errorf("a folder without a file for a judge: %q", r.failures)
	}
	why := slices.Collect(maps.Keys(r.reasons))
	if !slices.ContainsFunc(why, func(r reason) bool { return strings.Contains(string(r), "wavelets.json (\"a novelty\")") }) ||
		!slices.Contains(why, reason(otherFiles["matching"])) {
		t.Errorf("reasons for the unknown files: %q", why)
	}
}

// A setting that a judge does not know fails.
func TestUnknownSettings(t *testing.T) {
	for name, change := range map[string]func(c map[string]any){
		"ddim.json":               func(c map[string]any) { c["config"].(map[string]any)["thresholding"] = true },
		"schedules.json":          func(c map[string]any) { c["config"].(map[string]any)["use_lu_lambdas"] = true },
		"schedules2.json":         func(c map[string]any) { c["kind"] = "spectrum" },
		"rollouts_diffusers.json": func(c map[string]any) { c["config"].(map[string]any)["euler_at_final"] = true },
		"advantages.json":         func(c map[string]any) { c["method"] = "median" },
		"advantages2.json":        func(c map[string]any) { c["kind"] = "median" },
		"steps.json":              func(c map[string]any) { c["sampler"] = "sage" },
		"trajectories.json":       func(c map[string]any) { c["precision"] = "f16" },
		"solvers_multistep.json":  func(c map[string]any) { c["params"].(map[string]any)["thresholding"] = true },
	} {
		var f map[string]any
		readFile(t, filepath.Join(ours, name), &f)
		c := f["cases"].([]any)[0].(map[string]any)
		change(c)
		dir := t.TempDir()
		writeFile(live{t}, filepath.Join(dir, name), object{"format": 1, "cases": []any{c}})
		if r := judgeDir(dir); len(r.failures) == 0 {
			t.Errorf("%s: the unknown setting passes: %v", name, r.reasons)
		}
	}
}

// outputs are the fields of a case that upstream computed and judges compare.
var outputs = map[string][]string{
	"steps":              {"prev", "mean", "std", "noise_scale", "log_prob"},
	"trajectories":       {"x", "mean", "noise_scale", "log_prob"},
	"real_model":         {"x", "mean", "noise_scale", "log_prob"},
	"noise_levels":       {"noise_level", "ideal", "accumulated_error"},
	"schedules":          {"sigmas", "sigmas_f64", "timesteps", "mu", "mu_ollama", "mu_sdcpp"},
	"ddim":               {"alpha_prod", "alpha_prod_prev", "prev", "pred_x0", "ddpo_prev", "ddpo_log_prob", "prev_timestep"},
	"rollouts_diffusers": {"x"},
	"solvers_multistep":  {"x", "d_eps", "d_log_prob", "d_log_prob2", "d_grad"},
	"advantages":         {"advantages", "avg_group_size", "zero_std_ratio", "mean_group_std"},
	"grpo_loss": {"log_prob", "mean", "mean_ref", "std", "mean_sq_diff", "kl_exact_gauss", "ratio", "policy_loss", "kl_loss", "loss", "approx_kl",
		"clipfrac", "clipfrac_gt_one", "clipfrac_lt_one", "grad_v", "grad_mean", "grad_log_prob"},
}

// No reason excuses a wrong number. If one number of upstream is changed by a hundredth, or from
// NaN to a number, the case fails.
func TestWrongNumbers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const mutants = 3
	folders := []string{ours, t.TempDir()}
	writeFresh(live{t}, folders[1], 99, 40)
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(3, 4))
	tried := 0
	for _, folder := range folders {
		for _, path := range goldenFiles(live{t}, folder) {
			var f map[string]any
			readFile(t, path, &f)
			cases, _ := f["cases"].([]any)
			for i, c := range cases {
				c := c.(map[string]any)
				fields := slices.DeleteFunc(slices.Clone(outputs[kindOf(path)]), func(k string) bool {
					return c[k] == nil || k == "prev" && c["prev_given"] == true // an input
				})
				sound := judgeCase(t, dir, path, c)
				if sound.numbers == 0 && len(sound.failures) == 0 {
					continue // the judge says that it does not judge the case
				}
				if len(sound.failures) > 0 || len(fields) == 0 {
					t.Fatalf("%s: case %d has outputs %v and fails: %v", path, i, fields, sound.failures)
				}
				for range mutants {
					field := fields[r.IntN(len(fields))]
					was := c[field]
					at, ok := spoil(r, c, field)
					if !ok {
						continue
					}
					tried++
					if wrong := judgeCase(t, dir, path, c); len(wrong.failures) == 0 {
						t.Errorf("%s: case %d (%v) passes with a wrong %s[%d]; reasons %v", path, i, c["id"], field, at, wrong.reasons)
					}
					c[field] = was
				}
			}
		}
	}
	t.Logf("%d wrong numbers", tried)
	if tried < 500*mutants {
		t.Errorf("%d wrong numbers tried", tried)
	}
}

// judgeCase returns the reports of the judges for one case alone.
func judgeCase(t *testing.T, dir, path string, c map[string]any) record {
	t.Helper()
	one := filepath.Join(dir, filepath.Base(path))
	writeFile(live{t}, one, object{"format": 1, "cases": []any{c}})
	r := newRecord("one")
	r.Run("case", func(t tester) { judges[kindOf(path)](t, one) })
	return r
}

// spoil changes one number of a field of a case. It returns its place, and whether a number is
// compared at all.
func spoil(r *rand.Rand, c map[string]any, field string) (int, bool) {
	lone, isLone := c[field].(json.Number)
	if isLone {
		c[field] = wrong(lone)
		return 0, true
	}
	list := slices.Clone(c[field].([]any))
	at := r.IntN(len(list))
	if class, _ := c["class"].(string); class != "" && field == "x" {
		// The first latents are an input. Of Heun and UniPC only some steps are compared,
		// the first always.
		size := len(list) / (len(c["sigmas"].([]any)))
		compared := len(list) - size
		if strings.Contains(class, "Heun") || strings.Contains(class, "UniPC") {
			compared = size
		}
		at = size + r.IntN(compared)
	}
	list[at] = wrong(list[at])
	c[field] = list
	return at, true
}

// wrong returns a number that differs from x by more than any tolerance.
func wrong(x any) any {
	n, ok := x.(json.Number)
	if !ok {
		return 0.5 // for NaN
	}
	v, err := n.Float64()
	if err != nil {
		panic(err)
	}
	return v + 0.01*(1+math.Abs(v))
}

// A library with another eta than upstream's fails. No reason covers it, even if one of the two
// draws no noise.
func TestWrongEta(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	dir := t.TempDir()
	tried := 0
	for _, name := range []string{"steps.json", "trajectories.json", "noise_levels.json", "grpo_loss.json"} {
		path := filepath.Join(ours, name)
		var f map[string]any
		readFile(t, path, &f)
		for i, c := range f["cases"].([]any) {
			c := c.(map[string]any)
			if !noisy(c) {
				continue
			}
			was := c["eta"]
			eta, err := was.(json.Number).Float64()
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range []float64{0, 0.01, eta * 0.99} {
				if c["eta"] = other; other == eta {
					continue
				}
				tried++
				if r := judgeCase(t, dir, path, c); len(r.failures) == 0 {
					t.Errorf("%s: case %d (%v) passes with eta %v, not %v", name, i, c["id"], other, eta)
				}
			}
			c["eta"] = was
		}
	}
	if tried < 500 {
		t.Errorf("%d etas tried", tried)
	}
}

// noisy reports whether a case has a step whose noise eta scales.
func noisy(c map[string]any) bool {
	name := c["sampler"].(string)
	if name == "ff_ode" {
		return false
	}
	next, ok := c["sigma_next"].([]any)
	return !ok || !strings.HasSuffix(name, "_cps") ||
		slices.ContainsFunc(next, func(s any) bool { v, _ := s.(json.Number).Float64(); return v > 0 })
}

// Known answers of generators: one bit changed fails.
func TestWrongBits(t *testing.T) {
	path := filepath.Join(ours, "rng.json")
	for name, change := range map[string]func(f *map[string]any){
		"kat": func(f *map[string]any) {
			for _, k := range (*f)["kat"].([]any) {
				k := k.(map[string]any)
				if k["gen"] == "philox4x32" && k["rounds"] == json.Number("10") {
					out := k["out"].([]any)
					out[0] = flip(out[0].(string))
				}
			}
		},
		"more": func(f *map[string]any) {
			out := (*f)["philox4x32_more"].([]any)[0].(map[string]any)["out"].([]any)
			out[3] = flip(out[3].(string))
		},
		"torch": func(f *map[string]any) {
			v := (*f)["torch_cuda_randn"].(map[string]any)["values"].([]any)
			v[5] = wrong(v[5])
		},
		"prompt": func(f *map[string]any) { (*f)["prompt_seed"].([]any)[0].(map[string]any)["seed"] = 1 },
		"new":    func(f *map[string]any) { (*f)["xoshiro"] = []any{} },
	} {
		var f map[string]any
		readFile(t, path, &f)
		change(&f)
		dir := t.TempDir()
		writeFile(live{t}, filepath.Join(dir, "rng.json"), f)
		if r := judgeDir(dir); len(r.failures) == 0 {
			t.Errorf("%s: the wrong bits pass", name)
		}
	}
}

// flip returns a hexadecimal word with its lowest bit changed.
func flip(hex string) string {
	const digits = "0123456789abcdef"
	last := strings.IndexByte(digits, hex[len(hex)-1]|0x20&^0x10)
	if last < 0 {
		last = int(hex[len(hex)-1] - '0')
	}
	return hex[:len(hex)-1] + digits[last^1:][:1]
}
