package cuda

import (
	"regexp"
	"slices"

	"cps/internal/ptx"
)

// An equivalent is a kind of change that survives because it changes nothing that can
// be seen, in the instructions and replacements that its expressions match.
type equivalent struct {
	kind     string // of the change
	kernels  []kernel
	from, to string // regular expressions, of the instruction and its replacement
	why      string
}

var all = []kernel{stepKernel, squaresKernel, gradKernel, sumRowsKernel}

var equivalents = []equivalent{
	{
		"type", all, `^(shr|setp\.\w+|min|div|mul\.wide|cvt\.u64)\.u32 `, `^(shr|setp\.\w+|min|div|mul\.wide|cvt\.s64)\.s32 `,
		"counts, lengths, offsets, types and numbers of threads are below 2³¹, as are floats without their sign",
	},
	{
		"type", all[:3], `^ld\.global\.u16 `, `^ld\.global\.s16 `,
		"of a word for two elements the upper half is shifted there, and the bits of a sign fall out",
	},
	{
		"delete", all, `^mov\.`, `^$`,
		"a register that the path does not use, such as the words of an input that is not read, is given a value where paths meet",
	},
	{
		"number", all, `^mov\.[a-z]+32 %[a-z]+\d+, 0f?0*$`, ``,
		"the same registers, before their first use",
	},
	{
		"delete", all, `^bra\.uni `, `^$`,
		"the branch is to the next instruction",
	},
	{
		"number", all[:3], `^(or\.b32 .* 4194304|and\.b32 .* 2147483647|setp\.gt\.u32 .* 2139095040)$`, ``,
		"arithmetic of a GPU makes one NaN only, 0x7fffffff",
	},
	{
		"order of operands", []kernel{stepKernel, squaresKernel}, `^sub\.rn\.f32 `, ``,
		"a difference that is squared has no sign",
	},
	{
		"number", []kernel{stepKernel, squaresKernel}, `^selp\.f32 (%f\d+), %f\d+, 0f00000000, `, ``,
		"the square of -0 and of the smallest number is 0",
	},
	{
		"operator", []kernel{stepKernel, squaresKernel}, `^shfl\.sync\.bfly\.`, `^shfl\.sync\.down\.`,
		"thread 0 stores the sum, and what it is made of comes from threads of higher numbers",
	},
	{
		"number", []kernel{stepKernel, squaresKernel}, `^shfl\.sync\.bfly\..*, 31, -1$`, `, 30, -1$`,
		"in the last exchange thread 0 does not need thread 31",
	},
}

// excused returns why a mutant cannot be found, or "".
func excused(k kernel, m ptx.Mutant) string {
	for _, e := range equivalents {
		if e.kind == m.Kind && slices.Contains(e.kernels, k) &&
			regexp.MustCompile(e.from).MatchString(m.Old) && regexp.MustCompile(e.to).MatchString(m.New) {
			return e.why
		}
	}
	return ""
}
