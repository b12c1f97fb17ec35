// What the kernels need of their target, which is either an NVIDIA GPU, through
// clang and without any CUDA SDK, or a processor (STANDIN), where the threads of a
// warp are fibers of cuda/standin.
//
// Floating point is float32 addition, multiplication and square root rounded to
// nearest even, one at a time: the GPU's operations say so, and the compiler must be
// told not to fuse (-ffp-contract=off).
#pragma once

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define INLINE static inline __attribute__((always_inline))
#define WARP 32u // threads of a warp

#ifndef STANDIN

#define DEVICE INLINE __attribute__((device))
// A kernel runs in groups of 128 threads, at least so many on a multiprocessor: that
// bounds its registers.
#define KERNEL(groups) extern "C" __attribute__((global, launch_bounds(128, groups))) void
#define UNROLL _Pragma("unroll")

DEVICE u32 bits(float f) { return __builtin_bit_cast(u32, f); }
DEVICE float number(u32 b) { return __builtin_bit_cast(float, b); }
DEVICE float add(float a, float b) { return __nvvm_add_rn_f(a, b); }
DEVICE float mul(float a, float b) { return __nvvm_mul_rn_f(a, b); }
DEVICE float root(float a) { return __nvvm_sqrt_rn_f(a); }
DEVICE double add(double a, double b) { return __nvvm_add_rn_d(a, b); }
// high returns the upper word of a product; ptxas makes it and the lower one at once.
DEVICE u32 high(u32 a, u32 b) { return __nvvm_mulhi_ui(a, b); }

DEVICE u16 half_of(float f) {
  u16 h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return h;
}
DEVICE float half_to_float(u16 h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}

// exchange returns the f of the thread whose number differs in the bits of mask.
DEVICE float exchange(float f, u32 mask) {
  return __nvvm_shfl_sync_bfly_f32(0xffffffff, f, mask, 0x1f);
}
// broadcast returns the f of thread i of the warp.
DEVICE float broadcast(float f, u32 i) {
  return __nvvm_shfl_sync_idx_f32(0xffffffff, f, i, 0x1f);
}

DEVICE u32 thread() { return __nvvm_read_ptx_sreg_tid_x(); }
// The number of the thread's warp in the grid, and how many there are.
DEVICE u32 warp() {
  return (u32)__nvvm_read_ptx_sreg_ctaid_x() * ((u32)__nvvm_read_ptx_sreg_ntid_x() / WARP) + thread() / WARP;
}
DEVICE u32 warps() {
  return (u32)__nvvm_read_ptx_sreg_nctaid_x() * ((u32)__nvvm_read_ptx_sreg_ntid_x() / WARP);
}

#else

#include <cmath>
#include <cstring>

#define DEVICE INLINE
#define KERNEL(groups) static void
#define UNROLL

float exchange(float f, u32 mask);
float broadcast(float f, u32 i);
u32 thread();
u32 warp();
u32 warps();

DEVICE u32 bits(float f) {
  u32 b;
  memcpy(&b, &f, 4);
  return b;
}
DEVICE float number(u32 b) {
  float f;
  memcpy(&f, &b, 4);
  return f;
}
DEVICE float add(float a, float b) { return a + b; }
DEVICE float mul(float a, float b) { return a * b; }
DEVICE float root(float a) { return sqrtf(a); }
DEVICE double add(double a, double b) { return a + b; }
DEVICE u32 high(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }

DEVICE u16 half_of(float f) {
  u32 sign = bits(f) >> 16 & 0x8000, a = bits(f) & 0x7fffffff;
  if (a > 0x7f800000) return 0x7fff;
  if (a >= 0x477ff000) return sign | 0x7c00; // rounds to 2^16 or more
  if (a < 0x38800000) // below 2^-14: adding 1/2 leaves multiples of 2^-24 in the low bits
    return sign | (bits(number(a) + 0.5f) - 0x3f000000);
  return sign | (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13;
}
DEVICE float half_to_float(u16 h) {
  u32 sign = (u32)(h & 0x8000) << 16, a = h & 0x7fff;
  if (a >= 0x7c00) return number(sign | 0x7f800000 | (a & 0x3ff) << 13);
  if (a < 0x400) return number(sign | bits((float)a * 0x1p-24f));
  return number(sign | ((a << 13) + 0x38000000));
}

#endif

DEVICE float sub(float a, float b) { return add(a, -b); }
