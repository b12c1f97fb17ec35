#define STANDIN
#include "../kernels/target.h"

#include "../kernels/grad.cu"
#include "../kernels/squares.cu"
#include "../kernels/step.cu"
#include "../kernels/sum_rows.cu"
#include "../testdata/words.cu"

#include <tuple>
#include <utility>

#include "kernels.h"

namespace {

template <typename T> T argument(uint64_t cell) {
  T t;
  memcpy(&t, &cell, sizeof t);
  return t;
}

template <typename... T, size_t... I>
std::function<void()> bound(void (*kernel)(T...), const std::vector<uint64_t> &args, std::index_sequence<I...>) {
  std::tuple<T...> t{argument<T>(args[I])...};
  return [=] { std::apply(kernel, t); };
}

template <typename... T> constexpr unsigned count(void (*)(T...)) { return sizeof...(T); }

template <typename... T> std::function<void()> bind_kernel(void (*kernel)(T...), const std::vector<uint64_t> &args) {
  return bound(kernel, args, std::index_sequence_for<T...>{});
}

} // namespace

#define ENTRY(name) \
  { #name, count(name), 128, [](const std::vector<uint64_t> &args) { return bind_kernel(name, args); } }

const Kernel kernels[] = {ENTRY(step), ENTRY(squares), ENTRY(grad), ENTRY(sum_rows), ENTRY(words)};
const unsigned kernel_count = sizeof kernels / sizeof *kernels;
