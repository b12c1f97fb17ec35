// words computes the digests of DigestWords of internal/kernel over a range of words, for
// the functions of the kernels. Every thread has five sums. The package does not contain
// this kernel. On a GPU it covers all 2^32 words.
#include "../kernels/latents.h"
#include "../kernels/noise.h"

KERNEL(4) words(u64 *sums, u64 first, u64 count) {
  const u32 mine = warp() * WARP + thread() % WARP;
  u64 d[5] = {};
  for (u64 i = mine; i < count; i += warps() * WARP) {
    const u32 w = (u32)(first + i);
    const u64 m = 2 * (u64)w + 1;
    float s, c;
    sincos(w, &s, &c);
    d[0] += bits(radius(w)) * m;
    d[1] += bits(s) * m;
    d[2] += bits(c) * m;
    if ((w & 0x7fffffff) <= 0x7f800000) { // no NaN
      d[3] += (brain(number(w)) & 0xffff0000) * m;
      d[4] += bits(half_to_float(half_of(number(w)))) * m;
    }
  }
  UNROLL
  for (u32 k = 0; k < 5; k++) sums[mine * 5ull + k] = d[k];
}
