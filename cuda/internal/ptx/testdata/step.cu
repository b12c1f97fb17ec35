// A kernel like those of this module. It does four elements at a time, with a tail. It has
// integer hashing, float32 arithmetic rounded to nearest in a written order, a branch, and
// float16 results. A tree over a block in shared memory ends in shuffles.
//
// clang-14 -x cuda --cuda-device-only --cuda-gpu-arch=sm_70 -nocudainc -nocudalib
//   -Xclang -target-feature -Xclang +ptx63 -O3 -ffp-contract=off -S step.cu -o step.ptx
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;
struct alignas(16) f4 { float v[4]; };
struct alignas(8) h4 { u16 v[4]; };

enum { kBlock = 64 };

static __device__ float mul(float a, float b) { return __nvvm_mul_rn_f(a, b); }
static __device__ float add(float a, float b) { return __nvvm_add_rn_f(a, b); }

// A number in [-1, 1) from a hash of the index; its root where it is not negative.
static __device__ float noise(u32 i, u32 key) {
  u32 x = i * 0x9E3779B9u ^ key;
  x = __nvvm_mulhi_ui(x, 0xD2511F53u) ^ (x << 13 | x >> 19);
  float f = mul((float)(int)x, 0x1p-31f);
  return f < 0.0f ? f : __nvvm_sqrt_rn_f(f);
}

static __device__ float element(float x, u32 i, u32 key, float a, float b) {
  return add(mul(a, x), mul(b, noise(i, key)));
}

// out[i] = float16(a·x[i] + b·noise(i)) for i < n; sums[block] is the sum of the squares
// of the block's values before they are rounded.
extern "C" __global__ void step(u16 *out, double *sums, const float *x, u32 n, u32 key, float a, float b) {
  __shared__ float tree[kBlock];
  u32 t = __nvvm_read_ptx_sreg_tid_x(), k = __nvvm_read_ptx_sreg_ctaid_x();
  u32 i = 4 * (k * kBlock + t);
  float s = 0.0f;
  if (i + 4 <= n) {
    f4 q = *(const f4 *)(x + i);
    h4 h;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      float y = element(q.v[j], i + j, key, a, b);
      s = add(s, mul(y, y));
      h.v[j] = __builtin_bit_cast(u16, (__fp16)y);
    }
    *(h4 *)(out + i) = h;
  } else {
#pragma unroll 1
    for (; i < n; i++) {
      float y = element(x[i], i, key, a, b);
      s = add(s, mul(y, y));
      out[i] = __builtin_bit_cast(u16, (__fp16)y);
    }
  }
  tree[t] = s;
  __syncthreads();
  if (t >= 32) return;
  s = add(tree[t], tree[t + 32]);
#pragma unroll
  for (int d = 16; d > 0; d /= 2)
    s = add(s, __nvvm_shfl_sync_down_f32(0xffffffffu, s, d, 31));
  if (t == 0) sums[k] = (double)s;
}
