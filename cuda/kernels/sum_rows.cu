// sum_rows adds the sums of the blocks of every row, in order, in float64. A warp does
// a row: its threads read 32 sums at once and all add them.
#include "target.h"

KERNEL(8) sum_rows(double *sq, const float *sums, u32 blocks, u32 rows) {
  const u32 i = thread() % WARP;
  for (u32 row = warp(); row < rows; row += warps()) {
    const float *s = sums + (u64)row * blocks;
    double t = 0;
    float mine = i < blocks ? s[i] : 0;
    for (u32 b = 0; b < blocks; b += WARP) {
      float now = mine;
      u32 ahead = b + WARP + i;
      mine = ahead < blocks ? s[ahead] : 0; // on its way while these are added
      u32 n = blocks - b < WARP ? blocks - b : WARP;
      for (u32 k = 0; k < n; k++) t = add(t, (double)broadcast(now, k));
    }
    if (i == 0) sq[row] = t;
  }
}
