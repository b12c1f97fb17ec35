// Four normals of a stream: Philox4x32-10 and Box-Muller, as internal/kernel has them.
#pragma once

#include "constants.h"
#include "target.h"

// The noise of one row: all of the Philox counter but its first word, and the key.
struct Noise {
  u32 step, sample_lo, sample_hi, key_lo, key_hi;
};

DEVICE float radius(u32 x) {
  float v = add((float)x, 0.5f);
  const u32 half = 0x3f3504f3; // bits of the root of 1/2
  int k = (int)(bits(v) - (half + (32u << 23)));
  float e = mul((float)(k >> 23), log2x2);
  float f = add(number(((u32)k & 0x007fffff) + half), -1.0f);
  float p = add(mul(logC7, f), logC6);
  p = add(mul(p, f), logC5);
  p = add(mul(p, f), logC4);
  p = add(mul(p, f), logC3);
  p = add(mul(p, f), logC2);
  p = add(mul(p, f), logC1);
  p = add(mul(p, f), logC0);
  return root(add(mul(p, f), e));
}

DEVICE void sincos(u32 y, float *sin, float *cos) {
  float t = mul((float)(int)(y << 2), 1.0f / 2147483648.0f);
  float z = mul(t, t);
  float s = add(mul(sinC3, z), sinC2);
  s = add(mul(s, z), sinC1);
  s = add(mul(s, z), sinC0);
  s = mul(s, t);
  float c = add(mul(cosC3, z), cosC2);
  c = add(mul(c, z), cosC1);
  c = add(mul(c, z), cosC0);
  u32 q = y + (1u << 29);
  bool swap = q & 1u << 30;
  float a = swap ? c : s, b = swap ? s : c;
  *sin = number(bits(a) ^ (q & 1u << 31));
  *cos = number(bits(b) ^ (q + (1u << 30) & 1u << 31));
}

DEVICE void box_muller(u32 x, u32 y, float *g) {
  float r = radius(x), s, c;
  sincos(y, &s, &c);
  g[0] = mul(r, s);
  g[1] = mul(r, c);
}

// normals stores elements 4·chunk … 4·chunk + 3 in g.
DEVICE void normals(float *g, const Noise &n, u32 chunk) {
  u32 c0 = chunk, c1 = n.step, c2 = n.sample_lo, c3 = n.sample_hi;
  u32 k0 = n.key_lo, k1 = n.key_hi;
  UNROLL
  for (int i = 0; i < 10; i++) {
    const u32 high0 = high(philoxM0, c0), low0 = philoxM0 * c0;
    const u32 high1 = high(philoxM1, c2), low1 = philoxM1 * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += philoxW0;
    k1 += philoxW1;
  }
  box_muller(c0, c1, g);
  box_muller(c2, c3, g + 2);
}
