// The loops of the ramp with sums over the elements of each neuron: its counters, and the gradients
// of its threshold and width.
//
// Sums are float64, and their order depends only on the shape, not on the number of threads or lanes.

#include "ramp_loops.h"

#include <algorithm>
#include <memory>
#include <mutex>

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "ramp_steps.h"

#define BRAINNET_CALL __attribute__((noinline))  // against several copies of its code

namespace brainnet {
namespace {

constexpr int64_t kTasks = 64;      // partial sums over all neurons, for any number of threads
constexpr int64_t kColumns = 1024;  // adjacent running sums, which fit into the L1 cache
constexpr int64_t kWide = 256;      // the same for one neuron, whose sums are also cleared and added up
// One cache line more than needed, so that the sums of a column do not share one set of the cache.
constexpr int64_t kRoom = kColumns + 16;
// Rows computed together, so that running sums are read once for all of them.
constexpr int kRows = 4;
constexpr int kCountedRows = 8;

// A split of the memory into tasks, which depends only on the shape; their sums are added in order.
// A task computes some rows of some neurons.
struct Split {
  explicit Split(const Layout& l) : layout(l) {
    tile = l.inner == 1
        ? std::min(kColumns, l.neurons)
        : std::max<int64_t>(1, std::min(kColumns, kGrain / std::max<int64_t>(1, l.inner)));
    tiles = l.neurons == 0 ? 0 : (l.neurons + tile - 1) / tile;
    // Separate sums pay off only for large parts; a counter holds 2^31.
    const int64_t worth = std::min(kTasks / std::max<int64_t>(1, tiles), l.total() / (4 * kGrain));
    outers = std::max({int64_t{1}, std::min(l.outer, worth), l.outer >> 30});
    inners = l.outer * l.neurons < kTasks && l.inner > kGrain
        ? std::min(kTasks, (l.inner + kGrain - 1) / kGrain)
        : 1;
  }
  int64_t parts() const { return outers * inners; }

  // `Sums` has begin(columns), rows(position, rows, stride, columns, neuron) and
  // end(part, neuron, columns), which adds the columns up if all belong to one neuron.
  template <class Make>
  void each(const Make& make) const {
    const auto& l = layout;
    const int64_t tasks = parts() * tiles;
    const int64_t per_task = l.total() / std::max<int64_t>(1, tasks) + 1;
    in_parallel(tasks, std::max<int64_t>(1, kGrain / per_task), [&](int64_t first, int64_t last) {
      auto sums = make();
      for (int64_t task = first; task < last; ++task) {
        const int64_t part = task / tiles, o = part / inners, i = part % inners;
        const int64_t from = l.outer * o / outers, rows = l.outer * (o + 1) / outers - from;
        const int64_t begin = l.inner * i / inners, span = l.inner * (i + 1) / inners - begin;
        const int64_t j0 = task % tiles * tile, j1 = std::min(l.neurons, j0 + tile);
        if (l.inner == 1) {
          sums.begin(j1 - j0);
          sums.rows(from * l.neurons + j0, rows, l.neurons, j1 - j0, j0);
          sums.end(part, j0, j1 - j0);
          continue;
        }
        for (int64_t j = j0; j < j1; ++j) {
          const int64_t at = (from * l.neurons + j) * l.inner + begin, row = l.neurons * l.inner;
          sums.begin(std::min(kWide, span));
          if (span <= kWide) {
            sums.rows(at, rows, row, span, j);
          } else {
            for (int64_t r = 0; r < rows; ++r) {
              const int64_t full = span / kWide * kWide;
              sums.rows(at + r * row, span / kWide, kWide, kWide, j);
              sums.rows(at + r * row + full, 1, 0, span - full, j);
            }
          }
          sums.end(part, j, std::min(kWide, span));
        }
      }
    });
  }

  Layout layout;
  int64_t outers, inners, tile, tiles;
};

// Several rows at a time, then the remaining rows. The order of the rows is the same in each column,
// so that a sum does not depend on the number of lanes.
template <class C, int kSome, class F>
BRAINNET_INLINE void over_rows(int64_t rows, int64_t columns, const F& body) {
  int64_t r = 0;
  const auto next = [&](auto some) BRAINNET_STAYS {
    over_columns<C>(columns, [&](int64_t k, auto kind) BRAINNET_STAYS { body(r, k, kind, some); });
    r += some.value;
  };
  while (r + kSome <= rows) next(std::integral_constant<int, kSome>());
  while (r < rows) next(std::integral_constant<int, 1>());
}

// Stores the running sums: one per column, or their total in the order of the columns.
template <class From, class To>
void hand_over(const From* from, int64_t columns, bool one, To* to) {
  if (!one) {
    for (int64_t k = 0; k < columns; ++k) to[k] = static_cast<To>(from[k]);
    return;
  }
  *to = 0;
  for (int64_t k = 0; k < columns; ++k) *to += static_cast<To>(from[k]);
}

template <class S, bool kVector>
struct Slopes {
  using C = Computed<S>;
  const S* g;
  const S* y;
  S* d;
  const C* w;
  C leak;
  bool one_gradient;
  double* parts;  // (parts, 2, neurons)
  int64_t neurons;
  alignas(kBytes) double moved[kRoom], scaled[kRoom];

  BRAINNET_CALL void begin(int64_t columns) {
    std::fill_n(moved, columns, 0.0);
    std::fill_n(scaled, columns, 0.0);
  }

  BRAINNET_CALL void rows(int64_t at, int64_t rows, int64_t stride, int64_t columns, int64_t j) {
    const C one = one_gradient ? load<C>(g) : C{};  // g may be empty
    over_rows<C, kRows>(rows, columns, [&](int64_t r, int64_t k, auto kind, auto some)
                                           BRAINNET_STAYS {
      using V = decltype(kind);
      Wide<V> low(moved + k), wide(scaled + k);
      const V width = kVector ? load<V>(w + j + k) : all<V>(w[j]);
#pragma GCC unroll 4
      for (int u = 0; u < some.value; ++u) {
        const int64_t place = at + (r + u) * stride + k;
        const V grad = one_gradient ? all<V>(one) : load<V>(g + place);
        const V out = load<V>(y + place);
        const V slope = leak != 0 ? sloped<false, true>(grad, out, width, all<V>(leak))
                                  : sloped<false, false>(grad, out, width, V{});
        store(d + place, slope);
        low.add(Wide<V>(slope));
        wide.add(Wide<V>(out * slope));
      }
      low.store(moved + k);
      wide.store(scaled + k);
    });
  }

  BRAINNET_CALL void end(int64_t part, int64_t j, int64_t columns) const {
    double* to = parts + part * 2 * neurons + j;
    hand_over(moved, columns, !kVector, to);
    hand_over(scaled, columns, !kVector, to + neurons);
  }
};

template <class S>
std::vector<double> summing_kernel(
    const S* g, bool one_gradient, const S* y, S* d, const Layout& layout, const Ramp& ramp,
    Computed<S> leak) {
  const auto* w = static_cast<const Computed<S>*>(ramp.widths);
  const Split split(layout);
  const int64_t n = layout.neurons;
  const auto parts = std::make_unique_for_overwrite<double[]>(split.parts() * 2 * n);
  const auto sum = [&](auto vector) {
    using Sums = Slopes<S, vector.value>;
    split.each([&] { return Sums{g, y, d, w, leak, one_gradient, parts.get(), n, {}, {}}; });
  };
  layout.inner == 1 ? sum(std::true_type()) : sum(std::false_type());
  std::vector<double> total(2 * n, 0.0);
  for (int64_t part = 0; part < split.parts(); ++part) {
    for (int64_t k = 0; k < 2 * n; ++k) total[k] -= parts[part * 2 * n + k];
  }
  return total;
}

template <class S, bool kPlain, bool kVector>
struct Tally {
  using C = Computed<S>;
  using Count = CountOf<C>;
  const S* x;
  S* y;
  const C* t;
  const C* w;
  int64_t* counts;  // (parts, 3, neurons): silent, firing, not finite
  double* sums;     // (parts, 2, neurons)
  int64_t neurons;
  alignas(kBytes) Count silent[kRoom], firing[kRoom], strange[kRoom];
  alignas(kBytes) double sum[kRoom], squares[kRoom];

  BRAINNET_CALL void begin(int64_t columns) {
    std::fill_n(silent, columns, Count{0});
    std::fill_n(firing, columns, Count{0});
    std::fill_n(strange, columns, Count{0});
    std::fill_n(sum, columns, 0.0);
    std::fill_n(squares, columns, 0.0);
  }

  BRAINNET_CALL void rows(int64_t at, int64_t rows, int64_t stride, int64_t columns, int64_t j) {
    const auto body = [&](int64_t r, int64_t k, auto kind, auto some) BRAINNET_STAYS {
      step<decltype(kind), some.value>(at + r * stride + k, stride, j, k);
    };
    over_rows<C, kCountedRows>(rows, columns, body);
  }

  template <class V, int kSome>
  BRAINNET_INLINE void step(int64_t at, int64_t stride, int64_t j, int64_t k) {
    const S* from = x + at;
    S* to = y + at;
    V in[kSome];
#pragma GCC unroll 8
    for (int u = 0; u < kSome; ++u) in[u] = load<V>(from + u * stride);
    if constexpr (kMany<V>) {
      // Explicit prefetch, because the processor does not detect a pattern in such short accesses.
#pragma GCC unroll 8
      for (int u = 0; u < kSome; ++u) __builtin_prefetch(from + (kSome + u) * stride, 0, 2);
      if (__builtin_expect(any_odd(in), 0)) {  // before anything is written: y may be x
        one_by_one<kSome>(at, stride, j, k);
        return;
      }
    }
    using Counter = std::conditional_t<
        !kMany<V>, Count, std::conditional_t<std::is_same_v<C, double>, Longs, Ints>>;
    auto zeros = raw<Counter>(silent + k), ones = raw<Counter>(firing + k);
    const V low = kVector ? load<V>(t + j + k) : all<V>(t[j]);
    const V wide = kVector ? load<V>(w + j + k) : all<V>(w[j]);
    // Sums of these few rows in the compute dtype: no term is negative, so the relative error in
    // float32 is at most 5e-7.
    V few{}, few_squares{};
#pragma GCC unroll 8
    for (int u = 0; u < kSome; ++u) {
      const V out = store(to + u * stride, ramp<kPlain>(in[u], low, wide));
      if constexpr (!kMany<V>) {
        if (odd(in[u])) {
          strange[k] += 1;
          continue;
        }
      }
      count(zeros, out, C(0));
      count(ones, out, C(1));
      few += out;
      few_squares += out * out;
    }
    put(silent + k, zeros);
    put(firing + k, ones);
    add_to(sum + k, few);
    add_to(squares + k, few_squares);
  }

  template <int kSome>
  __attribute__((noinline, cold)) void one_by_one(int64_t at, int64_t stride, int64_t j, int64_t k) {
    for (int64_t c = 0; c < kLanes<C>; ++c) step<C, kSome>(at + c, stride, j, k + c);
  }

  BRAINNET_CALL void end(int64_t part, int64_t j, int64_t columns) const {
    int64_t* counted = counts + part * 3 * neurons + j;
    hand_over(silent, columns, !kVector, counted);
    hand_over(firing, columns, !kVector, counted + neurons);
    hand_over(strange, columns, !kVector, counted + 2 * neurons);
    double* summed = sums + part * 2 * neurons + j;
    hand_over(sum, columns, !kVector, summed);
    hand_over(squares, columns, !kVector, summed + neurons);
  }
};

// Threads may share counters, and the op runs without Python's lock, so additions take this lock.
std::mutex adding;

#if !defined(_WIN32)
// After a fork during an addition of another thread, the child's copy of the lock would stay closed.
[[maybe_unused]] const int fork_waits = pthread_atfork(
    [] { adding.lock(); }, [] { adding.unlock(); }, [] { adding.unlock(); });
#endif

template <class S>
void counting_kernel(
    const S* x, S* y, const Layout& layout, const Ramp& ramp, int64_t* counts, double* sums) {
  const auto* t = static_cast<const Computed<S>*>(ramp.thresholds);
  const auto* w = static_cast<const Computed<S>*>(ramp.widths);
  const Split split(layout);
  const int64_t n = layout.neurons;
  const auto counted = std::make_unique_for_overwrite<int64_t[]>(split.parts() * 3 * n);
  const auto summed = std::make_unique_for_overwrite<double[]>(split.parts() * 2 * n);
  const auto tally = [&](auto plain, auto vector) {
    using Sums = Tally<S, plain.value, vector.value>;
    split.each([&] {
      return Sums{x, y, t, w, counted.get(), summed.get(), n, {}, {}, {}, {}, {}};
    });
  };
  if (layout.inner == 1) {
    ramp.plain ? tally(std::true_type(), std::true_type())
               : tally(std::false_type(), std::true_type());
  } else {
    ramp.plain ? tally(std::true_type(), std::false_type())
               : tally(std::false_type(), std::false_type());
  }
  const std::lock_guard<std::mutex> turn(adding);
  // In the order of COUNTER_NAMES; the elements that are not counted were on the ramp.
  int64_t *silent = counts, *rising = counts + n;
  int64_t *firing = counts + 2 * n, *strange = counts + 3 * n;
  const int64_t seen = layout.outer * layout.inner;
  for (int64_t j = 0; j < n; ++j) rising[j] += seen;
  for (int64_t part = 0; part < split.parts(); ++part) {
    const int64_t* from = counted.get() + part * 3 * n;
    for (int64_t j = 0; j < n; ++j) {
      silent[j] += from[j];
      firing[j] += from[n + j];
      strange[j] += from[2 * n + j];
      rising[j] -= from[j] + from[n + j] + from[2 * n + j];
    }
    for (int64_t k = 0; k < 2 * n; ++k) sums[k] += summed[part * 2 * n + k];
  }
}

}  // namespace

void count_forward(
    Dtype dtype, const void* x, void* y, const Layout& layout, const Ramp& ramp, int64_t* counts,
    double* sums) {
  for_dtype(dtype, [&](auto kind) {
    using S = decltype(kind);
    counting_kernel(static_cast<const S*>(x), static_cast<S*>(y), layout, ramp, counts, sums);
  });
}

std::vector<double> sum_backward(
    Dtype dtype, const void* g, bool one_gradient, const void* y, void* d, const Layout& layout,
    const Ramp& ramp, double leak) {
  std::vector<double> totals;
  for_dtype(dtype, [&](auto kind) {
    using S = decltype(kind);
    totals = summing_kernel(
        static_cast<const S*>(g), one_gradient, static_cast<const S*>(y), static_cast<S*>(d),
        layout, ramp, static_cast<Computed<S>>(leak));
  });
  return totals;
}

}  // namespace brainnet
