package main

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every WORD of the assembly equals clang's encoding of the comment beside it.
func TestWords(t *testing.T) {
	clang, err := exec.LookPath("clang-14")
	if err != nil {
		t.Fatal(err) // without clang nothing shows that a comment is true
	}
	b := assembly()
	var words []uint32
	var text strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^\tWORD \$0x([0-9a-f]{8}) // (.*)$`).FindAllSubmatch(b, -1) {
		w, err := strconv.ParseUint(string(m[1]), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, uint32(w))
		fmt.Fprintf(&text, "%s\n", m[2])
	}
	if n := strings.Count(string(b), "WORD"); n != len(words) || n == 0 {
		t.Fatalf("%d of %d words have a comment", len(words), n)
	}
	object := filepath.Join(t.TempDir(), "words.o")
	c := exec.Command(clang, "--target=aarch64-linux-gnu", "-c", "-x", "assembler", "-o", object, "-")
	c.Stdin = strings.NewReader(text.String())
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := elf.Open(object)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	if len(code) != 4*len(words) {
		t.Fatalf("%d bytes for %d words", len(code), len(words))
	}
	lines := strings.Split(text.String(), "\n")
	for i, w := range words {
		if got := binary.LittleEndian.Uint32(code[4*i:]); got != w {
			t.Fatalf("%s is %08x, not %08x", lines[i], got, w)
		}
	}
}
