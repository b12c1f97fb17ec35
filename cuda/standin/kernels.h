// The kernels of cuda/kernels, compiled for a processor.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

// What kernels/target.h expects of a processor. warp.cpp implements it.
float exchange(float f, unsigned mask);
double broadcast(double f, unsigned i);
unsigned thread();
unsigned warp();
unsigned warps();

struct Kernel {
  const char *name;
  unsigned parameters;
  unsigned max_threads; // of a group
  std::function<void()> (*bind)(const std::vector<uint64_t> &args);
};

extern const Kernel kernels[];
extern const unsigned kernel_count;
