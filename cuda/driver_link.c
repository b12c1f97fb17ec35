//go:build cuda && linux && (amd64 || arm64)

// How a program finds CUDA's driver: it starts without libcuda.so.1, and looks for it
// when it first calls a function of it. Linked in the usual way, it would not start
// without the library. And gorgonia.org/cu calls cuInit when the program starts, which
// would end the program on a machine without a GPU. So this file defines every function
// of the driver that the program calls, hidden from the program's libraries. Each is a
// jump to the driver's function, or to one that fails. Before the first call it is a jump
// that starts the driver and goes on. By then main has set its environment variables.
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#define HIDDEN __attribute__((visibility("hidden")))

static int missing(void) { return 3; } // CUDA_ERROR_NOT_INITIALIZED

#define FUNCTION(name)            \
  extern char cps_lazy_##name[]; \
  HIDDEN void *cps_driver_##name = cps_lazy_##name;
#include "driver_functions.h"
#undef FUNCTION

// The jumps. A lazy jump leaves the address of its pointer in a register that no call
// uses for an argument. cps_driver_lazy keeps all arguments.
#define START(name) ".globl " #name "\n.hidden " #name "\n.type " #name ", %function\n" #name ":\n"
#ifdef __x86_64__
#define FUNCTION(name)                               \
  __asm__(".text\n" START(name)                      \
          "jmp *cps_driver_" #name "(%rip)\n"        \
          START(cps_lazy_##name)                     \
          "lea cps_driver_" #name "(%rip), %r11\n"   \
          "jmp cps_driver_lazy\n");
__asm__(".text\n" START(cps_driver_lazy)
        "push %rbp\nmov %rsp, %rbp\n"
        "sub $192, %rsp\nand $-16, %rsp\n"
        "mov %rdi, (%rsp)\nmov %rsi, 8(%rsp)\nmov %rdx, 16(%rsp)\nmov %rcx, 24(%rsp)\n"
        "mov %r8, 32(%rsp)\nmov %r9, 40(%rsp)\nmov %r11, 48(%rsp)\n"
        "movups %xmm0, 64(%rsp)\nmovups %xmm1, 80(%rsp)\nmovups %xmm2, 96(%rsp)\nmovups %xmm3, 112(%rsp)\n"
        "movups %xmm4, 128(%rsp)\nmovups %xmm5, 144(%rsp)\nmovups %xmm6, 160(%rsp)\nmovups %xmm7, 176(%rsp)\n"
        "call cps_driver_start\n"
        "mov (%rsp), %rdi\nmov 8(%rsp), %rsi\nmov 16(%rsp), %rdx\nmov 24(%rsp), %rcx\n"
        "mov 32(%rsp), %r8\nmov 40(%rsp), %r9\nmov 48(%rsp), %r11\n"
        "movups 64(%rsp), %xmm0\nmovups 80(%rsp), %xmm1\nmovups 96(%rsp), %xmm2\nmovups 112(%rsp), %xmm3\n"
        "movups 128(%rsp), %xmm4\nmovups 144(%rsp), %xmm5\nmovups 160(%rsp), %xmm6\nmovups 176(%rsp), %xmm7\n"
        "mov %rbp, %rsp\npop %rbp\n"
        "jmp *(%r11)\n");
#else
#define FUNCTION(name)                                \
  __asm__(".text\n" START(name)                       \
          "adrp x17, cps_driver_" #name "\n"          \
          "add x17, x17, :lo12:cps_driver_" #name "\n" \
          "ldar x16, [x17]\n" /* what start did is seen */ \
          "br x16\n"                                  \
          START(cps_lazy_##name)                      \
          "b cps_driver_lazy\n"); // x17 is as above
__asm__(".text\n" START(cps_driver_lazy)
        "stp x29, x30, [sp, #-224]!\nmov x29, sp\n"
        "stp x0, x1, [sp, #16]\nstp x2, x3, [sp, #32]\nstp x4, x5, [sp, #48]\nstp x6, x7, [sp, #64]\n"
        "stp x8, x17, [sp, #80]\n"
        "stp q0, q1, [sp, #96]\nstp q2, q3, [sp, #128]\nstp q4, q5, [sp, #160]\nstp q6, q7, [sp, #192]\n"
        "bl cps_driver_start\n"
        "ldp x0, x1, [sp, #16]\nldp x2, x3, [sp, #32]\nldp x4, x5, [sp, #48]\nldp x6, x7, [sp, #64]\n"
        "ldp x8, x17, [sp, #80]\n"
        "ldp q0, q1, [sp, #96]\nldp q2, q3, [sp, #128]\nldp q4, q5, [sp, #160]\nldp q6, q7, [sp, #192]\n"
        "ldp x29, x30, [sp], #224\n"
        "ldar x16, [x17]\n"
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

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int result = 3;
static const char *absent;

static void start(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (!library) absent = strdup(dlerror());
  int (*init)(unsigned) = library ? (int (*)(unsigned))dlsym(library, "cuInit") : NULL;
  if (init) result = init(0);
  // A thread that finds a function also finds the driver started.
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *f = library ? dlsym(library, functions[i].name) : NULL;
    __atomic_store_n(functions[i].function, f ? f : (void *)missing, __ATOMIC_RELEASE);
  }
}

HIDDEN void cps_driver_start(void) { pthread_once(&once, start); }

// gorgonia.org/cu calls cuInit when the program starts. The driver's cuInit would end a
// program without a driver, and would come before main changes the environment.
HIDDEN int cuInit(unsigned flags) {
  (void)flags;
  return 0;
}

// cps_cuda_init starts the driver, once. It returns the result of the driver's cuInit. It
// stores in why the reason for a missing driver, or null.
HIDDEN int cps_cuda_init(const char **why) {
  cps_driver_start();
  *why = absent;
  return result;
}
