//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"cps/cuda/standin/control"
	spec "cps/internal/kernel"

	"gorgonia.org/cu"
)

var allWords = flag.Bool("words", false, "compare all 2³² words with the processor's digests, not a few")

// TestMachine prints the driver and the GPUs.
func TestMachine(t *testing.T) {
	d := gpuOrSkip(t, 0)
	n := d.drv.(*nvidia)
	name, err := n.device.Name()
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := n.device.TotalMem()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("GPU 0: %s, %d MiB, driver for CUDA %d", strings.TrimRight(name, "\x00"), bytes>>20, cu.Version())
}

// The functions of the noise and both roundings give the bits of the processor. On a GPU
// this covers all words; internal/kernel has computed their digests.
func TestWords(t *testing.T) {
	d := gpuOrSkip(t, 0)
	text, err := os.ReadFile("../internal/kernel/testdata/words.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	const groups = 64
	const bytes = groups * warps * warpLen * len(spec.Digests{}) * 8
	n := d.drv.(*nvidia)
	var at uintptr
	var host []byte
	var module cu.Module
	var kernel cu.Function
	if err := d.within(func() (err error) {
		if module, err = compile(wordsSource(t)); err != nil {
			return err
		}
		if kernel, err = module.Function("words"); err != nil {
			return err
		}
		if host, err = n.allocHost(bytes); err != nil {
			return err
		}
		at, err = n.alloc(bytes)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.within(func() error { return errors.Join(n.free(at), n.freeHost(host), module.Unload()) }); err != nil {
			t.Error(err)
		}
	}()
	digests := func(first, count uint64) spec.Digests {
		cells := [3]uint64{uint64(at), first, count}
		args := []unsafe.Pointer{unsafe.Pointer(&cells[0]), unsafe.Pointer(&cells[1]), unsafe.Pointer(&cells[2])}
		if err := d.within(func() error {
			if err := kernel.Launch(groups, 1, 1, warps*warpLen, 1, 1, 0, n.stream, args); err != nil {
				return explain("cuLaunchKernel", err)
			}
			return errors.Join(n.download(host, at), n.sync())
		}); err != nil {
			t.Fatal(err)
		}
		return addDigests(host)
	}
	compare := func(got spec.Digests, want string, where string) {
		for i, word := range strings.Fields(want) {
			if s := fmt.Sprintf("%016x", got[i]); s != word {
				t.Errorf("%s of %s: digest %s, want %s", spec.DigestNames[i], where, s, word)
			}
		}
	}
	if !*allWords {
		const first, count = 0x477f0000, 1 << 17
		want := spec.DigestWords(first, count)
		compare(digests(first, count), fmt.Sprintf("%016x %016x %016x %016x %016x", want[0], want[1], want[2], want[3], want[4]), "some words")
		return
	}
	few := lines
	if control.Present() {
		few = lines[0x47:0x48] // all words would take a processor minutes
	}
	for _, line := range few {
		segment, want, _ := strings.Cut(line, " ")
		var s uint64
		if _, err := fmt.Sscanf(segment, "%x", &s); err != nil {
			t.Fatal(err)
		}
		compare(digests(s<<24, 1<<24), want, "the words from 0x"+segment+"000000")
	}
	t.Logf("%d words of %v", len(few)<<24, spec.DigestNames)
}

// TestRegisters prints, for each kernel, the registers of a thread and its bytes in
// local memory, as the driver compiled it. A kernel without spills has no local memory.
func TestRegisters(t *testing.T) {
	d := gpuOrSkip(t, 0)
	if control.Present() {
		t.Skip("the stand-in for the driver has no registers")
	}
	n := d.drv.(*nvidia)
	if err := d.within(func() error {
		for k, f := range n.program.functions {
			registers, err := f.Attribute(cu.NumRegs)
			if err != nil {
				return err
			}
			local, err := f.Attribute(cu.LocalSizeBytes)
			if err != nil {
				return err
			}
			t.Logf("%v: %d registers, %d bytes of local memory, %d groups at once", kernel(k), registers, local, n.program.groups[k])
			if local != 0 {
				t.Errorf("%v spills", kernel(k))
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
