// Package ptx reads and executes the subset of NVIDIA's PTX assembly that clang
// emits for kernels of element-wise arithmetic, reductions and shuffles, so that
// tests can run the very code a GPU would get where there is none.
//
// [Parse] refuses whatever it does not understand, down to the last modifier.
// [Kernel.Launch] then executes a grid on a [Memory], and is stricter than a GPU:
// what PTX leaves undefined, and what a GPU does silently, is a [Fault] that names
// the kernel, the line, the instruction, the thread and the address:
//
//   - accesses outside of an allocation or a shared variable, also by a pointer
//     that went astray from another one; misaligned accesses; use after free;
//   - reads of memory and registers that nobody has written;
//   - data races: two threads of a launch touch a byte, at least one of them writes,
//     not both are atomic, and no barrier lies between; ld.global.nc of bytes that the
//     launch writes;
//   - bar.sync that not every thread of the block reaches, at the same instruction;
//   - shfl.sync, vote.sync and bar.warp.sync whose member mask names a thread that
//     has exited or is elsewhere, and shuffles from a lane that takes no part;
//   - bra.uni that is not uniform, integer division by zero, trap;
//   - more instructions than a limit: nothing hangs.
//
// # Model
//
// A warp executes in lockstep. Where a branch divides it, one side runs first (which
// one is drawn from the seed) and both meet again at the immediate postdominator of
// the branch, so the synchronising instructions need convergence, as they did before
// Volta; code that relies on diverged threads waiting for one another is refused
// although sm_70 would run it. The warps of a block run from barrier to barrier in an
// order drawn from the seed, the blocks of a grid one after another likewise. Code
// that spins until another warp acts runs into the limit. Atomics order nothing, and
// fences are not in the subset: results handed from block to block in one launch
// count as a race.
//
// Arithmetic is that of the PTX ISA 6.3 without .ftz: IEEE 754 with subnormals. A NaN
// result of float32 arithmetic is the hardware's 0x7fffffff, of float64 arithmetic
// 0x7ff8000000000000, of a conversion to float16 0x7fff (the manual promises only "a
// NaN"); neg and abs change just the sign bit.
package ptx
