// The threshold ramp on the CPU: one pass each way, vectorised by the compiler, on all threads.
//
// Values equal the ATen reference to the last bit: true division, no contraction into fused
// multiply-adds, half types computed in float32 and rounded once. Sums are kept in float64 and
// split by shape alone, so that they do not depend on the number of threads.

#include <ATen/core/Tensor.h>
#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/stable/c/shim.h>
#include <torch/library.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#if defined(__clang__)
#define EACH_ALONE _Pragma("clang loop vectorize(enable) interleave(enable)")
#else
#define EACH_ALONE _Pragma("GCC ivdep")
#endif

namespace {

using at::Tensor;
using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

constexpr int64_t kGrain = 32768;  // elements worth a thread of their own
constexpr int64_t kBlocks = 64;    // partial sums per neuron, whatever the number of threads
constexpr int64_t kColumns = 256;  // running sums side by side: they stay in the nearest cache

// ---- Numbers: how each dtype is read and written ------------------------------------------

struct BFloat16 {
  uint16_t bits;
};
#if defined(__FLT16_MANT_DIG__)
using Half = _Float16;
#else
using Half = c10::Half;
#endif

inline float load(float value) { return value; }
inline double load(double value) { return value; }
inline float load(Half value) { return static_cast<float>(value); }
inline float load(BFloat16 value) {
  uint32_t wide = static_cast<uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &wide, sizeof result);
  return result;
}

inline void store(float* place, float value) { *place = value; }
inline void store(double* place, double value) { *place = value; }
inline void store(Half* place, float value) { *place = static_cast<Half>(value); }
inline void store(BFloat16* place, float value) {
  uint32_t wide;
  std::memcpy(&wide, &value, sizeof wide);
  uint32_t nearest = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;  // ties to even
  bool nan = (wide & 0x7fffffffu) > 0x7f800000u;
  place->bits = static_cast<uint16_t>(nan ? 0x7fc0u : nearest);
}

template <class S>
using Computed = std::conditional_t<std::is_same_v<S, double>, double, float>;

template <class C, bool kPlain>
inline C ramp(C x, C threshold, C width) {
  C z = kPlain ? x : (x - threshold) / width;
  z = z < C(0) ? C(0) : z;
  return z > C(1) ? C(1) : z;
}

template <class C, bool kPlain, bool kLeaks>
inline C sloped(C g, C y, C width, C leak) {
  C inside = kPlain ? g : g / width;
  C outside = kLeaks ? g * leak : C(0);
  return ((y > C(0)) & (y < C(1))) ? inside : outside;
}

// ---- Memory -------------------------------------------------------------------------------

// Fresh memory comes page by page, and for a large tensor most of an elementwise op goes into that:
// so it is asked for in huge pages. Only from the size on that malloc maps and unmaps by itself
// (glibc's largest threshold), so that the advice ends with the tensor.
Tensor fresh_like(const Tensor& like) {
  Tensor fresh = at::empty_like(like);
#if defined(__linux__)
  constexpr uintptr_t kHuge = 2 << 20;
  constexpr uintptr_t kMapped = 32 << 20;
  if (fresh.nbytes() >= kMapped) {
    const auto begin = reinterpret_cast<uintptr_t>(fresh.mutable_data_ptr());
    const auto first = (begin + kHuge - 1) / kHuge * kHuge;
    const auto last = (begin + fresh.nbytes()) / kHuge * kHuge;
    madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);  // may be refused
  }
#endif
  return fresh;
}

// ---- Shape: memory as (outer, neurons, inner) ---------------------------------------------

struct Layout {
  int64_t outer = 1, neurons = 1, inner = 1;
  int64_t total() const { return outer * neurons * inner; }
};

// In a dense tensor the stride of a dimension is the number of elements that lie within it.
Layout layout_of(const Tensor& dense, int64_t dim, bool per_neuron) {
  Layout layout;
  if (!per_neuron || dense.dim() == 0 || dense.size(dim) == 1) {
    layout.inner = dense.numel();
    return layout;
  }
  layout.neurons = dense.size(dim);
  if (dense.numel() == 0) {
    layout.outer = 0;
    return layout;
  }
  layout.inner = dense.stride(dim);
  layout.outer = dense.numel() / (layout.neurons * layout.inner);
  return layout;
}

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
  TORCH_CHECK(torch_parallel_for(0, total, grain, call, context) == 0, "a kernel's thread failed");
}

// Calls `run(position, length, neuron)` for stretches of memory over which the parameters are one
// value (inner > 1) or step along with the elements (inner == 1).
template <class F>
void over_stretches(const Layout& layout, const F& run) {
  in_parallel(layout.total(), kGrain, [&](int64_t begin, int64_t end) {
    const int64_t period = layout.inner == 1 ? layout.neurons : layout.inner;
    while (begin < end) {
      const int64_t length = std::min(end - begin, period - begin % period);
      const int64_t neuron = (begin / layout.inner) % layout.neurons;
      run(begin, length, neuron);
      begin += length;
    }
  });
}

// A fixed split of the same memory into tasks whose sums are later added in order. Depends on the
// shape alone. `step(position, length, column)` adds into at most kColumns running sums; `done`
// hands over those of one neuron (inner > 1) or of `neurons` side by side (inner == 1).
struct Split {
  explicit Split(const Layout& l) : layout(l) {
    // A part is worth its own sums only where it has enough to add.
    const int64_t worth = std::max<int64_t>(1, l.total() / kGrain);
    outers = std::max<int64_t>(1, std::min({kBlocks, l.outer, worth}));
    inners = l.outer * l.neurons < kBlocks && l.inner > kGrain
        ? std::min(kBlocks, (l.inner + kGrain - 1) / kGrain)
        : 1;
    tile = l.inner == 1 ? std::min(kColumns, l.neurons)
                        : std::max<int64_t>(1, std::min(kColumns, kGrain / std::max<int64_t>(1, l.inner)));
    tiles = l.neurons == 0 ? 0 : (l.neurons + tile - 1) / tile;
  }
  int64_t parts() const { return outers * inners; }

  template <class Start, class Step, class Done>
  void each(const Start& start, const Step& step, const Done& done) const {
    const auto& l = layout;
    const int64_t tasks = outers * inners * tiles;
    const int64_t per_task = l.total() / std::max<int64_t>(1, tasks) + 1;
    in_parallel(tasks, std::max<int64_t>(1, kGrain / per_task), [&](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task) {
        const int64_t part = task / tiles;
        const int64_t o = part / inners, i = part % inners;
        const int64_t from = l.outer * o / outers, to = l.outer * (o + 1) / outers;
        const int64_t i0 = l.inner * i / inners, i1 = l.inner * (i + 1) / inners;
        const int64_t j0 = task % tiles * tile, j1 = std::min(l.neurons, j0 + tile);
        auto sums = start();
        if (l.inner == 1) {
          for (int64_t row = from; row < to; ++row) {
            step(sums, row * l.neurons + j0, j1 - j0, j0);
          }
          done(sums, part, j0, j1 - j0, false);
          continue;
        }
        for (int64_t j = j0; j < j1; ++j) {
          if (j > j0) sums = start();
          for (int64_t row = from; row < to; ++row) {
            const int64_t base = (row * l.neurons + j) * l.inner;
            for (int64_t k = i0; k < i1; k += kColumns) {
              step(sums, base + k, std::min(kColumns, i1 - k), j);
            }
          }
          done(sums, part, j, std::min(kColumns, i1 - i0), true);
        }
      }
    });
  }

  Layout layout;
  int64_t outers, inners, tile, tiles;
};

// ---- Parameters ---------------------------------------------------------------------------

bool is_one(const std::optional<Tensor>& p) { return p.has_value() && p->numel() == 1; }

// Threshold and width as numbers, or as arrays with one value per neuron in the compute dtype.
template <class C>
struct Parameters {
  Parameters(
      const std::optional<Tensor>& threshold,
      const std::optional<Tensor>& width,
      double threshold_number,
      double width_number,
      int64_t neurons,
      bool spread) {
    t = static_cast<C>(is_one(threshold) ? threshold->item<double>() : threshold_number);
    w = static_cast<C>(is_one(width) ? width->item<double>() : width_number);
    thresholds = spread ? hold(threshold, t, neurons, t_held, t_filled) : &t;
    widths = spread ? hold(width, w, neurons, w_held, w_filled) : &w;
    bool fine = true;
    for (int64_t j = 0; j < (spread ? neurons : 1); ++j) fine &= widths[j] > C(0);
    TORCH_CHECK(fine, "threshold_ramp: width must be above 0");
    plain = !spread && t == C(0) && w == C(1);
    flat_width = !spread && w == C(1);
  }
  Parameters(const Parameters&) = delete;

  static const C* hold(
      const std::optional<Tensor>& p, C number, int64_t neurons, Tensor& held, std::vector<C>& filled) {
    constexpr auto dtype = std::is_same_v<C, double> ? at::kDouble : at::kFloat;
    if (!p.has_value() || p->numel() != neurons) {
      filled.assign(neurons, number);
      return filled.data();
    }
    held = *p;
    if (held.scalar_type() != dtype || !held.is_contiguous() || held.is_neg()) {
      held = held.detach().resolve_neg().to(dtype).contiguous();
    }
    return held.template const_data_ptr<C>();
  }

  C t, w;
  Tensor t_held, w_held;
  std::vector<C> t_filled, w_filled;
  const C* thresholds;
  const C* widths;
  bool plain, flat_width;
};

// ---- Loops --------------------------------------------------------------------------------

template <class S, bool kPlain, bool kVector>
void forward_run(
    const S* x, S* y, int64_t length, const Computed<S>* t, const Computed<S>* w) {
  using C = Computed<S>;
  const C t0 = *t, w0 = *w;
  EACH_ALONE
  for (int64_t k = 0; k < length; ++k) {
    store(y + k, ramp<C, kPlain>(load(x[k]), kVector ? t[k] : t0, kVector ? w[k] : w0));
  }
}

template <class S, bool kPlain, bool kVector, bool kLeaks, bool kSpreadGrad>
void backward_run(
    const S* g, const S* y, S* d, int64_t length, const Computed<S>* w, Computed<S> leak) {
  using C = Computed<S>;
  const C w0 = *w, g0 = load(*g);
  EACH_ALONE
  for (int64_t k = 0; k < length; ++k) {
    const C grad = kSpreadGrad ? g0 : load(g[k]);
    store(d + k, sloped<C, kPlain, kLeaks>(grad, load(y[k]), kVector ? w[k] : w0, leak));
  }
}

struct Slopes {
  double moved[kColumns] = {};
  double scaled[kColumns] = {};
};

template <class S, bool kVector, bool kLeaks, bool kSpreadGrad>
void summing_run(
    Slopes& sums,
    const S* g,
    const S* y,
    S* d,
    int64_t length,
    const Computed<S>* w,
    Computed<S> leak) {
  using C = Computed<S>;
  const C w0 = *w, g0 = load(*g);
  EACH_ALONE
  for (int64_t k = 0; k < length; ++k) {
    const C out = load(y[k]);
    const C grad = kSpreadGrad ? g0 : load(g[k]);
    const C moved = sloped<C, false, kLeaks>(grad, out, kVector ? w[k] : w0, leak);
    store(d + k, moved);
    sums.moved[k] += static_cast<double>(moved);
    sums.scaled[k] += static_cast<double>(out * moved);
  }
}

struct Tally {
  int32_t silent[kColumns] = {};
  int32_t firing[kColumns] = {};
  int32_t odd[kColumns] = {};  // not finite
  int64_t seen = 0;
  double sum[kColumns] = {};
  double squares[kColumns] = {};
};

template <class S, bool kVector>
void counting_run(
    Tally& tally,
    const S* x,
    S* y,
    int64_t length,
    const Computed<S>* t,
    const Computed<S>* w) {
  using C = Computed<S>;
  const C t0 = *t, w0 = *w;
  EACH_ALONE
  for (int64_t k = 0; k < length; ++k) {
    const C in = load(x[k]);
    S held;
    store(&held, ramp<C, false>(in, kVector ? t[k] : t0, kVector ? w[k] : w0));
    y[k] = held;
    const C out = load(held);
    const bool finite = std::abs(in) <= std::numeric_limits<C>::max();
    tally.silent[k] += finite & (out == C(0));
    tally.firing[k] += finite & (out == C(1));
    tally.odd[k] += !finite;
    const double counted = static_cast<double>(finite ? out : C(0));
    tally.sum[k] += counted;
    tally.squares[k] += counted * counted;
  }
}

// ---- Forward ------------------------------------------------------------------------------

template <class S>
void forward_kernel(
    const Tensor& input, const Tensor& output, const Layout& layout, const Parameters<Computed<S>>& p) {
  const S* x = static_cast<const S*>(input.const_data_ptr());
  S* y = static_cast<S*>(output.mutable_data_ptr());
  over_stretches(layout, [&](int64_t at, int64_t length, int64_t j) {
    if (p.plain) {
      forward_run<S, true, false>(x + at, y + at, length, p.thresholds, p.widths);
    } else if (layout.neurons > 1 && layout.inner == 1) {
      forward_run<S, false, true>(x + at, y + at, length, p.thresholds + j, p.widths + j);
    } else {
      forward_run<S, false, false>(x + at, y + at, length, p.thresholds + j, p.widths + j);
    }
  });
}

template <class S>
void counting_kernel(
    const Tensor& input,
    const Tensor& output,
    const Layout& layout,
    const Parameters<Computed<S>>& p,
    const Tensor& counts,
    const Tensor& sums) {
  const S* x = static_cast<const S*>(input.const_data_ptr());
  S* y = static_cast<S*>(output.mutable_data_ptr());
  const Split split(layout);
  const int64_t n = layout.neurons;
  std::vector<int64_t> counted(split.parts() * n * 4, 0);
  std::vector<double> summed(split.parts() * n * 2, 0.0);
  split.each(
      [] { return Tally(); },
      [&](Tally& tally, int64_t at, int64_t length, int64_t j) {
        tally.seen += layout.inner == 1 ? 1 : length;
        if (layout.inner == 1) {
          counting_run<S, true>(tally, x + at, y + at, length, p.thresholds + j, p.widths + j);
        } else {
          counting_run<S, false>(tally, x + at, y + at, length, p.thresholds + j, p.widths + j);
        }
      },
      [&](const Tally& tally, int64_t part, int64_t j, int64_t columns, bool one) {
        for (int64_t k = 0; k < columns; ++k) {
          const int64_t neuron = part * n + (one ? j : j + k);
          int64_t* c = counted.data() + neuron * 4;
          const int64_t others = static_cast<int64_t>(tally.silent[k]) + tally.firing[k] + tally.odd[k];
          c[0] += tally.silent[k];
          c[1] += (one ? (k == 0 ? tally.seen : 0) : tally.seen) - others;
          c[2] += tally.firing[k];
          c[3] += tally.odd[k];
          summed[neuron * 2] += tally.sum[k];
          summed[neuron * 2 + 1] += tally.squares[k];
        }
      });
  int64_t* to_counts = counts.mutable_data_ptr<int64_t>();
  double* to_sums = sums.mutable_data_ptr<double>();
  for (int64_t part = 0; part < split.parts(); ++part) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t c = 0; c < 4; ++c) to_counts[c * n + j] += counted[(part * n + j) * 4 + c];
      for (int64_t c = 0; c < 2; ++c) to_sums[c * n + j] += summed[(part * n + j) * 2 + c];
    }
  }
}

template <class F>
void for_dtype(at::ScalarType dtype, const F& body) {
  switch (dtype) {
    case at::kFloat:
      return body(float{});
    case at::kDouble:
      return body(double{});
    case at::kBFloat16:
      return body(BFloat16{});
    case at::kHalf:
      return body(Half{});
    default:
      TORCH_CHECK(false, "threshold_ramp: no CPU kernel for ", dtype);
  }
}

struct Numbers {
  double threshold, width, leak;
  int64_t dim;
};

// ---- Backward -----------------------------------------------------------------------------

Tensor along(const Tensor& parameter, int64_t dims, int64_t dim) {
  if (parameter.dim() == 0 || dims == 0) return parameter.reshape({});
  std::vector<int64_t> shape(dims, 1);
  shape[dim] = parameter.numel();
  return parameter.reshape(shape);
}

Tensor summed_to(const Tensor& values, const Tensor& parameter, int64_t dim) {
  if (parameter.numel() == 1 || values.dim() == 0) return values.sum().reshape(parameter.sizes());
  std::vector<int64_t> others;
  for (int64_t d = 0; d < values.dim(); ++d) {
    if (d != dim) others.push_back(d);
  }
  return others.empty() ? values : values.sum(others);
}

// The same gradients from ATen: differentiable again, and for gradients that are no plain memory.
variable_list composed_backward(
    const Tensor& grad,
    const Tensor& output,
    const Tensor& threshold,
    const Tensor& width,
    const Numbers& numbers,
    bool wants_threshold,
    bool wants_width) {
  const auto dtype = output.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor g = grad.to(dtype);
  const Tensor on_ramp = output.gt(0).logical_and(output.lt(1));
  const Tensor inside = width.defined()
      ? g.div(along(width.to(dtype), output.dim(), numbers.dim))
      : g.div(numbers.width);
  const Tensor outside = numbers.leak != 0 ? g.mul(numbers.leak) : g.new_zeros({});
  const Tensor moved = inside.where(on_ramp, outside);
  variable_list result(3);
  result[0] = moved.to(output.scalar_type());
  if (wants_threshold) {
    result[1] = summed_to(moved, threshold, numbers.dim).neg().to(threshold.scalar_type());
  }
  if (wants_width) {
    const Tensor scaled = output.to(dtype).mul(moved);
    result[2] = summed_to(scaled, width, numbers.dim).neg().to(width.scalar_type());
  }
  return result;
}

template <class S, bool kSpreadGrad>
void backward_kernel(
    const S* g,
    const S* y,
    S* d,
    const Layout& layout,
    const Parameters<Computed<S>>& p,
    double leak_number) {
  const auto leak = static_cast<Computed<S>>(leak_number);
  const bool vector = layout.neurons > 1 && layout.inner == 1;
  over_stretches(layout, [&](int64_t at, int64_t length, int64_t j) {
    const S* from = kSpreadGrad ? g : g + at;
    const auto* w = p.widths + j;
    auto run = vector
        ? (leak != 0 ? backward_run<S, false, true, true, kSpreadGrad>
                     : backward_run<S, false, true, false, kSpreadGrad>)
        : p.flat_width ? (leak != 0 ? backward_run<S, true, false, true, kSpreadGrad>
                                    : backward_run<S, true, false, false, kSpreadGrad>)
                       : (leak != 0 ? backward_run<S, false, false, true, kSpreadGrad>
                                    : backward_run<S, false, false, false, kSpreadGrad>);
    run(from, y + at, d + at, length, w, leak);
  });
}

template <class S, bool kSpreadGrad>
std::vector<double> summing_kernel(
    const S* g,
    const S* y,
    S* d,
    const Layout& layout,
    const Parameters<Computed<S>>& p,
    double leak_number) {
  const auto leak = static_cast<Computed<S>>(leak_number);
  const Split split(layout);
  const int64_t n = layout.neurons;
  std::vector<double> parts(split.parts() * n * 2, 0.0);
  split.each(
      [] { return Slopes(); },
      [&](Slopes& sums, int64_t at, int64_t length, int64_t j) {
        const auto run = layout.inner == 1
            ? (leak != 0 ? summing_run<S, true, true, kSpreadGrad>
                         : summing_run<S, true, false, kSpreadGrad>)
            : (leak != 0 ? summing_run<S, false, true, kSpreadGrad>
                         : summing_run<S, false, false, kSpreadGrad>);
        run(sums, kSpreadGrad ? g : g + at, y + at, d + at, length, p.widths + j, leak);
      },
      [&](const Slopes& sums, int64_t part, int64_t j, int64_t columns, bool one) {
        for (int64_t k = 0; k < columns; ++k) {
          double* to = parts.data() + (part * n + (one ? j : j + k)) * 2;
          to[0] += sums.moved[k];
          to[1] += sums.scaled[k];
        }
      });
  std::vector<double> total(2 * n, 0.0);
  for (int64_t part = 0; part < split.parts(); ++part) {
    for (int64_t j = 0; j < n; ++j) {
      total[j] -= parts[(part * n + j) * 2];
      total[n + j] -= parts[(part * n + j) * 2 + 1];
    }
  }
  return total;
}

Tensor gradient_from(const double* totals, int64_t neurons, const Tensor& parameter) {
  Tensor result = at::empty(parameter.sizes(), parameter.options());
  double sum = 0;
  if (parameter.numel() == 1) {
    for (int64_t j = 0; j < neurons; ++j) sum += totals[j];
    totals = &sum;
  }
  for_dtype(parameter.scalar_type(), [&](auto kind) {
    using S = decltype(kind);
    S* to = static_cast<S*>(result.mutable_data_ptr());
    for (int64_t j = 0; j < parameter.numel(); ++j) {
      store(to + j, static_cast<Computed<S>>(totals[j]));
    }
  });
  return result;
}

bool spread_from_one(const Tensor& grad) {
  for (int64_t d = 0; d < grad.dim(); ++d) {
    if (grad.stride(d) != 0 && grad.size(d) != 1) return false;
  }
  return grad.numel() > 0;
}

// Memory that nobody else holds may be written over, as AccumulateGrad does.
bool is_ours_alone(const Tensor& grad) {
  return grad.use_count() == 1 && grad.storage().use_count() == 1 && !grad.is_view();
}

std::optional<Tensor> as_optional(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

variable_list fused_backward(
    Tensor grad,
    const Tensor& output,
    const Tensor& threshold,
    const Tensor& width,
    const Numbers& numbers,
    bool wants_threshold,
    bool wants_width) {
  const bool spread_grad = spread_from_one(grad) && grad.scalar_type() == output.scalar_type();
  bool reuse = !spread_grad && is_ours_alone(grad);
  if (!spread_grad &&
      (grad.scalar_type() != output.scalar_type() || grad.strides() != output.strides())) {
    grad = fresh_like(output).copy_(grad);
    reuse = true;
  }
  Tensor moved = reuse ? grad : fresh_like(output);
  const bool sums = wants_threshold || wants_width;
  const bool per_neuron = (width.defined() && width.numel() != 1) ||
      (wants_threshold && threshold.numel() != 1);
  const Layout layout = layout_of(output, numbers.dim, per_neuron);
  variable_list result(3);
  for_dtype(output.scalar_type(), [&](auto kind) {
    using S = decltype(kind);
    const bool spread = per_neuron && layout.neurons > 1;
    Parameters<Computed<S>> p(
        std::nullopt, as_optional(width), 0.0, numbers.width, layout.neurons, spread);
    const S* g = static_cast<const S*>(grad.const_data_ptr());
    const S* y = static_cast<const S*>(output.const_data_ptr());
    S* d = static_cast<S*>(moved.mutable_data_ptr());
    if (!sums) {
      spread_grad ? backward_kernel<S, true>(g, y, d, layout, p, numbers.leak)
                  : backward_kernel<S, false>(g, y, d, layout, p, numbers.leak);
      return;
    }
    const auto totals = spread_grad ? summing_kernel<S, true>(g, y, d, layout, p, numbers.leak)
                                    : summing_kernel<S, false>(g, y, d, layout, p, numbers.leak);
    const int64_t n = layout.neurons;
    if (wants_threshold) result[1] = gradient_from(totals.data(), n, threshold);
    if (wants_width) result[2] = gradient_from(totals.data() + n, n, width);
  });
  result[0] = std::move(moved);
  return result;
}

// ---- Autograd -----------------------------------------------------------------------------

// PyTorch 2.12 and older count nodes by std::shared_ptr, newer ones by intrusive_ptr.
using NodePointer = decltype(torch::autograd::Edge::function);

template <class N, class Pointer = NodePointer>
Pointer itself(N* node) {
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<Node>>) {
    return node->shared_from_this();
  } else {
    return Pointer::unsafe_reclaim_from_nonowning(node);
  }
}

struct ThresholdRampBackward : public Node {
  std::string name() const override { return "ThresholdRampBackward"; }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(mutex_);
    output.reset_data();
    threshold.reset_data();
    width.reset_data();
  }

  variable_list apply(variable_list&& grads) override {
    std::lock_guard<std::mutex> lock(mutex_);
    Tensor grad = std::move(grads[0]);
    if (!grad.defined()) return variable_list(3);
    const NodePointer self = itself(this);
    const Tensor y = output.unpack(self), t = threshold.unpack(self), w = width.unpack(self);
    const bool wants_t = t.defined() && task_should_compute_output(1);
    const bool wants_w = w.defined() && task_should_compute_output(2);
    // Saved-tensor hooks may hand back another layout than the one that was saved.
    if (c10::GradMode::is_enabled() || at::isTensorSubclassLike(grad) || !grad.device().is_cpu() ||
        grad.layout() != at::kStrided || grad.is_neg() || grad._is_zerotensor() ||
        at::isTensorSubclassLike(y) ||
        !y.is_non_overlapping_and_dense()) {
      return composed_backward(grad, y, t, w, numbers, wants_t, wants_w);
    }
    return fused_backward(std::move(grad), y, t, w, numbers, wants_t, wants_w);
  }

  SavedVariable output, threshold, width;
  Numbers numbers;
};

template <class N, class Pointer = NodePointer>
std::pair<Pointer, N*> new_node() {
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<Node>>) {
    auto* node = new N();
    return {Pointer(node, [](auto* old) { deleteNode(old); }), node};
  } else {
    auto held = c10::make_intrusive<N>();
    auto* node = held.get();
    return {Pointer(std::move(held)), node};
  }
}

void check_parameter(const char* name, const std::optional<Tensor>& p, const Tensor& x, int64_t dim) {
  if (!p.has_value()) return;
  const bool fits = p->numel() == 1 ? p->dim() < 2
                                    : p->dim() == 1 && x.dim() > 0 && p->numel() == x.size(dim);
  TORCH_CHECK(
      fits && p->is_floating_point() && p->is_cpu() && p->layout() == at::kStrided,
      "threshold_ramp: ", name, " does not fit the input");
}

bool requires_grad(const std::optional<Tensor>& tensor) {
  return tensor.has_value() && tensor->requires_grad();
}

void compute(
    const Tensor& input,
    const Tensor& output,
    const std::optional<Tensor>& threshold,
    const std::optional<Tensor>& width,
    const Numbers& numbers,
    const std::optional<Tensor>& counts,
    const std::optional<Tensor>& sums) {
  const bool counting = counts.has_value();
  const bool per_neuron = (threshold.has_value() && threshold->numel() != 1) ||
      (width.has_value() && width->numel() != 1) || (counting && counts->size(1) != 1);
  const Layout layout = layout_of(output, numbers.dim, per_neuron);
  TORCH_CHECK(
      !counting || (counts->size(1) == layout.neurons && sums.has_value() &&
                    counts->is_contiguous() && sums->is_contiguous() && counts->is_cpu()),
      "threshold_ramp: the counters do not fit the input");
  for_dtype(output.scalar_type(), [&](auto kind) {
    using S = decltype(kind);
    const bool spread = per_neuron && layout.neurons > 1;
    Parameters<Computed<S>> p(
        threshold, width, numbers.threshold, numbers.width, layout.neurons, spread);
    if (counting) {
      counting_kernel<S>(input, output, layout, p, *counts, *sums);
    } else {
      forward_kernel<S>(input, output, layout, p);
    }
  });
}

Tensor threshold_ramp_cpu(
    const Tensor& input,
    const std::optional<Tensor>& threshold,
    const std::optional<Tensor>& width,
    double threshold_number,
    double width_number,
    double leak,
    int64_t dim,
    bool reuse_input,
    const std::optional<Tensor>& counts,
    const std::optional<Tensor>& sums) {
  TORCH_CHECK(
      input.is_cpu() && input.is_floating_point() && input.layout() == at::kStrided &&
          std::isfinite(threshold_number) && std::isfinite(width_number) && leak >= 0 &&
          std::isfinite(leak),
      "threshold_ramp: the C++ kernel needs dense floating-point numbers on the CPU");
  if (dim < 0) dim += input.dim();
  TORCH_CHECK(input.dim() == 0 || (dim >= 0 && dim < input.dim()), "threshold_ramp: no such dim");
  check_parameter("threshold", threshold, input, dim);
  check_parameter("width", width, input, dim);
  const Numbers numbers{threshold_number, width_number, leak, dim};
  const bool recording = c10::GradMode::is_enabled();
  const bool differentiable = recording &&
      (input.requires_grad() || requires_grad(threshold) || requires_grad(width));
  const bool dense = input.is_non_overlapping_and_dense() && !input.is_neg() && !input._is_zerotensor();
  // Only memory whose values nobody can ask for again: no leaf, no view, no hooks on it.
  const bool writable = !input.is_inference() || c10::InferenceMode::is_enabled();
  const bool in_place = reuse_input && dense && !input.is_view() && writable &&
      (!input.requires_grad() ||
       (!input.is_leaf() && !input.retains_grad() && torch::autograd::impl::hooks(input).empty()));
  Tensor output;
  {
    at::AutoDispatchBelowADInplaceOrView below;
    const Tensor source = dense ? input : at::empty(input.sizes(), input.options()).copy_(input);
    output = in_place ? input : fresh_like(source);
    compute(source, output, threshold, width, numbers, counts, sums);
  }
  if (in_place && !output.is_inference()) torch::autograd::impl::bump_version(output);
  if (!differentiable) return output;
  auto [node, fields] = new_node<ThresholdRampBackward>();
  node->set_next_edges(torch::autograd::collect_next_edges(input, threshold, width));
  fields->numbers = numbers;
  if (in_place && input.requires_grad()) {
    node->add_input_metadata(output);
    torch::autograd::impl::rebase_history(output, {node, 0});
  } else {
    torch::autograd::set_history(output, node);
  }
  fields->output = SavedVariable(output, /*is_output=*/true);
  if (threshold.has_value()) fields->threshold = SavedVariable(*threshold, false);
  if (width.has_value()) fields->width = SavedVariable(*width, false);
  return output;
}

TORCH_LIBRARY_FRAGMENT(brainnet, library) {
  library.def("threshold_ramp_cpu", &threshold_ramp_cpu);
}

}  // namespace
