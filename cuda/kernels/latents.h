// How a thread reads and writes latents: pairs of chunks of four elements.
//
// A warp does a block of 1024 elements, eight of its threads a quarter of 256, and
// every thread four pairs of chunks of its quarter. One pair of the eight threads is
// 64 elements. There are two ways to share these out:
//
//   apart: chunks i and 8+i of the sixteen, which are the same four sums of two groups
//          of 32. Threads read float32 in 16 bytes, side by side, and 16-bit types in 8.
//   joined: chunks 2i and 2i+1, for 16-bit types in 16 bytes.
//
// The elements and their arithmetic are the same; sums.h says how joined pairs find
// the thread that sums them.
#pragma once

#include "target.h"

// Storage types, those of package sampler, and of an input that is not read.
const u32 FLOAT32 = 0, BFLOAT16 = 1, FLOAT16 = 2, ABSENT = 3;

// Vectors, which the compiler reads and writes at once.
typedef u32 Words4 __attribute__((vector_size(16)));
typedef u32 Words2 __attribute__((vector_size(8)));

DEVICE void fetch4(u32 *w, const void *at) {
  const Words4 v = *(const Words4 *)at;
  w[0] = v[0], w[1] = v[1], w[2] = v[2], w[3] = v[3];
}
DEVICE void fetch2(u32 *w, const void *at) {
  const Words2 v = *(const Words2 *)at;
  w[0] = v[0], w[1] = v[1];
}
DEVICE void put4(void *at, const u32 *w) { *(Words4 *)at = Words4{w[0], w[1], w[2], w[3]}; }
DEVICE void put2(void *at, const u32 *w) { *(Words2 *)at = Words2{w[0], w[1]}; }

// Latents are one block of a buffer.
struct Latents {
  char *at;
  u32 type;
};

DEVICE u32 size(u32 type) { return type == FLOAT32 ? 4 : 2; }

// block returns the block that starts at element e of a buffer.
DEVICE Latents block(const void *buffer, u32 type, u64 e) {
  return {(char *)buffer + e * size(type), type};
}

DEVICE bool aligned(const Latents &l) { return l.type == ABSENT || ((u64)l.at & 15) == 0; }

// A Pair is where a thread's two chunks lie in the block.
struct Pair {
  u32 a, b;    // first elements
  u32 n_a, n_b; // elements that exist
  bool joined; // b is a + 4
  bool whole;  // all eight elements exist and addresses are aligned
};

// fetch reads a pair as words: one an element of float32, or one for two.
DEVICE void fetch(u32 *w, const Latents &l, const Pair &p) {
  if (l.type == FLOAT32) {
    const u32 *a = (const u32 *)l.at + p.a, *b = (const u32 *)l.at + p.b;
    if (p.whole) {
      fetch4(w, a);
      fetch4(w + 4, b);
      return;
    }
    UNROLL
    for (u32 i = 0; i < 4; i++) {
      w[i] = i < p.n_a ? a[i] : 0;
      w[4 + i] = i < p.n_b ? b[i] : 0;
    }
  } else if (l.type != ABSENT) {
    const u16 *a = (const u16 *)l.at + p.a, *b = (const u16 *)l.at + p.b;
    if (p.whole && p.joined) {
      fetch4(w, a);
      return;
    }
    if (p.whole) {
      fetch2(w, a);
      fetch2(w + 2, b);
      return;
    }
    UNROLL
    for (u32 i = 0; i < 2; i++) {
      w[i] = (2 * i < p.n_a ? a[2 * i] : 0) | (2 * i + 1 < p.n_a ? a[2 * i + 1] : 0) << 16;
      w[2 + i] = (2 * i < p.n_b ? b[2 * i] : 0) | (2 * i + 1 < p.n_b ? b[2 * i + 1] : 0) << 16;
    }
  }
}

// widen returns the values of words. Those of an absent input are 1.
DEVICE void widen(float *f, const u32 *w, u32 type) {
  if (type == FLOAT32) {
    UNROLL
    for (u32 i = 0; i < 8; i++) f[i] = number(w[i]);
  } else if (type == BFLOAT16) {
    UNROLL
    for (u32 i = 0; i < 4; i++) {
      f[2 * i] = number(w[i] << 16);
      f[2 * i + 1] = number(w[i] & 0xffff0000);
    }
  } else if (type == FLOAT16) {
    UNROLL
    for (u32 i = 0; i < 4; i++) {
      f[2 * i] = half_to_float((u16)w[i]);
      f[2 * i + 1] = half_to_float((u16)(w[i] >> 16));
    }
  } else {
    UNROLL
    for (u32 i = 0; i < 8; i++) f[i] = 1.0f;
  }
}

// brain rounds f to bfloat16, ties to even; its word is the upper half of the result.
DEVICE u32 brain(float f) {
  u32 b = bits(f);
  u32 r = b + 0x7fff + (b >> 16 & 1);
  return (b & 0x7fffffff) > 0x7f800000 ? b | 0x400000 : r;
}

// narrow rounds f to a type and stores the words in w.
DEVICE void narrow(u32 *w, const float *f, u32 type) {
  if (type == FLOAT32) {
    UNROLL
    for (u32 i = 0; i < 8; i++) w[i] = bits(f[i]);
  } else if (type == BFLOAT16) {
    UNROLL
    for (u32 i = 0; i < 4; i++) w[i] = brain(f[2 * i]) >> 16 | (brain(f[2 * i + 1]) & 0xffff0000);
  } else {
    UNROLL
    for (u32 i = 0; i < 4; i++) w[i] = half_of(f[2 * i]) | (u32)half_of(f[2 * i + 1]) << 16;
  }
}

// put writes a pair of words.
DEVICE void put(const Latents &l, const u32 *w, const Pair &p) {
  if (l.type == FLOAT32) {
    u32 *a = (u32 *)l.at + p.a, *b = (u32 *)l.at + p.b;
    if (p.whole) {
      put4(a, w);
      put4(b, w + 4);
      return;
    }
    UNROLL
    for (u32 i = 0; i < 4; i++) {
      if (i < p.n_a) a[i] = w[i];
      if (i < p.n_b) b[i] = w[4 + i];
    }
  } else {
    u16 *a = (u16 *)l.at + p.a, *b = (u16 *)l.at + p.b;
    if (p.whole && p.joined) {
      put4(a, w);
      return;
    }
    if (p.whole) {
      put2(a, w);
      put2(b, w + 2);
      return;
    }
    UNROLL
    for (u32 i = 0; i < 4; i++) {
      if (i < p.n_a) a[i] = (u16)(w[i / 2] >> 16 * (i % 2));
      if (i < p.n_b) b[i] = (u16)(w[2 + i / 2] >> 16 * (i % 2));
    }
  }
}
