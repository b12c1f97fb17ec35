// Threads of a GPU on a processor. A kernel runs warp by warp. The 32 threads of a warp
// are fibers, which wait for each other where they exchange values.
#pragma once

#include <functional>

// A Group says where a group of threads is in its grid.
struct Group {
  unsigned index, groups; // of the grid
  unsigned threads;       // of a group, a multiple of 32
};

// run_group calls the kernel once for every thread of a group. It returns false if only
// some threads of a warp exchange values.
bool run_group(const Group &g, const std::function<void()> &kernel);
