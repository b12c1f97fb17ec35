// squares stores the sums of squares of next - (X·x + V·v) in sq, or those of
// blocks in sums.
#include "pass.h"

// Types holds the storage types of next, x and v, eight bits each.
KERNEL(5) squares(const char *result, const char *x, const char *v, u32 types, const Row *table,
               float row_x, float row_v, u64 dim, u32 blocks, u32 items, u32 by_row, u32 by_block,
               float *sums, double *sq) {
  const Shape s = {dim, blocks, items, by_row, by_block};
  const Row all = {row_x, row_v, 0, 0, 0, 0};
  Item item = first(s);
  if (item.index >= s.items) return;
  do {
    Row r = pick(table, all, item.row);
    const u64 e = start(item, s);
    const u32 n = length(item, s);
    const Latents in_y = block(result, types & 255, e);
    const Latents in_x = block(x, r.x == 0 ? ABSENT : types >> 8 & 255, e);
    const Latents in_v = block(v, r.v == 0 ? ABSENT : types >> 16 & 255, e);
    const bool joined = in_y.type != FLOAT32 && in_x.type != FLOAT32 && in_v.type != FLOAT32;
    const bool all_aligned = aligned(in_y) && aligned_or_absent(in_x) && aligned_or_absent(in_v);
    absent(&r);

    Sums sum = {};
    for (u32 k = 0; k < 4 && k * 64 < n; k++) {
      const Pair p = pair(k, n, joined, all_aligned);
      float d[8] = {};
      if (p.n_a > 0) {
        u32 wy[8] = {}, wx[8] = {}, wv[8] = {};
        fetch(wy, in_y, p);
        fetch_unless_absent(wx, in_x, p);
        fetch_unless_absent(wv, in_v, p);
        float fy[8], fx[8], fv[8], m[8];
        widen(fy, wy, in_y.type);
        widen_or_one(fx, wx, in_x.type);
        widen_or_one(fv, wv, in_v.type);
        mean(m, fx, fv, r);
        UNROLL
        for (u32 i = 0; i < 8; i++) d[i] = sub(fy[i], m[i]);
        if (!p.whole) clear(d, p);
      }
      add_pair(&sum, d, joined);
    }
    store(sums, sq, fold(sum, joined), item, s);
  } while (next(&item, s));
}
