// sum_rows adds the sums of each row's blocks, in order, in float64. One warp does a
// row: its threads read 32 sums at once, and every thread adds all of them.
#include "target.h"

KERNEL(8) sum_rows(double *sq, const float *sums, u32 blocks, u32 rows) {
  const u32 i = thread() % WARP;
  for (u32 row = warp(); row < rows; row += warps()) {
    const float *s = sums + (u64)row * blocks;
    double t = 0;
    float mine = i < blocks ? s[i] : 0;
    // The chain of additions bounds a row, so nothing else is in the chain. Every
    // thread widens its own sum, and all get the 32 sums at once.
    for (u32 b = WARP; b <= blocks; b += WARP) {
      const double now = mine;
      const u32 ahead = b + i;
      mine = ahead < blocks ? s[ahead] : 0; // is read while these sums are added
      UNROLL
      for (u32 k = 0; k < WARP; k++) t = add(t, broadcast(now, k));
    }
    const double rest = mine;
    for (u32 k = 0; k < blocks % WARP; k++) t = add(t, broadcast(rest, k));
    if (i == 0) sq[row] = t;
  }
}
