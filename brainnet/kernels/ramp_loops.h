// The loops of the threshold ramp over plain memory, without PyTorch's headers, so that they compile
// in a few seconds, in parallel with the rest.

#pragma once

#include <cstdint>
#include <vector>

namespace brainnet {

enum class Dtype { float32, float64, bfloat16, float16 };

// Memory as (outer, neurons, inner).
struct Layout {
  int64_t outer = 1, neurons = 1, inner = 1;
  int64_t total() const { return outer * neurons * inner; }
};

// Threshold and width in the compute dtype: one value each, or one for each of `layout.neurons`.
struct Ramp {
  const void* thresholds;
  const void* widths;
  bool plain = false;       // from 0 to 1
  bool flat_width = false;  // as wide as 1
};

void forward(Dtype dtype, const void* x, void* y, const Layout& layout, const Ramp& ramp);

// Adds to `counts`, (4, neurons), and `sums`, (2, neurons). The order of
// additions does not depend on the number of threads. Simultaneous calls may share counters.
void count_forward(
    Dtype dtype, const void* x, void* y, const Layout& layout, const Ramp& ramp, int64_t* counts,
    double* sums);

// The gradient d of the input, from the output y and its gradient g: one value for all where
// `one_gradient`. d may be g.
void backward(
    Dtype dtype, const void* g, bool one_gradient, const void* y, void* d, const Layout& layout,
    const Ramp& ramp, double leak);

// The same, and the gradients of the thresholds and then of the widths, one each per neuron.
std::vector<double> sum_backward(
    Dtype dtype, const void* g, bool one_gradient, const void* y, void* d, const Layout& layout,
    const Ramp& ramp, double leak);

void convert(Dtype dtype, const double* from, int64_t length, void* to);

}  // namespace brainnet
