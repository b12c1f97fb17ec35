package golden

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cps/internal/kernel"
	"cps/noise"
)

// rngFile is rng.json. It has sections instead of cases. A section that no judge knows is an
// error.
type rngFile struct {
	Kat      []kat
	More     []kat        `json:"philox4x32_more"`
	Torch    torchCase    `json:"torch_cuda_randn"`
	Derived  []torchCase  `json:"torch_cuda_randn_derived"`
	Prompts  []promptSeed `json:"prompt_seed"`
	NumPy    []struct{}   `json:"numpy_philox"`
	TorchCPU []torchCPU   `json:"torch_cpu"`
}

// A kat is a known-answer test. Its words are hexadecimal.
type kat struct {
	Gen           string
	Rounds        int
	Ctr, Key, Out []string
}

type torchCase struct {
	Seed, Offset uint64
	Values       arr
}

// A torchCPU is what torch.randn(N) and torch.rand(4) return after torch.manual_seed.
type torchCPU struct {
	Seed  uint64
	N     int
	Type  string `json:"dtype"`
	Randn arr
	Rand4 arr
}

type promptSeed struct {
	Prompt string
	Base   int64 `json:"base_seed"`
	Seed   uint64
}

// generators are the generators of known answers that the module does not have, with reasons.
// It has only Philox4x32 with 10 rounds, since streams must be the same and cheap on every
// device.
var generators = map[string]string{
	"philox2x32":   "half the counter: too short for sample, step and element",
	"philox4x32":   "another number of rounds; cuRAND and torch use 10",
	"philox2x64":   "128-bit products, which GPUs and SIMD lack",
	"philox4x64":   "128-bit products, which GPUs and SIMD lack",
	"threefry2x32": "JAX's generator with 20 rounds, not one of cuRAND or torch on CUDA",
	"threefry4x32": "not a generator of cuRAND or torch on CUDA",
	"threefry2x64": "64-bit words: twice the work of a float32 draw",
	"threefry4x64": "64-bit words: twice the work of a float32 draw",
	"ars4x32":      "needs AES instructions",
	"aesni4x32":    "needs AES instructions",
}

// otherSections are the sections of rng.json without a counterpart here.
var otherSections = map[string]string{
	"numpy_philox": "numpy.random.Philox is Philox4x64-10: 128-bit products, which GPUs and SIMD lack",
}

func judgeRNG(t tester, path string) {
	var sections map[string]any
	load(t, path, &sections)
	ran := []string{"kat", "philox4x32_more", "torch_cuda_randn", "torch_cuda_randn_derived", "torch_cpu", "prompt_seed"}
	for name := range sections {
		why := otherSections[name]
		switch {
		case slices.Contains([]string{"format", "sources", "what", "seed"}, name) || slices.Contains(ran, name):
		case why != "":
			t.Run(name, func(t tester) { t.notJudged(otherGenerator) })
		default:
			t.Errorf("no judge knows the section %q", name)
		}
	}

	var f rngFile
	load(t, path, &f)
	if len(f.Kat) == 0 || len(f.More) == 0 || len(f.Torch.Values) == 0 || len(f.Derived) == 0 || len(f.TorchCPU) == 0 || len(f.Prompts) == 0 {
		t.Fatalf("%s: an empty section", path)
	}
	t.Run("kat", func(t tester) { runKats(t, f.Kat) })
	t.Run("more", func(t tester) { runKats(t, f.More) })
	t.Run("torch", f.Torch.run)
	for _, c := range f.Derived {
		t.Run(fmt.Sprintf("derived/%d/%d", c.Seed, c.Offset), c.run)
	}
	for _, c := range f.TorchCPU {
		t.Run(fmt.Sprintf("cpu/%s/%d/%d", c.Type, c.Seed, c.N), c.run)
	}
	t.judged(len(f.Prompts))
	for _, c := range f.Prompts {
		if got := noise.PromptSeed(c.Base, c.Prompt); got != c.Seed {
			t.Errorf("PromptSeed(%d, %q) = %d, want %d", c.Base, c.Prompt, got, c.Seed)
		}
	}
}

// Each line of Random123's own file has a generator and its rounds, then counter, key and
// output in hexadecimal.
func TestRandom123(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(folder(), "random123_kat_vectors.txt"))
	if errors.Is(err, fs.ErrNotExist) && folder() != ours {
		t.Skip("the folder has no such file")
	}
	if err != nil {
		t.Fatal(err)
	}
	var kats []kat
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		if len(w) == 0 || strings.HasPrefix(w[0], "#") {
			continue
		}
		rounds, err := strconv.Atoi(w[1])
		if err != nil {
			t.Fatal(err)
		}
		k := kat{Gen: w[0], Rounds: rounds}
		if k.ours() {
			w = w[2:]
			k.Ctr, k.Key, k.Out = w[:4], w[4:6], w[6:10]
		}
		kats = append(kats, k)
	}
	runKats(live{t}, kats)
}

func (k kat) ours() bool { return k.Gen == "philox4x32" && k.Rounds == 10 }

// runKats runs the known answers of Philox4x32-10. There must be some. Every other generator
// must have a reason.
func runKats(t tester, kats []kat) {
	t.Helper()
	ran := 0
	for _, k := range kats {
		if !k.ours() {
			t.differs(otherGenerator)
			if generators[k.Gen] == "" {
				t.Errorf("no judge knows the generator %s", k.Gen)
			}
			continue
		}
		ran++
		ctr, key := words(t, k.Ctr), words(t, k.Key)
		out := kernel.Philox([4]uint32(ctr), [2]uint32(key))
		if want := [4]uint32(words(t, k.Out)); out != want {
			t.Errorf("Philox of counter %v, key %v is %08x, want %08x", k.Ctr, k.Key, out, want)
		}

		// The same block as part of a stream, unless its name is reserved.
		id := noise.ID{Sample: uint64(ctr[3])<<32 | uint64(ctr[2]), Step: ctr[1]}
		if id.Step == 1<<32-1 {
			continue
		}
		var got [4]uint32
		noise.Uint32s(got[:], noise.Key(uint64(key[1])<<32|uint64(key[0])), id, 4*uint64(ctr[0]))
		if got != out {
			t.Errorf("stream at counter %v, key %v is %08x, want %08x", k.Ctr, k.Key, got, out)
		}
	}
	t.judged(ran)
	if ran == 0 {
		t.Errorf("none of %d known answers is of Philox4x32-10", len(kats))
	}
}

func words(t tester, hex []string) []uint32 {
	t.Helper()
	w := make([]uint32, len(hex))
	for i, h := range hex {
		x, err := strconv.ParseUint(h, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		w[i] = uint32(x)
	}
	return w
}

func (c torchCase) run(t tester) {
	// The file's offset counts blocks, as does the code that it cites. Torch's counts words.
	x := make([]float32, len(c.Values))
	noise.TorchCUDANormal(x, c.Seed, 4*c.Offset, noise.TorchGPU{})
	// At these radii, 2.7 at most, the sines differ by some 1e-7, and so do the angles. See
	// noise.TorchCUDANormal.
	near(t, "values", float64s(x), c.Values, 1e-6)
}

func (c torchCPU) run(t tester) {
	g := noise.NewTorchCPU(c.Seed)
	word := func() uint64 { return uint64(g.Uint32()) }
	var uniforms [4]float64
	for i := range uniforms {
		switch c.Type {
		case "float32":
			uniforms[i] = float64(word()&(1<<24-1)) / (1 << 24)
		case "float64":
			hi := word()
			uniforms[i] = float64((hi<<32|word())&(1<<53-1)) / (1 << 53)
		default:
			t.Fatalf("no judge knows the type %q", c.Type)
		}
	}
	near(t, "rand", uniforms[:], c.Rand4, 0x1p-24) // the file has 8 digits of a float32

	g = noise.NewTorchCPU(c.Seed)
	if c.Type == "float64" {
		x := make([]float64, c.N)
		g.Normal64(x)
		near(t, "randn", x, c.Randn, 1e-14) // some roundings at a radius of 3
		return
	}
	x := make([]float32, c.N)
	g.Normal(x)
	// From 16 on torch computes in float32: an ulp each of root, angle and cosine.
	near(t, "randn", float64s(x), c.Randn, 5e-7)
}
