// Shared by all loops of the threshold ramp: threads, dtypes, and the step of each loop.

#pragma once

#include "ramp_loops.h"

#include <torch/csrc/stable/c/shim.h>

#include <stdexcept>

#include "lanes.h"

#define BRAINNET_STAYS __attribute__((always_inline))

namespace brainnet {
namespace {

constexpr int64_t kGrain = 32768;  // elements for which a thread pays off

template <class F>
void in_parallel(int64_t total, int64_t grain, const F& body) {
  if (total <= grain) {
    if (total > 0) body(int64_t{0}, total);
    return;
  }
  auto call = [](int64_t begin, int64_t end, void* body) {
    (*static_cast<const F*>(body))(begin, end);
  };
  void* context = const_cast<F*>(&body);
  if (torch_parallel_for(0, total, grain, call, context) != 0) {
    throw std::runtime_error("threshold_ramp: a kernel's thread failed");
  }
}

template <class F>
void for_dtype(Dtype dtype, const F& body) {
  switch (dtype) {
    case Dtype::float32: return body(float{});
    case Dtype::float64: return body(double{});
    case Dtype::bfloat16: return body(BFloat16{});
    case Dtype::float16: return body(Half{});
  }
}

// ---- One step of each loop: V is one number, or lanes of them ---------------------------------

template <bool kPlain, class V>
BRAINNET_INLINE V ramp(V x, V threshold, V width) {
  return clamped<V>(kPlain ? x : (x - threshold) / width);
}

template <bool kPlain, bool kLeaks, class V>
BRAINNET_INLINE V sloped(V g, V y, V width, V leak) {
  const V zero = V{}, one = zero + 1;
  const V inside = kPlain ? g : g / width;
  const V outside = kLeaks ? g * leak : zero;
  return ((y > zero) & (y < one)) ? inside : outside;
}

// Calls `body` with each column and a number or lanes to compute it in.
template <class C, class F>
BRAINNET_INLINE void over_columns(int64_t columns, const F& body) {
  int64_t k = 0;
  for (; k + kLanes<C> <= columns; k += kLanes<C>) body(k, LanesOf<C>{});
  for (; k < columns; ++k) body(k, C{});
}

}  // namespace
}  // namespace brainnet
