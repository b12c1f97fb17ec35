package finetune

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMain lets the test binary serve as the run that is killed.
func TestMain(m *testing.M) {
	if file := os.Getenv("FINETUNE_CHILD"); file != "" {
		if err := child(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const childIterations = 10

// failure makes the helpers of tests serve the child.
type failure struct{}

func (failure) Helper()                   {}
func (failure) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (failure) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// child runs, or goes on with, the full configuration and saves after every iteration.
func child(file string) error {
	t, err := Load(full(failure{}), file)
	if errors.Is(err, os.ErrNotExist) {
		t, err = New(full(failure{}))
	}
	if err != nil {
		return err
	}
	fmt.Println("from", t.Iteration())
	return t.Run(context.Background(), childIterations, func(it Iteration) error {
		fmt.Println("done", it.Number)
		return t.Save(file)
	})
}

// A run that is killed again and again, at any moment, ends with the file of a run that
// was not, byte for byte.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long under the race detector")
	}
	dir := t.TempDir()
	whole := newTrainer(t, full(t))
	if err := whole.Run(t.Context(), childIterations, nil); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(dir, "whole")
	if err := whole.Save(want); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "killed")
	r := rand.New(rand.NewPCG(8, 0))
	kills, resumed := 0, 0
	for range 200 {
		c := exec.Command(exe)
		c.Env = append(os.Environ(), "FINETUNE_CHILD="+file)
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// After up to three lines, and a moment more: within an iteration, or a save.
		lines := bufio.NewScanner(out)
		alive := true
		for range 1 + r.IntN(3) {
			if alive = lines.Scan(); !alive {
				break
			}
			if line := lines.Text(); strings.HasPrefix(line, "from") && line != "from 0" {
				resumed++
			}
		}
		if alive {
			time.Sleep(time.Duration(r.IntN(12)) * time.Millisecond)
			c.Process.Kill()
			io.Copy(io.Discard, out)
		}
		if err := c.Wait(); err == nil {
			break
		} else if alive {
			kills++
		} else {
			t.Fatal(err)
		}
	}
	t.Logf("killed %d times, resumed %d times", kills, resumed)
	if kills == 0 || resumed == 0 {
		t.Errorf("killed %d times, resumed %d times", kills, resumed)
	}
	a, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the run that was killed ended elsewhere than the one that was not")
	}
}

// A run that is stored and loaded after some iterations goes on with the same bits.
func TestResume(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long under the race detector")
	}
	whole := run(t, full(t), 6)
	file := filepath.Join(t.TempDir(), "checkpoint")
	for at := range 6 {
		first := run(t, full(t), at)
		if err := first.Save(file); err != nil {
			t.Fatal(err)
		}
		second, err := Load(full(t), file)
		if err != nil {
			t.Fatal(err)
		}
		if second.Iteration() != at {
			t.Fatalf("loaded at iteration %d, want %d", second.Iteration(), at)
		}
		if err := second.Run(t.Context(), 6, nil); err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprintf("resumed at %d", at), whole, second)
	}
}

func TestCheckpointOfAnotherRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checkpoint")
	tr := run(t, small(t), 1)
	if err := tr.Save(file); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(c *Config){
		`it has "Seed: uint640", and this run has "Seed: uint641"`: func(c *Config) { c.Seed = 1 },
		`and this run has "Rate: float640.001"`:                    func(c *Config) { c.Rate = 1e-3 },
		`and this run has "Reward: stringtaste"`:                   func(c *Config) { c.Reward = reward(t, "taste") },
		`and this run has "Net: string`:                            func(c *Config) { c.Net = tr.Net() },
	} {
		c := small(t)
		change(&c)
		if _, err := Load(c, file); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// No damage goes unnoticed, and none makes Load panic.
func TestDamagedCheckpoint(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "checkpoint")
	tr := newTrainer(t, small(t))
	if err := tr.Save(file); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := newTrainer(t, small(t)).read(good); err != nil {
		t.Fatal(err)
	}
	target := newTrainer(t, small(t))
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(good)
		if rapid.Bool().Draw(t, "cut") {
			b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")]
		} else {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "change"))
		}
		if err := target.read(b); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("error %v", err)
		}
	})
	// Right checksums around wrong contents.
	for name, b := range map[string][]byte{
		"too long a state": binary.LittleEndian.AppendUint32([]byte(magic), 1<<31),
		"no JSON":          append(binary.LittleEndian.AppendUint32([]byte(magic), 1), 'x'),
		"other sizes": func() []byte {
			text := fmt.Sprintf(`{"Config":%q,"Weights":3}`, target.config)
			return append(binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(text))), text...)
		}(),
	} {
		if err := target.read(sealed(b)); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := Load(small(t), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
	if err := tr.Save(filepath.Join(dir, "no", "folder")); err == nil {
		t.Error("a folder that does not exist is no error")
	}
}

// sealed appends the checksum.
func sealed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Whatever is in a file that has the right checksum, reading it does not panic.
func FuzzCheckpoint(f *testing.F) {
	tr := newTrainer(f, small(f))
	var good bytes.Buffer
	if err := tr.write(&good); err != nil {
		f.Fatal(err)
	}
	head := good.Bytes()[:bytes.IndexByte(good.Bytes(), '}')+1]
	f.Add(head)
	f.Add(append(binary.LittleEndian.AppendUint32([]byte(magic), 2), "{}"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := tr.read(sealed(b)); err != nil && !errors.Is(err, ErrCheckpoint) && !errors.Is(err, ErrConfig) {
			t.Errorf("error %v", err)
		}
	})
}

// A write that fails leaves the old file, and nothing beside it.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write := func(text string, fail error) error {
		return WriteFile(file, func(w io.Writer) error {
			io.WriteString(w, text)
			return fail
		})
	}
	if err := write("old", nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := write(strings.Repeat("new", 10000), broken); err != broken {
		t.Errorf("error %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "old" {
		t.Errorf("after a failure the file holds %q", b)
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("after a failure there are %d files", len(all))
	}
	if err := write("new", nil); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(file); string(b) != "new" {
		t.Errorf("the file holds %q", b)
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("%d files are left", len(all))
	}
}

// Two configurations also differ if one has a line more.
func TestDiffer(t *testing.T) {
	if err := differ("Steps: 4\nRate: 1", "Steps: 4\nRate: 1"); err != nil {
		t.Error(err)
	}
	for _, asked := range []string{"Steps: 4", "Steps: 4\nRate: 1\nShift: 3", "Steps: 4\nRate: 2", ""} {
		if err := differ("Steps: 4\nRate: 1", asked); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v", asked, err)
		}
	}
}
