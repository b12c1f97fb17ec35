package cuda

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cps/sampler"
)

var sassFolder = flag.String("sass", "", "count what an H200 issues for an element, with the machine code in a `folder` that ptxas.sh makes")

// Two bounds of an H200. It has 132 multiprocessors with 4 schedulers. Each issues one
// instruction of a warp in a cycle, at 1.98 GHz. And a copy within its memory moves 4.3
// of the nominal 4.8 TB/s.
const (
	issues    = 132 * 4 * 1.98e9 // instructions of warps in a second
	copySpeed = 4.3e12           // bytes read and written in a second
)

// TestIssueSlots counts the machine instructions that a warp issues for a pass. Each
// counts as often as the interpreter runs its line of PTX. The test prints the share of a
// copy's speed at which the schedulers are full. Other units of a multiprocessor may be
// full earlier.
func TestIssueSlots(t *testing.T) {
	if *sassFolder == "" {
		t.Skip("needs the flag sass, see ptxas.sh")
	}
	const rows, dim = 2, 64 * 1024 // two blocks for every warp
	fmt.Println("| pass | bytes an element | instructions an element | speed at full issue, of a copy |\n|---|---|---|---|")
	for _, typ := range allTypes {
		size := size(typ)
		for _, pass := range []struct {
			name   string
			kernel kernel
			bytes  int
			call   func(d *Device, x, y Buffer, b sampler.Batch, sums []float64)
		}{
			{"initial noise", stepKernel, size, func(d *Device, x, y Buffer, b sampler.Batch, _ []float64) {
				for i := range b.Rows {
					b.Rows[i].Affine = sampler.Affine{Eps: 1}
				}
				d.Step(y, Buffer{}, Buffer{}, b, nil)
			}},
			{"step with sums", stepKernel, 3 * size, func(d *Device, x, y Buffer, b sampler.Batch, sums []float64) { d.Step(y, x, x, b, sums) }},
			{"replay", squaresKernel, 3 * size, func(d *Device, x, y Buffer, b sampler.Batch, sums []float64) { d.SumSquares(sums, y, x, x, b) }},
			{"gradient, in float32", gradKernel, 3*size + 8, func(d *Device, x, y Buffer, b sampler.Batch, sums []float64) {
				dv := zeros(t, d, b.Len(), sampler.Float32)
				d.Grad(dv, y, x, x, b, []float64{1, 1})
			}},
		} {
			d, g := open(t, 1)
			b := sampler.Batch{Dim: dim, Key: 5}
			for i := range uint64(rows) {
				r := sampler.InitialRow(i)
				r.Affine = sampler.Affine{X: 0.9, V: -0.2, Eps: 0.3}
				b.Rows = append(b.Rows, r)
			}
			x, y := zeros(t, d, b.Len(), typ), zeros(t, d, b.Len(), typ)
			list := parsed()[pass.kernel].Instructions()
			counts := make([]uint64, len(list))
			g.counts[pass.kernel] = counts
			pass.call(d, x, y, b, make([]float64, rows))
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			runs := map[int]uint64{} // by line
			for i, in := range list {
				runs[in.Line] = counts[i]
			}
			issued, err := issuedBy(*sassFolder+"/"+pass.kernel.String()+".sass", pass.kernel, runs)
			if err != nil {
				t.Fatal(err)
			}
			an := float64(issued) * warpLen / float64(b.Len())
			share := issues * warpLen / an * float64(pass.bytes) / copySpeed
			of := fmt.Sprintf("%.0f %%", 100*share)
			if share > 1 {
				of = "more than a copy: memory bounds it"
			}
			fmt.Printf("| %s, %v | %d | %.1f | %s |\n", pass.name, typ, pass.bytes, an, of)
		}
	}
}

var (
	sassLine  = regexp.MustCompile(`^\s*//## File "[^"]*", line (\d+)`)
	sassLabel = regexp.MustCompile(`^\s*\S+:\s*$`)
	sassCode  = regexp.MustCompile(`^\s*/\*[0-9a-f]+\*/\s+(?:@\S+\s+)?([A-Z0-9_.]+)`)
)

// issuedBy returns how many instructions warps issue if they run lines of PTX that often.
// It leaves out the slow path of a square root, for denormals, infinities and negative
// numbers.
func issuedBy(file string, k kernel, runs map[int]uint64) (uint64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var n, straight uint64 // straight: since the last branch or label
	roots, line, slow := 0, 0, false
	for l := range strings.Lines(string(text)) {
		if m := sassLine.FindStringSubmatch(l); m != nil {
			line, _ = strconv.Atoi(m[1])
			continue
		}
		if sassLabel.MatchString(l) {
			if strings.Contains(l, "slowpath") {
				break // the kernel's own code ends here
			}
			n += straight
			straight, slow = 0, false
			continue
		}
		m := sassCode.FindStringSubmatch(l)
		if m == nil || m[1] == "NOP" {
			continue
		}
		if _, ok := runs[line]; !ok && line != 0 {
			return 0, fmt.Errorf("%s: line %d of the PTX is no instruction", file, line)
		}
		switch opcode, _, _ := strings.Cut(m[1], "."); {
		case opcode == "CALL":
			straight, slow = 0, true
		case slow: // up to the next label
		case opcode == "BRA":
			n += straight + runs[line]
			straight = 0
		default:
			straight += runs[line]
		}
		if strings.HasPrefix(m[1], "MUFU.RSQ") {
			roots++
		}
	}
	n += straight
	if want := strings.Count(k.source(), "sqrt.rn.f32"); roots != want {
		return 0, fmt.Errorf("%s: %d square roots, in the PTX %d: loops are unrolled, which this does not count", file, roots, want)
	}
	return n, nil
}

// The counting itself is tested on a piece of code.
func TestIssuedBy(t *testing.T) {
	file := t.TempDir() + "/sass"
	text := `	//## File "a.ptx", line 3
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P6 BRA ` + "`(.L_x_1)" + ` ;
        /*0020*/                   MOV R68, 0x1ab0 ;
        /*0030*/                   CALL.REL.NOINC ` + "`($a$__cuda_sm20_sqrt_rn_f32_slowpath)" + ` ;
        /*0040*/                   BRA ` + "`(.L_x_2)" + ` ;
.L_x_1:
	//## File "a.ptx", line 5
        /*0050*/                   FMUL R1, R2, R3 ;
.L_x_2:
        /*0060*/               @P0 EXIT ;
        /*0070*/                   NOP ;
        .weak           $a$__cuda_sm20_sqrt_rn_f32_slowpath
$a$__cuda_sm20_sqrt_rn_f32_slowpath:
        /*0080*/                   FADD R1, R2, R3 ;
`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	runs := map[int]uint64{3: 10, 5: 1000}
	if n, err := issuedBy(file, sumRowsKernel, runs); n != 2020 || err != nil {
		t.Errorf("%d, %v, want 2020", n, err)
	}
	if _, err := issuedBy(file, stepKernel, runs); err == nil || !strings.Contains(err.Error(), "square roots") {
		t.Errorf("no square roots: %v", err)
	}
	if _, err := issuedBy(file, sumRowsKernel, map[int]uint64{3: 1}); err == nil {
		t.Error("a line that is no instruction")
	}
	// The interpreter counts warps.
	d, g := open(t, 1)
	x := zeros(t, d, 2048, sampler.Float32)
	g.counts[squaresKernel] = make([]uint64, len(parsed()[squaresKernel].Instructions()))
	d.SumSquares(make([]float64, 1), x, x, x, mixed(1, 2048))
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if first, most := g.counts[squaresKernel][0], slices.Max(g.counts[squaresKernel]); first != warps || most < 8 {
		t.Errorf("the first instruction ran %d times, not %d, another at most %d", first, warps, most)
	}
}
