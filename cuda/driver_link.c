//go:build cuda && linux && (amd64 || arm64)

// How a program finds CUDA's driver: it looks for libcuda.so.1 when it starts, and
// starts without it. Linked in the usual way it would not, and gorgonia.org/cu, which
// calls cuInit when the program starts, would end it on a machine without a GPU. So
// every function of the driver that the program calls is defined here, hidden from the
// program's libraries, as a jump to the driver's function, or to one that fails.
#include <dlfcn.h>
#include <stddef.h>

#define HIDDEN __attribute__((visibility("hidden")))

static int missing(void) { return 3; } // CUDA_ERROR_NOT_INITIALIZED

#define FUNCTION(name) HIDDEN void *cps_driver_##name = (void *)missing;
#include "driver_functions.h"
#undef FUNCTION

#define START(name) ".globl " #name "\n.hidden " #name "\n.type " #name ", %function\n" #name ":\n"
#ifdef __x86_64__
#define FUNCTION(name) __asm__(".text\n" START(name) "jmp *cps_driver_" #name "(%rip)\n");
#else // x16 is free between a call and the function
#define FUNCTION(name)                            \
  __asm__(".text\n" START(name)                   \
          "adrp x16, cps_driver_" #name "\n"      \
          "ldr x16, [x16, :lo12:cps_driver_" #name "]\n" \
          "br x16\n");
#endif
#include "driver_functions.h"
#undef FUNCTION

static const struct {
  const char *name;
  void **function;
} functions[] = {
#define FUNCTION(name) {#name, &cps_driver_##name},
#include "driver_functions.h"
#undef FUNCTION
};

static int result = 3;
static const char *absent;

// cuInit finds the driver, calls its cuInit and keeps the result for Open. It reports
// success, without which gorgonia.org/cu would end the program.
HIDDEN int cuInit(unsigned flags) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (!library) {
    absent = dlerror();
    return 0;
  }
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *f = dlsym(library, functions[i].name);
    if (f) *functions[i].function = f;
  }
  int (*init)(unsigned) = (int (*)(unsigned))dlsym(library, "cuInit");
  if (init) result = init(flags);
  return 0;
}

// The result of the driver's cuInit, and why there is no driver, or null.
HIDDEN int cps_cuda_init(const char **why) {
  *why = absent;
  return result;
}
