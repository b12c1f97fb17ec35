package digits

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func encoded(t testing.TB, n interface{ Save(io.Writer) error }) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := n.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSaveLoad(t *testing.T) {
	n := tiny(t)
	if err := round(n.params); err != nil {
		t.Fatal(err)
	}
	c := &Classifier{shape: classifierShape(5)}
	c.params = randomized(c.shape, rand.New(rand.NewPCG(1, 0)))
	if err := round(c.params); err != nil {
		t.Fatal(err)
	}
	n2, err := LoadNet(bytes.NewReader(encoded(t, n)))
	if err != nil {
		t.Fatal(err)
	}
	if n2.shape != n.shape || n2.base != n.base || !slices.Equal(n2.params, n.params) {
		t.Error("the velocity network is not what was saved")
	}
	c2, err := LoadClassifier(bytes.NewReader(encoded(t, c)))
	if err != nil {
		t.Fatal(err)
	}
	if c2.shape != c.shape || !slices.Equal(c2.params, c.params) {
		t.Error("the classifier is not what was saved")
	}
	x, classes := normals(3, 1)
	v, v2 := make([]float32, len(x)), make([]float32, len(x))
	n.Forward(v, x, classes, 0.25)
	n2.Forward(v2, x, classes, 0.25)
	if !slices.Equal(v, v2) {
		t.Error("the loaded network predicts otherwise")
	}
}

func TestSaveRounds(t *testing.T) {
	n := tiny(t)
	n.params[0] = 1 + 0x1p-11 // halfway between two float16 values: rounds to even
	n.params[1] = 0x1p-24     // the least float16 above 0
	before := slices.Clone(n.params)
	n2, err := LoadNet(bytes.NewReader(encoded(t, n)))
	if err != nil {
		t.Fatal(err)
	}
	if n2.params[0] != 1 || n2.params[1] != 0x1p-24 {
		t.Errorf("stored as %v and %v", n2.params[0], n2.params[1])
	}
	if !slices.Equal(n.params, before) {
		t.Error("Save changed the network")
	}
}

func TestSaveBadWeights(t *testing.T) {
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 65520} {
		n := tiny(t)
		n.params[17] = float32(x)
		err := n.Save(io.Discard)
		if want := fmt.Sprintf("weight 17, %v, is not a finite float16", x); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestSaveWriteError(t *testing.T) {
	r, w := io.Pipe()
	r.CloseWithError(io.ErrClosedPipe)
	if err := tiny(t).Save(w); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

// resum corrects the checksum of a changed file.
func resum(b []byte) []byte {
	body := b[:len(b)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(slices.Clone(body), sum[:]...)
}

func TestLoadBadFile(t *testing.T) {
	good := encoded(t, tiny(t))
	const sizes, table = 12, 32
	change := func(at int, bytes ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], bytes)
		return b
	}
	number := func(at int, n uint32) []byte {
		b := slices.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], n)
		return resum(b)
	}
	weights := table + 8*Dim
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "header: EOF"},
		{"cut in the header", good[:20], "header: unexpected EOF"},
		{"cut in the weights", good[:len(good)-1], "weights: unexpected EOF"},
		{"header only", good[:table], "weights: EOF"},
		{"longer", append(slices.Clone(good), 0), "after the checksum"},
		{"another file", change(0, 'P', 'N', 'G'), "not a file of this kind"},
		{"a classifier", encoded(t, &Classifier{shape: classifierShape(3), params: make([]float32, classifierShape(3).size())}), "not a file of this kind"},
		{"version", number(8, 2), "version 2, want 1"},
		{"In", number(sizes, 63), "sizes"},
		{"Hidden 0", number(sizes+4, 0), "sizes"},
		{"Hidden huge", number(sizes+4, math.MaxUint32), "sizes"},
		{"Depth 0", number(sizes+8, 0), "sizes"},
		{"Depth huge", number(sizes+8, 1<<31), "sizes"},
		{"Out", number(sizes+12, 65), "sizes"},
		{"Extra", number(sizes+16, 28), "sizes"},
		{"another width", number(sizes+4, 10), "weights: unexpected EOF"},
		{"a smaller width", number(sizes+4, 8), "after the checksum"},
		{"mean", number(table, math.Float32bits(1.5)), "pixel 0 has mean 1.5"},
		{"mean NaN", number(table+4, 0x7fc00000), "pixel 1 has mean NaN"},
		{"deviation", number(table+4*Dim, 0), "pixel 0 has mean -1 and standard deviation 0"},
		{"weight NaN", resum(change(weights, 0, 0x7e)), "weight 0 is NaN"},
		{"weight infinite", resum(change(weights+2, 0, 0xfc)), "weight 1 is -Inf"},
		{"flipped bit", change(weights+100, good[weights+100]^1), "checksum"},
		{"flipped checksum", change(len(good)-1, good[len(good)-1]^1), "checksum"},
	} {
		_, err := LoadNet(bytes.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "digits: velocity network: ") {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	if _, err := LoadClassifier(bytes.NewReader(good)); !errors.Is(err, errMagic) {
		t.Errorf("a velocity network as classifier: error %v", err)
	}
	if _, err := LoadNet(bytes.NewReader(good)); err != nil {
		t.Errorf("undamaged: %v", err)
	}
}

// A file that loads saves to the same bytes. Any other file gives an error. The test corrects
// checksums, since the fuzzer would not get past wrong ones.
func FuzzLoad(f *testing.F) {
	f.Add(encoded(f, tiny(f)))
	f.Add(encoded(f, &Classifier{shape: classifierShape(2), params: make([]float32, classifierShape(2).size())}))
	f.Add([]byte(magicNet))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, resum(append(slices.Clone(b), make([]byte, sha256.Size)...))} {
			if n, err := LoadNet(bytes.NewReader(b)); err == nil && !bytes.Equal(encoded(t, n), b) {
				t.Error("a loaded velocity network saves to another file")
			}
			if c, err := LoadClassifier(bytes.NewReader(b)); err == nil && !bytes.Equal(encoded(t, c), b) {
				t.Error("a loaded classifier saves to another file")
			}
		}
	})
}

func TestWriteWeights(t *testing.T) {
	dir := t.TempDir()
	n, c := committed(t)
	if err := WriteWeights(dir, n, c); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{VelocityFile: velocityWeights, ClassifierFile: classifierWeights} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what was loaded", name)
		}
	}
	c.params[0] = float32(math.NaN())
	clear(n.params)
	if err := WriteWeights(dir, n, c); err == nil {
		t.Error("wrote a NaN")
	}
	if got, _ := os.ReadFile(filepath.Join(dir, VelocityFile)); !bytes.Equal(got, velocityWeights) {
		t.Error("wrote one network of two")
	}
	if err := WriteWeights(filepath.Join(dir, "none"), n, n2c(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a folder that is not there: %v", err)
	}
}

func n2c(t *testing.T) *Classifier {
	_, c := committed(t)
	return c
}
