package cuda

import (
	"regexp"
	"slices"

	"cps/cuda/internal/ptx"
)

// An equivalent is a kind of change that survives because it changes nothing visible.
// Its expressions match the instruction and its replacement.
type equivalent struct {
	kind     string // the kind of change
	kernels  []kernel
	from, to string // regular expressions of the instruction and its replacement
	why      string
}

var (
	passes = []kernel{stepKernel, squaresKernel, gradKernel}
	summed = []kernel{stepKernel, squaresKernel}
	every  = []kernel{stepKernel, squaresKernel, gradKernel, sumRowsKernel}
)

// Boundaries and branches are named one by one, by their registers, since mistakes
// are made there.
var equivalents = []equivalent{
	{
		"type", every, `^(shr|setp\.\w+|min|div|mul\.wide|cvt\.u64|bfe)\.u(32|64) `, `^(shr|setp\.\w+|min|div|mul\.wide|cvt\.s64|bfe)\.s(32|64) `,
		"counts, lengths, offsets, types and numbers of threads are below 2³¹, as are floats without their sign, and of what is shifted to the lower half the upper is not used",
	},
	{
		"type", passes, `^(ld\.global\.u16|cvt\.u32\.u16) `, `^(ld\.global\.s16|cvt\.s32\.s16) `,
		"a word for the upper half is shifted there, and the bits of a sign fall out",
	},
	{
		"delete", every, `^mov\.`, `^$`,
		"where paths meet, registers that one of them does not use, such as the words of an absent input, get a value",
	},
	{
		"number", every, `^mov\.[a-z]+32 %[a-z]+\d+, (0|0f00000000|0f3F800000)$`, ``,
		"the same, and absent inputs, which are 1 times 0",
	},
	{
		"delete", every, `^bra\.uni `, `^$`,
		"the branch is to the next instruction",
	},
	{
		"number", passes, `^(or\.b32 .* 4194304|and\.b32 .* 2147483647|setp\.gt\.u32 .* 2139095040)$`, ``,
		"arithmetic of a GPU makes one NaN only, 0x7fffffff",
	},
	{
		"order of operands", summed, `^sub\.rn\.f32 `, ``,
		"a difference that is squared has no sign",
	},
	{
		"number", summed, `^selp\.f32 %f\d+, (0f00000000, %f\d+|%f\d+, 0f00000000), `, ``,
		"the square of -0 and of the smallest number is 0",
	},
	{
		"number", []kernel{squaresKernel}, `^selp\.f32 %f\d+, 0f[08]0000000, (0f80000000|%f\d+), `, ``,
		"the same: signs of means that are 0",
	},
	{
		"order of operands", []kernel{squaresKernel}, `^selp\.f32 %f\d+, 0f00000000, 0f80000000, `, ``,
		"the same",
	},
	{
		"register", []kernel{squaresKernel}, `^selp\.f32 %f5, %f\d+, %f\d+, %p12$`, ``,
		"the same: a weight that is 0 instead of +0 or -0",
	},
	{
		"order of operands", []kernel{squaresKernel}, `^ld\.global\.v4\.f32 \{(%f\d+, %f\d+), %f165, %f166\}, `, `, %f166, %f165\}, `,
		"the weight of the noise and the step, which a row of the table has and a replay does not use",
	},
	{
		"number", passes, `^setp\.(eq|neu)\.f32 .*, 0f00000000$`, `, 0f(8000000[0]|00000001)$`,
		"-0 equals 0; noise of the weight 2⁻¹⁴⁹ is not tried",
	},
	{
		"operator", summed, `^shfl\.sync\.bfly\.`, `^shfl\.sync\.down\.`,
		"thread 0 stores the sum, and what it is made of comes from threads of higher numbers",
	},
	{
		"number", summed, `^shfl\.sync\.bfly\..*, 31, -1$`, `, 30, -1$`,
		"in the last exchange thread 0 does not need thread 31",
	},
	{
		"number", summed, `^selp\.b32 %r\d+, 4, 1, %p1$`, `, 5, 1, `,
		"before the last exchange of joined pairs threads 4 and 5 have the same sums",
	},
	{
		"number", every, `^setp\.(ne|eq)\.s32 (%p119, %r31|%p99, %r12|%p8, %r1), 0$`, `, 1$`,
		"all threads have the sum: another one stores it",
	},
	{
		"number", passes, `^bfe\.u32 .*, (8|16), 8$`, ``,
		"types are at most 3",
	},
	{
		"number", passes, `^setp\.lt\.u32 .*, 16777216$`, ``,
		"the type that is rounded to is in the upper eight bits",
	},
	{
		"number", passes, `^and\.b(32 .*, 768|64 .*, 15)$`, `, (769|14)$`,
		"32 times a thread's number is even, and so are addresses",
	},
	{
		"number", passes, `^min\.u(32|64) .*, (4|1024)$`, `, (5|1025)$`,
		"what is more than four elements or a block is treated alike",
	},
	{
		"number", passes, `^setp\.eq\.s32 .*, 0$`, `, -1$`,
		"no block is empty, and what a chunk without elements would do is skipped element by element",
	},
	{
		"register", passes, `^or\.pred %p3[13], %p(27|29), %p3[02]$`, ``,
		"the same",
	},
	{
		"operator", passes, `^(add\.s32 .*, -1|shr\.u32 .*, 6)$`, ``,
		"pairs beyond the end of a block have no elements",
	},
	{
		"number", passes, `^(add\.s32 .*, -1|shr\.u32 .*, 6)$`, `, [05]$`,
		"the same",
	},
	{
		"relation", passes, `^setp\.(le|gt)\.u32 %p(27|28|29|30), %r(40|17|16), %r(54|55|32|33|22|301)$`, `^setp\.(lt|ge)\.`,
		"the same: a chunk that starts where the block ends",
	},
	{
		"relation", passes, `^setp\.le\.u32 %p(121, %r214, %r32|101, %r23, %r13|137, %r278, %r12)$`, `^setp\.lt\.`,
		"the variables of the next block are not used when there is none: another branch ends the loop",
	},
	{
		"delete", passes, `^@%p(121|101|137) bra `, `^$`,
		"the same",
	},
	{
		"delete", []kernel{stepKernel}, `^@%p(26|66|32|49|88|78|4|115) bra `, `^$`,
		"skips work whose results are not used: empty blocks, noise without weight, absent inputs, rounding to float32, ends of whole pairs, sums that are not asked for",
	},
	{
		"delete", []kernel{squaresKernel}, `^@%p(26|48|65|4) bra `, `^$`,
		"the same",
	},
	{
		"delete", []kernel{gradKernel}, `^@%p(66|83) bra `, `^$`,
		"the same",
	},
	{
		"number", []kernel{stepKernel}, `^add\.rn\.f32 .*, 0f3F000000$`, `0f3F000001$`,
		"½ or a little more matters for the words 0 to 7",
	},
	{
		"number", []kernel{stepKernel}, `^add\.s32 .*, (536870912|1610612736)$`, ``,
		"one word in 2²⁹ is at such a boundary",
	},
	{
		"rounding", []kernel{stepKernel}, `^cvt\.rn\.f32\.s32 `, ``,
		"an exponent is a small integer",
	},
	{
		"number", []kernel{sumRowsKernel}, `^mov\.f64 .*, 0d0000000000000000$`, `0d8000000000000000$`,
		"-0 and a sum of squares are the sum of squares",
	},
	{
		"relation", []kernel{sumRowsKernel}, `^setp\.gt\.u32 %p3, %r14, 31$`, `^setp\.ge\.`,
		"32 sums are added of fewer: beyond the last sum of a row threads have 0",
	},
	{
		"number", []kernel{sumRowsKernel}, `^setp\.gt\.u32 %p3, %r14, 31$`, `, 30$`,
		"the same",
	},
	{
		"guard", []kernel{sumRowsKernel}, `^@%p3 bra LBB0_7$`, `^bra LBB0_7$`,
		"the same",
	},
	{
		"number", []kernel{sumRowsKernel}, `^shfl\.sync\.idx\.b32 .*, 0, 31, -1$`, `, 32, -1$`,
		"a limit of 32 is one of 0, and thread 0 is read",
	},
	{
		"number", []kernel{sumRowsKernel}, `^shfl\.sync\.idx\.b32 .*, (\d|[12]\d|30|%r95), 31, -1$`, `, 30, -1$`,
		"the thread whose sum is read is not number 31",
	},
	{
		"operator", []kernel{sumRowsKernel}, `^shfl\.sync\.idx\.`, `^shfl\.sync\.bfly\.`,
		"thread 0, which stores the sum, gets the same",
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
