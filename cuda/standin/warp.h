// Threads of a GPU on a processor: a kernel runs warp by warp, the 32 threads of a warp
// as fibers that wait for each other where they exchange values.
#pragma once

#include <functional>

// A Group is where a group of threads is in its grid.
struct Group {
  unsigned index, groups; // of the grid
  unsigned threads;       // of a group, a multiple of 32
};

// run_group calls the kernel once for every thread of a group. It returns false if some
// threads of a warp exchange values and others do not.
bool run_group(const Group &g, const std::function<void()> &kernel);
