//go:build cuda && linux && !amd64 && !arm64

// On other architectures a program needs libcuda.so.1 to start, and the driver starts
// with it. What main sets in the environment comes too late. The hidden cuInit replaces
// the driver's and keeps the result. Otherwise gorgonia.org/cu would end the program on a
// failure.
#define _GNU_SOURCE
#include <dlfcn.h>

static int result = 3; // CUDA_ERROR_NOT_INITIALIZED

__attribute__((visibility("hidden"))) int cuInit(unsigned flags) {
  int (*init)(unsigned) = (int (*)(unsigned))dlsym(RTLD_NEXT, "cuInit");
  if (init) result = init(flags);
  return 0;
}

__attribute__((visibility("hidden"))) int cps_cuda_init(const char **why) {
  *why = 0;
  return result;
}
