// The threshold ramp on the CPU: one pass each way, in lanes, on all threads.
//
// Values equal the ATen reference to the last bit: true division, no contraction into fused
// multiply-adds.

#include "ramp_loops.h"

#include <algorithm>

#include "ramp_steps.h"

namespace brainnet {
namespace {

template <class S, bool kPlain, bool kVector>
void forward_run(const S* x, S* y, int64_t length, const Computed<S>* t, const Computed<S>* w) {
  over_columns<Computed<S>>(length, [&](int64_t k, auto kind) BRAINNET_STAYS {
    using V = decltype(kind);
    const V low = kVector ? load<V>(t + k) : all<V>(*t);
    const V wide = kVector ? load<V>(w + k) : all<V>(*w);
    store(y + k, ramp<kPlain>(load<V>(x + k), low, wide));
  });
}

template <class S, bool kPlain, bool kVector, bool kLeaks, bool kOneGradient>
void backward_run(
    const S* g, const S* y, S* d, int64_t length, const Computed<S>* w, Computed<S> leak) {
  const auto one = kOneGradient ? load<Computed<S>>(g) : Computed<S>{};
  over_columns<Computed<S>>(length, [&](int64_t k, auto kind) BRAINNET_STAYS {
    using V = decltype(kind);
    const V grad = kOneGradient ? all<V>(one) : load<V>(g + k);
    const V wide = kVector ? load<V>(w + k) : all<V>(*w);
    store(d + k, sloped<kPlain, kLeaks>(grad, load<V>(y + k), wide, all<V>(leak)));
  });
}

// Calls `run(position, length, neuron)` for stretches of memory over which the parameters are one
// value (inner > 1) or step along with the elements (inner == 1).
template <class F>
void over_stretches(const Layout& layout, const F& run) {
  in_parallel(layout.total(), kGrain, [&](int64_t begin, int64_t end) {
    const int64_t period = layout.inner == 1 ? layout.neurons : layout.inner;
    int64_t within = begin % period;
    int64_t neuron = layout.inner == 1 ? within : begin / period % layout.neurons;
    while (begin < end) {
      const int64_t length = std::min(end - begin, period - within);
      run(begin, length, neuron);
      begin += length;
      within = 0;
      neuron = layout.inner == 1 || neuron + 1 == layout.neurons ? 0 : neuron + 1;
    }
  });
}

template <class S>
void forward_kernel(const S* x, S* y, const Layout& layout, const Ramp& ramp) {
  const auto* t = static_cast<const Computed<S>*>(ramp.thresholds);
  const auto* w = static_cast<const Computed<S>*>(ramp.widths);
  const auto run = ramp.plain ? forward_run<S, true, false>
      : layout.neurons > 1 && layout.inner == 1 ? forward_run<S, false, true>
                                                : forward_run<S, false, false>;
  over_stretches(layout, [&](int64_t at, int64_t length, int64_t j) {
    run(x + at, y + at, length, t + j, w + j);
  });
}

template <class S, bool kOneGradient>
void backward_kernel(
    const S* g, const S* y, S* d, const Layout& layout, const Ramp& ramp, Computed<S> leak) {
  const auto* w = static_cast<const Computed<S>*>(ramp.widths);
  const auto run = layout.neurons > 1 && layout.inner == 1
      ? (leak != 0 ? backward_run<S, false, true, true, kOneGradient>
                   : backward_run<S, false, true, false, kOneGradient>)
      : ramp.flat_width ? (leak != 0 ? backward_run<S, true, false, true, kOneGradient>
                                     : backward_run<S, true, false, false, kOneGradient>)
                        : (leak != 0 ? backward_run<S, false, false, true, kOneGradient>
                                     : backward_run<S, false, false, false, kOneGradient>);
  over_stretches(layout, [&](int64_t at, int64_t length, int64_t j) {
    run(kOneGradient ? g : g + at, y + at, d + at, length, w + j, leak);
  });
}

}  // namespace

void forward(Dtype dtype, const void* x, void* y, const Layout& layout, const Ramp& ramp) {
  for_dtype(dtype, [&](auto kind) {
    using S = decltype(kind);
    forward_kernel(static_cast<const S*>(x), static_cast<S*>(y), layout, ramp);
  });
}

void backward(
    Dtype dtype, const void* g, bool one_gradient, const void* y, void* d, const Layout& layout,
    const Ramp& ramp, double leak) {
  for_dtype(dtype, [&](auto kind) {
    using S = decltype(kind);
    const auto run = one_gradient ? backward_kernel<S, true> : backward_kernel<S, false>;
    run(static_cast<const S*>(g), static_cast<const S*>(y), static_cast<S*>(d), layout, ramp,
        static_cast<Computed<S>>(leak));
  });
}

void convert(Dtype dtype, const double* from, int64_t length, void* to) {
  for_dtype(dtype, [&](auto kind) {
    using S = decltype(kind);
    for (int64_t k = 0; k < length; ++k) {
      store(static_cast<S*>(to) + k, static_cast<Computed<S>>(from[k]));
    }
  });
}

}  // namespace brainnet
