// A libcuda.so.1 for tests on machines without a GPU. It has the functions of CUDA's
// driver that cps/cuda calls, and two devices. Streams are threads, so calls return
// before they have run. The kernels are the committed sources, compiled for the
// processor.
//
// It is stricter than CUDA. A handle of another context is an error. Host memory of
// copies must be pinned. New memory is not zero, and freed memory is overwritten. The
// functions at the end are for tests: they count what was not returned, and make
// calls fail.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kernels.h"
#include "warp.h"

namespace {

enum Result {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  no_device = 100,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  invalid_ptx = 218,
  invalid_handle = 400,
  not_found = 500,
  not_ready = 600,
  illegal_address = 700,
  launch_failed = 719,
};

const int most_devices = 2;
int devices;                // number that CUDA_VISIBLE_DEVICES shows
int physical[most_devices]; // their numbers without it

// The failure of queued work. Afterwards every call that uses a GPU returns it, also
// calls that free things: CUDA does not recover.
std::atomic<int> fault{success};

struct Context {
  int device;
  bool destroyed = false; // threads may still have it, so it is kept
};

// A Stream runs its queue on a thread of its own.
struct Stream {
  Context *context;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<int()>> queue;
  uint64_t queued = 0, finished = 0;
  bool stop = false;
  std::thread worker;

  explicit Stream(Context *c) : context(c), worker([this] { work(); }) {}
  ~Stream() {
    {
      std::lock_guard<std::mutex> l(mutex);
      stop = true;
    }
    changed.notify_all();
    worker.join();
  }
  void work() {
    std::unique_lock<std::mutex> l(mutex);
    for (;;) {
      changed.wait(l, [this] { return stop || !queue.empty(); });
      if (queue.empty()) return;
      auto f = std::move(queue.front());
      queue.pop_front();
      l.unlock();
      if (fault == success) {
        int failed = f(), none = success;
        fault.compare_exchange_strong(none, failed);
      }
      l.lock();
      finished++;
      changed.notify_all();
    }
  }
  void add(std::function<int()> f) {
    std::lock_guard<std::mutex> l(mutex);
    queue.push_back(std::move(f));
    queued++;
    changed.notify_all();
  }
  void drain() {
    std::unique_lock<std::mutex> l(mutex);
    changed.wait(l, [this] { return queue.empty() && finished == queued; });
  }
};

struct Event {
  Context *context;
  Stream *stream = nullptr;
  uint64_t after = 0; // calls of the stream before it
  std::shared_ptr<std::chrono::steady_clock::time_point> reached = nullptr; // when it ran
};

struct Function {
  Context *context;
  const Kernel *kernel;
};

struct Module {
  Context *context;
  std::map<std::string, Function> functions;
};

struct Memory {
  Context *context;
  size_t size;
};

std::mutex mu; // guards all that follows
bool initialized;
Context primary[most_devices];
int retained[most_devices];
std::set<Context *> contexts;
std::map<Stream *, std::shared_ptr<Stream>> streams;
std::map<Context *, std::shared_ptr<Stream>> default_streams;
std::map<Event *, std::unique_ptr<Event>> events;
std::map<Module *, std::unique_ptr<Module>> modules;
std::map<uintptr_t, Memory> memory, pinned;
size_t limit = SIZE_MAX;

struct Rule {
  std::string call;
  long nth; // from now, counting from 1
  int code;
} rule;
std::map<std::string, long> calls;

thread_local std::vector<Context *> stack;

// fails counts a call. It returns the code with which the call must fail, or success.
int fails(const char *call) {
  std::lock_guard<std::mutex> l(mu);
  calls[call]++;
  if (rule.nth > 0 && (rule.call == "*" || rule.call == call) && --rule.nth == 0) return rule.code;
  return success;
}

#define ENTER(name)                      \
  if (int failure = fails(name)) return failure; \
  if (!initialized) return not_initialized

// Functions that return memory and handles do so even if they fail: CUDA may report
// an earlier failure there.
#define LEAVE(name)             \
  int failure = fails(name);    \
  if (!initialized) return not_initialized

#define SOUND if (int f = fault) return f

// current returns the context of this thread, or null.
Context *current() { return stack.empty() ? nullptr : stack.back(); }

#define CURRENT(c)             \
  Context *c = current();      \
  if (!c) return invalid_context

// find returns a stream of a context, or null. Handle 1 is CU_STREAM_LEGACY.
Stream *find(void *handle, Context *c) {
  std::lock_guard<std::mutex> l(mu);
  if ((uintptr_t)handle <= 1) {
    auto &s = default_streams[c];
    if (!s) s.reset(new Stream(c));
    return s.get();
  }
  auto it = streams.find((Stream *)handle);
  return it != streams.end() && it->first->context == c ? it->first : nullptr;
}

// inside reports whether n bytes lie in one allocation of a context, or of any.
bool inside(const std::map<uintptr_t, Memory> &all, uintptr_t p, size_t n, Context *c) {
  std::lock_guard<std::mutex> l(mu);
  auto it = all.upper_bound(p);
  if (it == all.begin()) return false;
  --it;
  return p - it->first + n <= it->second.size && (!c || it->second.context == c);
}

void drain(Context *c) {
  std::vector<std::shared_ptr<Stream>> all; // keeps them if they are destroyed meanwhile
  {
    std::lock_guard<std::mutex> l(mu);
    for (auto &s : streams)
      if (s.first->context == c) all.push_back(s.second);
    if (default_streams.count(c)) all.push_back(default_streams[c]);
  }
  for (auto &s : all) s->drain();
}

int release(std::map<uintptr_t, Memory> &all, uintptr_t p) {
  std::lock_guard<std::mutex> l(mu);
  auto it = all.find(p);
  if (it == all.end()) return invalid_value;
  memset((void *)p, 0xee, it->second.size);
  free((void *)p);
  all.erase(it);
  return success;
}

int copy(Stream *s, void *dst, const void *src, size_t n) {
  s->add([=] {
    memcpy(dst, src, n);
    return (int)success;
  });
  return success;
}

} // namespace

extern "C" {

int cuInit(unsigned) {
  if (const char *e = getenv("STANDIN_FAIL")) { // call=code
    const char *eq = strchr(e, '=');
    if (eq) rule = {std::string(e, eq - e), 1, atoi(eq + 1)};
  }
  if (int failure = fails("cuInit")) return failure;
  const char *visible = getenv("CUDA_VISIBLE_DEVICES"); // numbers, separated by commas
  devices = 0;
  for (const char *c = visible ? visible : "0,1"; *c && devices < most_devices; c++) {
    if (*c != ',' && (*c < '0' || *c >= '0' + most_devices)) break; // CUDA stops there, too
    if (*c != ',') physical[devices++] = *c - '0';
  }
  if (devices == 0) return no_device;
  for (int i = 0; i < devices; i++) primary[i].device = i;
  initialized = true;
  return success;
}

int cuDriverGetVersion(int *v) {
  *v = 11080;
  return success;
}

int cuGetErrorString(int code, const char **text) {
  static const std::map<int, const char *> texts = {
      {invalid_value, "invalid argument"}, {out_of_memory, "out of memory"},
      {not_initialized, "initialization error"}, {no_device, "no CUDA-capable device is detected"},
      {invalid_device, "invalid device ordinal"}, {invalid_context, "invalid device context"},
      {invalid_ptx, "a PTX JIT compilation failed"}, {invalid_handle, "invalid resource handle"},
      {not_found, "named symbol not found"}, {not_ready, "device not ready"},
      {illegal_address, "an illegal memory access was encountered"},
      {launch_failed, "unspecified launch failure"}};
  auto it = texts.find(code);
  if (it == texts.end()) return invalid_value;
  *text = it->second;
  return success;
}

int cuDeviceGetCount(int *n) {
  ENTER("cuDeviceGetCount");
  *n = devices;
  return success;
}

int cuDeviceGet(int *d, int ordinal) {
  ENTER("cuDeviceGet");
  if (ordinal < 0 || ordinal >= devices) return invalid_device;
  *d = ordinal;
  return success;
}

int cuDeviceGetName(char *name, int n, int d) {
  ENTER("cuDeviceGetName");
  if (d < 0 || d >= devices) return invalid_device;
  strncpy(name, physical[d] == 0 ? "stand-in 0" : "stand-in 1", n);
  return success;
}

int cuDeviceTotalMem_v2(size_t *bytes, int) {
  ENTER("cuDeviceTotalMem");
  *bytes = (size_t)1 << 30;
  return success;
}

int cuDeviceGetAttribute(int *value, int attribute, int) {
  ENTER("cuDeviceGetAttribute");
  if (attribute != 16) return invalid_value; // MULTIPROCESSOR_COUNT
  *value = 1;
  return success;
}

int cuDevicePrimaryCtxRetain(void **c, int d) {
  ENTER("cuDevicePrimaryCtxRetain");
  SOUND;
  std::lock_guard<std::mutex> l(mu);
  retained[d]++;
  *c = &primary[d];
  return success;
}

int cuDevicePrimaryCtxRelease_v2(int d) {
  LEAVE("cuDevicePrimaryCtxRelease");
  std::lock_guard<std::mutex> l(mu);
  if (retained[d] == 0) return invalid_context;
  retained[d]--;
  return failure ? failure : (int)fault;
}

int cuCtxCreate_v2(void **c, unsigned, int d) {
  ENTER("cuCtxCreate");
  SOUND;
  Context *n = new Context;
  n->device = d;
  std::lock_guard<std::mutex> l(mu);
  contexts.insert(n);
  stack.push_back(n);
  *c = n;
  return success;
}

int cuCtxDestroy_v2(void *c) {
  LEAVE("cuCtxDestroy");
  drain((Context *)c);
  std::lock_guard<std::mutex> l(mu);
  if (!contexts.erase((Context *)c)) return invalid_context;
  if (current() == c) stack.pop_back();
  default_streams.erase((Context *)c);
  ((Context *)c)->destroyed = true;
  return failure ? failure : (int)fault;
}

int cuCtxPushCurrent_v2(void *c) {
  ENTER("cuCtxPushCurrent");
  {
    std::lock_guard<std::mutex> l(mu);
    Context *x = (Context *)c;
    bool known = contexts.count(x);
    for (int i = 0; i < devices; i++) known |= x == &primary[i] && retained[i] > 0;
    if (!known) return invalid_context;
  }
  stack.push_back((Context *)c);
  return success;
}

int cuCtxPopCurrent_v2(void **c) {
  LEAVE("cuCtxPopCurrent");
  if (stack.empty()) return invalid_context;
  if (c) *c = stack.back();
  stack.pop_back();
  return failure;
}

int cuCtxGetCurrent(void **c) {
  ENTER("cuCtxGetCurrent");
  *c = current();
  return success;
}

int cuCtxSetCurrent(void *c) {
  ENTER("cuCtxSetCurrent");
  if (!stack.empty()) stack.pop_back();
  if (c) stack.push_back((Context *)c);
  return success;
}

int cuCtxGetDevice(int *d) {
  ENTER("cuCtxGetDevice");
  CURRENT(c);
  *d = c->device;
  return success;
}

int cuModuleLoadDataEx(void **m, const void *image, unsigned n, const int *options, void **values) {
  const int error_log = 5, error_log_size = 6;
  if (int failure = fails("cuModuleLoadDataEx")) {
    char *log = nullptr;
    size_t size = 0;
    for (unsigned i = 0; i < n; i++) {
      if (options[i] == error_log) log = (char *)values[i];
      if (options[i] == error_log_size) size = (size_t)values[i];
    }
    if (log && failure == invalid_ptx) snprintf(log, size, "line 1; fatal   : the stand-in was told to refuse this\n");
    return failure;
  }
  if (!initialized) return not_initialized;
  SOUND;
  CURRENT(c);
  std::unique_ptr<Module> module(new Module);
  module->context = c;
  for (unsigned i = 0; i < kernel_count; i++)
    if (strstr((const char *)image, (std::string(".visible .entry ") + kernels[i].name + "(").c_str()))
      module->functions[kernels[i].name] = {c, &kernels[i]};
  if (module->functions.empty()) return invalid_ptx;
  std::lock_guard<std::mutex> l(mu);
  *m = module.get();
  modules[module.get()] = std::move(module);
  return success;
}

int cuModuleUnload(void *m) {
  LEAVE("cuModuleUnload");
  CURRENT(c);
  std::lock_guard<std::mutex> l(mu);
  auto it = modules.find((Module *)m);
  if (it == modules.end() || it->first->context != c) return invalid_handle;
  modules.erase(it);
  return failure ? failure : (int)fault;
}

int cuModuleGetFunction(void **f, void *m, const char *name) {
  ENTER("cuModuleGetFunction");
  SOUND;
  std::lock_guard<std::mutex> l(mu);
  auto it = modules.find((Module *)m);
  if (it == modules.end()) return invalid_handle;
  auto fn = it->second->functions.find(name);
  if (fn == it->second->functions.end()) return not_found;
  *f = &fn->second;
  return success;
}

int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, void *function, int threads, size_t shared) {
  ENTER("cuOccupancyMaxActiveBlocksPerMultiprocessor");
  SOUND;
  CURRENT(c);
  Function *f = (Function *)function;
  if (!f || f->context != c) return invalid_handle;
  if (threads != (int)f->kernel->max_threads || shared != 0) return invalid_value;
  *n = 4;
  return success;
}

int cuStreamCreate(void **s, unsigned) {
  ENTER("cuStreamCreate");
  SOUND;
  CURRENT(c);
  std::shared_ptr<Stream> n(new Stream(c));
  std::lock_guard<std::mutex> l(mu);
  *s = n.get();
  streams[n.get()] = std::move(n);
  return success;
}

int cuStreamDestroy_v2(void *handle) {
  LEAVE("cuStreamDestroy");
  std::shared_ptr<Stream> gone; // joins its thread after the lock is free
  {
    std::lock_guard<std::mutex> l(mu);
    auto it = streams.find((Stream *)handle);
    if (it == streams.end()) return invalid_handle;
    gone = std::move(it->second);
    streams.erase(it);
  }
  return failure ? failure : (int)fault;
}

int cuStreamSynchronize(void *handle) {
  ENTER("cuStreamSynchronize");
  CURRENT(c);
  Stream *s = find(handle, c);
  if (!s) return invalid_handle;
  s->drain();
  return fault;
}

int cuStreamGetCtx(void *handle, void **c) {
  ENTER("cuStreamGetCtx");
  std::lock_guard<std::mutex> l(mu);
  auto it = streams.find((Stream *)handle);
  if (it == streams.end()) return invalid_handle;
  *c = it->first->context;
  return success;
}

int cuMemAlloc_v2(uint64_t *p, size_t n) {
  ENTER("cuMemAlloc");
  CURRENT(c);
  if (n == 0) return invalid_value;
  SOUND;
  std::lock_guard<std::mutex> l(mu);
  size_t used = 0;
  for (auto &m : memory) used += m.second.size;
  if (n > limit || used > limit - n) return out_of_memory;
  void *m = aligned_alloc(256, (n + 255) / 256 * 256);
  if (!m) return out_of_memory;
  memset(m, 0xa5, n);
  memory[(uintptr_t)m] = {c, n};
  *p = (uintptr_t)m;
  return success;
}

int cuMemFree_v2(uint64_t p) {
  LEAVE("cuMemFree");
  CURRENT(c);
  if (!inside(memory, p, 1, c)) return invalid_value;
  drain(c);
  int r = release(memory, p);
  return r ? r : failure ? failure : (int)fault;
}

int cuPointerGetAttributes(unsigned n, const int *attributes, void **values, uint64_t p) {
  ENTER("cuPointerGetAttributes");
  SOUND;
  CURRENT(now);
  std::lock_guard<std::mutex> l(mu);
  const Memory *found = nullptr;
  bool host = false;
  for (auto *all : {&memory, &pinned}) {
    auto it = all->upper_bound(p);
    if (it == all->begin() || p - std::prev(it)->first >= std::prev(it)->second.size) continue;
    found = &std::prev(it)->second;
    host = all == &pinned;
  }
  const int context = 1, type = 2, address = 3, managed = 8, ordinal = 9;
  for (unsigned i = 0; i < n; i++) switch (attributes[i]) {
    case context: *(void **)values[i] = found ? found->context : nullptr; break;
    case type: *(unsigned *)values[i] = !found ? 0 : host ? 1 : 2; break;
    case address: *(uint64_t *)values[i] = found && (host || found->context == now) ? p : 0; break;
    case managed: *(unsigned *)values[i] = 0; break;
    case ordinal: *(int *)values[i] = found ? found->context->device : -2; break;
    default: return invalid_value;
    }
  return success;
}

int cuFuncGetAttribute(int *, int, void *) {
  ENTER("cuFuncGetAttribute");
  return 801; // not supported: the stand-in has no registers
}

int cuMemHostAlloc(void **p, size_t n, unsigned) {
  ENTER("cuMemHostAlloc");
  CURRENT(c);
  SOUND;
  *p = malloc(n);
  memset(*p, 0xa5, n);
  std::lock_guard<std::mutex> l(mu);
  pinned[(uintptr_t)*p] = {c, n};
  return success;
}

int cuMemFreeHost(void *p) {
  LEAVE("cuMemFreeHost");
  CURRENT(c);
  drain(c);
  int r = release(pinned, (uintptr_t)p);
  return r ? r : failure ? failure : (int)fault;
}

int cuMemcpyHtoDAsync_v2(uint64_t dst, const void *src, size_t n, void *handle) {
  ENTER("cuMemcpyHtoDAsync");
  CURRENT(c);
  Stream *s = find(handle, c);
  if (!s) return invalid_handle;
  SOUND;
  if (!inside(memory, dst, n, c) || !inside(pinned, (uintptr_t)src, n, nullptr)) return invalid_value;
  return copy(s, (void *)dst, src, n);
}

int cuMemcpyDtoHAsync_v2(void *dst, uint64_t src, size_t n, void *handle) {
  ENTER("cuMemcpyDtoHAsync");
  CURRENT(c);
  Stream *s = find(handle, c);
  if (!s) return invalid_handle;
  SOUND;
  if (!inside(memory, src, n, c) || !inside(pinned, (uintptr_t)dst, n, nullptr)) return invalid_value;
  return copy(s, dst, (const void *)src, n);
}

int cuMemcpyDtoDAsync_v2(uint64_t dst, uint64_t src, size_t n, void *handle) {
  ENTER("cuMemcpyDtoDAsync");
  CURRENT(c);
  Stream *s = find(handle, c);
  if (!s) return invalid_handle;
  SOUND;
  if (!inside(memory, dst, n, c) || !inside(memory, src, n, c)) return invalid_value;
  return copy(s, (void *)dst, (const void *)src, n);
}

int cuEventCreate(void **e, unsigned) {
  ENTER("cuEventCreate");
  SOUND;
  CURRENT(c);
  std::unique_ptr<Event> n(new Event{c});
  std::lock_guard<std::mutex> l(mu);
  *e = n.get();
  events[n.get()] = std::move(n);
  return success;
}

int cuEventDestroy_v2(void *e) {
  LEAVE("cuEventDestroy");
  std::lock_guard<std::mutex> l(mu);
  if (!events.erase((Event *)e)) return invalid_handle;
  return failure ? failure : (int)fault;
}

int cuEventRecord(void *e, void *handle) {
  ENTER("cuEventRecord");
  SOUND;
  CURRENT(c);
  Stream *s = find(handle, c);
  std::lock_guard<std::mutex> l(mu);
  auto it = events.find((Event *)e);
  if (!s || it == events.end() || it->first->context != c) return invalid_handle;
  it->first->stream = s;
  auto reached = std::make_shared<std::chrono::steady_clock::time_point>();
  it->first->reached = reached;
  s->add([=] {
    *reached = std::chrono::steady_clock::now();
    return (int)success;
  });
  std::lock_guard<std::mutex> q(s->mutex);
  it->first->after = s->queued;
  return success;
}

int cuEventQuery(void *e) {
  ENTER("cuEventQuery");
  std::lock_guard<std::mutex> l(mu);
  auto it = events.find((Event *)e);
  if (it == events.end()) return invalid_handle;
  SOUND;
  Stream *s = it->first->stream;
  if (!s) return success;
  std::lock_guard<std::mutex> q(s->mutex);
  return s->finished >= it->first->after ? success : not_ready;
}

int cuEventSynchronize(void *e) {
  ENTER("cuEventSynchronize");
  std::shared_ptr<Stream> s;
  uint64_t after;
  {
    std::lock_guard<std::mutex> l(mu);
    auto it = events.find((Event *)e);
    if (it == events.end()) return invalid_handle;
    if (!it->first->stream) return success;
    auto own = streams.find(it->first->stream);
    s = own != streams.end() ? own->second : default_streams[it->first->context];
    after = it->first->after;
  }
  std::unique_lock<std::mutex> q(s->mutex);
  s->changed.wait(q, [&] { return s->finished >= after; });
  return fault;
}

int cuEventElapsedTime(float *ms, void *start, void *end) {
  ENTER("cuEventElapsedTime");
  SOUND;
  std::lock_guard<std::mutex> l(mu);
  auto a = events.find((Event *)start), b = events.find((Event *)end);
  if (a == events.end() || b == events.end() || !a->first->reached || !b->first->reached) return invalid_handle;
  *ms = std::chrono::duration<float, std::milli>(*b->first->reached - *a->first->reached).count();
  return success;
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *handle, void **params, void **extra) {
  ENTER("cuLaunchKernel");
  CURRENT(c);
  Stream *s = find(handle, c);
  Function *f = (Function *)function;
  if (!s || !f || f->context != c) return invalid_handle;
  SOUND;
  if (gx == 0 || gx > 0x7fffffff || gy != 1 || gz != 1 || by != 1 || bz != 1 || bx != f->kernel->max_threads ||
      shared != 0 || extra)
    return invalid_value;
  std::vector<uint64_t> args(f->kernel->parameters);
  for (size_t i = 0; i < args.size(); i++) memcpy(&args[i], params[i], 8);
  auto kernel = f->kernel->bind(args);
  s->add([=] {
    if (int failure = fails("kernel")) return failure;
    for (unsigned x = 0; x < gx; x++)
      if (!run_group({x, gx, bx}, kernel)) return (int)launch_failed;
    return (int)success;
  });
  return success;
}

// For tests.

// standin_fail makes the nth of the next calls of a function fail. "*" means all
// functions, and "kernel" launches that run. 0 ends this.
void standin_fail(const char *call, long nth, int code) {
  std::lock_guard<std::mutex> l(mu);
  rule = {call, nth, code};
}

// standin_pending reports whether the call that must fail is still to come.
int standin_pending() {
  std::lock_guard<std::mutex> l(mu);
  return rule.nth > 0;
}

// standin_calls returns how often a function was called.
long standin_calls(const char *call) {
  std::lock_guard<std::mutex> l(mu);
  return calls[call];
}

// standin_hold stops a stream after what is queued now, until standin_go. A null
// stream is the default stream of a context.
static std::mutex held_mutex;
static std::condition_variable held_changed;
static long held, gone;

int standin_hold(void *handle) {
  CURRENT(c);
  Stream *s = find(handle, c);
  if (!s) return invalid_handle;
  long mine;
  {
    std::lock_guard<std::mutex> l(held_mutex);
    mine = ++held;
  }
  s->add([=] {
    std::unique_lock<std::mutex> l(held_mutex);
    held_changed.wait(l, [=] { return gone >= mine; });
    return (int)success;
  });
  return success;
}

// standin_go ends the oldest hold.
void standin_go() {
  {
    std::lock_guard<std::mutex> l(held_mutex);
    gone++;
  }
  held_changed.notify_all();
}

// standin_restart clears a fault, as a new process does.
void standin_restart() { fault = success; }

// standin_limit bounds the memory of all devices together.
void standin_limit(size_t bytes) {
  std::lock_guard<std::mutex> l(mu);
  limit = bytes;
}

// standin_held returns the number of things of a kind that were not returned.
long standin_held(const char *kind) {
  std::lock_guard<std::mutex> l(mu);
  const std::string k = kind;
  if (k == "memory") return memory.size();
  if (k == "pinned") return pinned.size();
  if (k == "streams") return streams.size();
  if (k == "events") return events.size();
  if (k == "modules") return modules.size();
  if (k == "contexts") return contexts.size() + retained[0] + retained[1];
  if (k == "pushed") {
    long n = 0;
    for (auto *c : stack) n += !c->destroyed;
    return n;
  }
  return -1;
}
}
