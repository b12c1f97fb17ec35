// grad adds scale·(next - (X·x + V·v)) to dst. The field e of a row is its
// scale.
#include "pass.h"

// Types holds the storage types of dst, next, x and v, eight bits each.
KERNEL(5) grad(char *dst, const char *result, const char *x, const char *v, u32 types,
            const Row *table, float row_x, float row_v, float row_e, u64 dim, u32 blocks,
            u32 items, u32 by_row, u32 by_block) {
  const Shape s = {dim, blocks, items, by_row, by_block};
  const Row all = {row_x, row_v, row_e, 0, 0, 0};
  Item item = first(s);
  if (item.index >= s.items) return;
  do {
    Row r = pick(table, all, item.row);
    const u64 e = start(item, s);
    const u32 n = length(item, s);
    const Latents out = block(dst, types & 255, e);
    const Latents in_y = block(result, types >> 8 & 255, e);
    const Latents in_x = block(x, r.x == 0 ? ABSENT : types >> 16 & 255, e);
    const Latents in_v = block(v, r.v == 0 ? ABSENT : types >> 24, e);
    const bool joined = out.type != FLOAT32 && in_y.type != FLOAT32 && in_x.type != FLOAT32 && in_v.type != FLOAT32;
    const bool all_aligned = aligned(out) && aligned(in_y) && aligned_or_absent(in_x) && aligned_or_absent(in_v);
    absent(&r);

    for (u32 k = 0; k < 4; k++) {
      const Pair p = pair(k, n, joined, all_aligned);
      if (p.n_a == 0) break;
      u32 w[8] = {}, wy[8] = {}, wx[8] = {}, wv[8] = {};
      fetch(w, out, p);
      fetch(wy, in_y, p);
      fetch_unless_absent(wx, in_x, p);
      fetch_unless_absent(wv, in_v, p);
      float g[8], fy[8], fx[8], fv[8], m[8];
      widen(g, w, out.type);
      widen(fy, wy, in_y.type);
      widen_or_one(fx, wx, in_x.type);
      widen_or_one(fv, wv, in_v.type);
      mean(m, fx, fv, r);
      UNROLL
      for (u32 i = 0; i < 8; i++) g[i] = add(g[i], mul(r.e, sub(fy[i], m[i])));
      narrow(w, g, out.type);
      put(out, w, p);
    }
  } while (next(&item, s));
}
