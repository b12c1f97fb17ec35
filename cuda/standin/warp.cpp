#include "warp.h"

#include <ucontext.h>

#include <memory>

#include "kernels.h"

namespace {

const unsigned lanes = 32;
const size_t stack_size = 64 << 10;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool done;
  unsigned exchanges; // number that it has reached
  unsigned thread;    // index in the group
};

// What one thread of the processor runs.
struct Warp {
  Fiber fiber[lanes];
  ucontext_t scheduler;
  unsigned current;
  double values[2][lanes]; // of this exchange and the one before
  Group group;
  const std::function<void()> *kernel;
};

thread_local Warp *running;

void start() {
  Warp *w = running;
  (*w->kernel)();
  w->fiber[w->current].done = true;
  swapcontext(&w->fiber[w->current].context, &w->scheduler);
}

Fiber &self() { return running->fiber[running->current]; }

// wait gives f to the other threads of the warp, and returns the values of all.
const double *wait(double f) {
  Warp *w = running;
  Fiber &me = self();
  double *values = w->values[me.exchanges % 2];
  values[w->current] = f;
  me.exchanges++;
  swapcontext(&me.context, &w->scheduler);
  return values;
}

// run_warp runs all fibers in turns, from exchange to exchange.
bool run_warp(Warp *w, unsigned first) {
  for (unsigned i = 0; i < lanes; i++) {
    Fiber &f = w->fiber[i];
    if (!f.stack) f.stack.reset(new char[stack_size]);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = stack_size;
    f.context.uc_link = nullptr;
    makecontext(&f.context, start, 0);
    f.done = false;
    f.exchanges = 0;
    f.thread = first + i;
  }
  for (;;) {
    for (w->current = 0; w->current < lanes; w->current++)
      swapcontext(&w->scheduler, &self().context);
    for (unsigned i = 1; i < lanes; i++)
      if (w->fiber[i].done != w->fiber[0].done || w->fiber[i].exchanges != w->fiber[0].exchanges) return false;
    if (w->fiber[0].done) return true;
  }
}

} // namespace

float exchange(float f, unsigned mask) {
  const double *values = wait(f);
  return (float)values[running->current ^ mask];
}

double broadcast(double f, unsigned i) { return wait(f)[i]; }

unsigned thread() { return self().thread; }
unsigned warp() { return running->group.index * (running->group.threads / lanes) + self().thread / lanes; }
unsigned warps() { return running->group.groups * (running->group.threads / lanes); }

bool run_group(const Group &g, const std::function<void()> &kernel) {
  thread_local Warp w;
  running = &w;
  w.group = g;
  w.kernel = &kernel;
  for (unsigned first = 0; first < g.threads; first += lanes)
    if (!run_warp(&w, first)) return false;
  return true;
}
