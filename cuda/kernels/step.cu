// step stores X·x + V·v + Eps·noise, rounded to a type, in dst. It stores the sums of
// squares of the difference to X·x + V·v in sq, or those of blocks in sums.
#include "pass.h"

// Types holds four storage types of eight bits each: those of dst, x and v, and the
// type to round to. If dst is not float32, the last is the type of dst.
KERNEL(5) step(char *dst, const char *x, const char *v, u32 types, const Row *table, float row_x,
            float row_v, float row_e, u32 row_step, u64 row_sample, u32 row_block, u64 key, u64 dim,
            u32 blocks, u32 items, u32 by_row, u32 by_block, float *sums, double *sq) {
  const Shape s = {dim, blocks, items, by_row, by_block};
  const Row all = {row_x, row_v, row_e, row_step, row_sample, row_block};
  const u32 round = types >> 24;
  Item item = first(s);
  if (item.index >= s.items) return;
  do {
    Row r = pick(table, all, item.row);
    const u64 e = start(item, s);
    const u32 n = length(item, s);
    const Latents out = block(dst, types & 255, e);
    const Latents in_x = block(x, r.x == 0 ? ABSENT : types >> 8 & 255, e);
    const Latents in_v = block(v, r.v == 0 ? ABSENT : types >> 16 & 255, e);
    const bool joined = out.type != FLOAT32 && in_x.type != FLOAT32 && in_v.type != FLOAT32;
    const bool all_aligned = aligned(out) && aligned_or_absent(in_x) && aligned_or_absent(in_v);
    const bool noisy = r.e != 0;
    const Noise noise = {r.step, (u32)r.sample, (u32)(r.sample >> 32), (u32)key, (u32)(key >> 32)};
    const u32 chunk = r.block + item.block * 256; // where this block starts in the sample
    absent(&r);

    Sums sum = {};
    for (u32 k = 0; k < 4 && k * 64 < n; k++) {
      const Pair p = pair(k, n, joined, all_aligned);
      float d[8] = {};
      if (p.n_a > 0) {
        u32 wx[8] = {}, wv[8] = {}, w[8] = {};
        fetch_unless_absent(wx, in_x, p);
        fetch_unless_absent(wv, in_v, p);
        float fx[8], fv[8], m[8], y[8] = {};
        if (noisy) {
          normals(y, noise, chunk + p.a / 4);
          normals(y + 4, noise, chunk + p.b / 4);
        }
        widen_or_one(fx, wx, in_x.type);
        widen_or_one(fv, wv, in_v.type);
        mean(m, fx, fv, r);
        UNROLL
        for (u32 i = 0; i < 8; i++) y[i] = noisy ? add(mul(r.e, y[i]), m[i]) : m[i];
        narrow(w, y, round);
        if (round != FLOAT32) {
          widen(y, w, round);
          if (out.type == FLOAT32) narrow(w, y, FLOAT32);
        }
        put(out, w, p);
        UNROLL
        for (u32 i = 0; i < 8; i++) d[i] = sub(y[i], m[i]);
        if (!p.whole) clear(d, p);
      }
      if (sq) add_pair(&sum, d, joined);
    }
    if (sq) store(sums, sq, fold(sum, joined), item, s);
  } while (next(&item, s));
}
