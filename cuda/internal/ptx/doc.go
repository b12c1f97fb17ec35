// Package ptx reads and executes a subset of NVIDIA's PTX assembly. The subset is
// what clang emits for kernels of element-wise arithmetic, reductions and shuffles.
// So tests run the very code that a GPU would run, on a machine without a GPU.
//
// [Parse] refuses whatever it does not understand, down to the last modifier.
// [Kernel.Launch] then executes a grid on a [Memory]. It is stricter than a GPU: what
// PTX leaves undefined is a [Fault], and so is an error that a GPU hides. A fault
// names the kernel, the line, the instruction, the thread and the address. These are
// faults:
//
//   - An access leaves its allocation or shared variable, even if it hits another one.
//   - An access is misaligned, or uses memory after free.
//   - A thread reads memory or a register that nobody has written.
//   - A data race: two threads of a launch access a byte, and at least one writes. They
//     are not both atomic, and no barrier lies between.
//   - ld.global.nc reads bytes that the launch writes.
//   - Not every thread of the block reaches a bar.sync at the same instruction.
//   - The member mask of shfl.sync, vote.sync or bar.warp.sync names a thread that has
//     exited or is elsewhere. Or a shuffle reads a lane that takes no part.
//   - A bra.uni is not uniform, an integer is divided by zero, or a trap is reached.
//   - A launch takes more instructions than a limit. So nothing hangs.
//
// # Model
//
// A warp executes in lockstep. Where a branch divides it, one side runs first, which
// the seed decides. Both sides meet again at the immediate postdominator of the
// branch. So synchronising instructions need convergence, as they did before Volta.
// Code in which diverged threads wait for each other is refused, although sm_70 runs
// it.
//
// The warps of a block run from barrier to barrier in an order that the seed decides,
// and so do the blocks of a grid one after another. Code that spins until another
// warp acts reaches the limit. Atomics order nothing, and fences are not in the
// subset. So results that one block hands to another in one launch count as a race.
//
// Arithmetic is that of the PTX ISA 6.3 without .ftz: IEEE 754 with subnormals. neg
// and abs change only the sign bit. NaN results are those of the hardware: 0x7fffffff
// in float32 arithmetic, 0x7ff8000000000000 in float64 arithmetic, and 0x7fff in a
// conversion to float16. The manual promises only "a NaN".
package ptx
