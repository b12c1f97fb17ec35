package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cps/internal/kernel"
	"cps/noise"
)

// rngFile is rng.json. It has sections where the other files have cases; the test
// below refuses a section it does not know.
type rngFile struct {
	Kat      []kat
	More     []kat        `json:"philox4x32_more"`
	Torch    torchCase    `json:"torch_cuda_randn"`
	Derived  []torchCase  `json:"torch_cuda_randn_derived"`
	Prompts  []promptSeed `json:"prompt_seed"`
	NumPy    []struct{}   `json:"numpy_philox"`
	TorchCPU []struct{}   `json:"torch_cpu"`
}

// A kat is a known answer: words in hexadecimal.
type kat struct {
	Gen           string
	Rounds        int
	Ctr, Key, Out []string
}

type torchCase struct {
	Seed, Offset uint64
	Values       arr
}

type promptSeed struct {
	Prompt string
	Base   int64 `json:"base_seed"`
	Seed   uint64
}

// otherGenerators are those of the known answers that the module does not have. It
// has one generator, Philox4x32 with 10 rounds, since streams must be the same on
// every device and cheap on each.
var otherGenerators = map[string]string{
	"philox2x32/7":    "half the counter: too short for sample, step and element",
	"philox2x32/10":   "half the counter: too short for sample, step and element",
	"philox4x32/7":    "the fewest rounds that pass BigCrush; cuRAND and torch use 10",
	"philox2x64/7":    "128-bit products, which GPUs and SIMD lack",
	"philox2x64/10":   "128-bit products, which GPUs and SIMD lack",
	"philox4x64/7":    "128-bit products, which GPUs and SIMD lack",
	"philox4x64/10":   "128-bit products, which GPUs and SIMD lack",
	"threefry2x32/13": "not a generator of cuRAND or torch on CUDA",
	"threefry2x32/20": "JAX's generator, not one of cuRAND or torch on CUDA",
	"threefry2x32/32": "not a generator of cuRAND or torch on CUDA",
	"threefry4x32/13": "not a generator of cuRAND or torch on CUDA",
	"threefry4x32/20": "not a generator of cuRAND or torch on CUDA",
	"threefry4x32/72": "not a generator of cuRAND or torch on CUDA",
	"threefry2x64/13": "64-bit words: twice the work of a float32 draw",
	"threefry2x64/20": "64-bit words: twice the work of a float32 draw",
	"threefry2x64/32": "64-bit words: twice the work of a float32 draw",
	"threefry4x64/13": "64-bit words: twice the work of a float32 draw",
	"threefry4x64/20": "64-bit words: twice the work of a float32 draw",
	"threefry4x64/72": "64-bit words: twice the work of a float32 draw",
	"ars4x32/10":      "needs AES instructions",
	"aesni4x32/10":    "needs AES instructions",
}

// otherSections are the sections of rng.json without a counterpart here, with the
// number of their entries.
var otherSections = map[string]struct {
	entries int
	why     string
}{
	"numpy_philox": {3, "numpy.random.Philox is Philox4x64-10: 128-bit products, which GPUs and SIMD lack"},
	"torch_cpu":    {8, "torch's CPU generator is the Mersenne Twister, a sequence that cannot be addressed by sample and step"},
}

func TestRNG(t *testing.T) {
	const file = "rng.json"
	var sections map[string]any
	load(t, file, &sections)
	ran := []string{"kat", "philox4x32_more", "torch_cuda_randn", "torch_cuda_randn_derived", "prompt_seed"}
	for name, section := range sections {
		other, named := otherSections[name]
		switch entries, list := section.([]any); {
		case name == "format" || name == "sources" || slices.Contains(ran, name):
		case !named:
			t.Errorf("section %q is neither run nor named", name)
		case !list || len(entries) != other.entries:
			t.Errorf("section %q has not %d entries (%s)", name, other.entries, other.why)
		}
	}

	var f rngFile
	load(t, file, &f)
	if len(f.Kat) == 0 || len(f.More) == 0 || len(f.Torch.Values) == 0 || len(f.Derived) == 0 || len(f.Prompts) == 0 {
		t.Fatalf("%s: an empty section", file)
	}
	t.Run("kat", func(t *testing.T) { runKats(t, f.Kat, 3) })
	t.Run("more", func(t *testing.T) { runKats(t, f.More, 11) })
	t.Run("torch", func(t *testing.T) { f.Torch.run(t) })
	for _, c := range f.Derived {
		t.Run(fmt.Sprintf("derived/%d/%d", c.Seed, c.Offset), c.run)
	}
	for _, c := range f.Prompts {
		if got := noise.PromptSeed(c.Base, c.Prompt); got != c.Seed {
			t.Errorf("PromptSeed(%d, %q) = %d, want %d", c.Base, c.Prompt, got, c.Seed)
		}
	}
}

// Random123's own file, whose lines are generator, rounds, then counter, key and
// output in hexadecimal.
func TestRandom123(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "random123_kat_vectors.txt"))
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
		if k.name() == "philox4x32/10" {
			w = w[2:]
			k.Ctr, k.Key, k.Out = w[:4], w[4:6], w[6:10]
		}
		kats = append(kats, k)
	}
	runKats(t, kats, 3)
}

func (k kat) name() string { return fmt.Sprintf("%s/%d", k.Gen, k.Rounds) }

// runKats runs the known answers of Philox4x32-10, of which there must be n, and
// checks that all others are named.
func runKats(t *testing.T, kats []kat, n int) {
	t.Helper()
	for _, k := range kats {
		if k.name() != "philox4x32/10" {
			if otherGenerators[k.name()] == "" {
				t.Errorf("generator %s is neither run nor named", k.name())
			}
			continue
		}
		n--
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
	if n != 0 {
		t.Errorf("%d known answers of Philox4x32-10 are missing", n)
	}
}

func words(t *testing.T, hex []string) []uint32 {
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

func (c torchCase) run(t *testing.T) {
	// The file's offset counts blocks, as does the code it cites; torch's counts
	// words.
	x := make([]float32, len(c.Values))
	noise.TorchCUDANormal(x, c.Seed, 4*c.Offset, noise.TorchGPU{})
	// At these radii, 2.7 at most, the two sines and angles are apart by some 1e-7
	// each; see noise.TorchCUDANormal.
	near(t, "values", wide(x), c.Values, 1e-6)
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
