// The threshold ramp as an op of PyTorch on the CPU: argument checks, memory and derivative. The
// loops are in ramp_loops.cpp.

#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>
#include <torch/library.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "ramp_loops.h"

namespace {

using at::Tensor;
using brainnet::Dtype;
using brainnet::Layout;
using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// ---- Memory -------------------------------------------------------------------------------

// Page faults in fresh memory take most of the time of an elementwise op on a large tensor, so huge
// pages are requested. Only above glibc's largest threshold for mmap: there, the memory is unmapped
// together with the tensor, and the advice does not outlive it.
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

// ---- Shape --------------------------------------------------------------------------------

// In a dense tensor, the stride of a dimension is the number of elements inside it.
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

Dtype dtype_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return Dtype::float32;
    case at::kDouble:
      return Dtype::float64;
    case at::kBFloat16:
      return Dtype::bfloat16;
    case at::kHalf:
      return Dtype::float16;
    default:
      TORCH_CHECK(false, "threshold_ramp: no CPU kernel for ", tensor.scalar_type());
  }
}

// ---- Parameters ---------------------------------------------------------------------------

struct Numbers {
  double threshold, width, leak;
  int64_t dim;
};

bool is_one(const std::optional<Tensor>& p) { return p.has_value() && p->numel() == 1; }

// Threshold and width for the loops: numbers, or arrays with one value per neuron.
template <class C>
class Parameters {
 public:
  Parameters(
      const std::optional<Tensor>& threshold,
      const std::optional<Tensor>& width,
      const Numbers& numbers,
      int64_t neurons,
      bool plain_known) {
    t_ = static_cast<C>(is_one(threshold) ? threshold->item<double>() : numbers.threshold);
    w_ = static_cast<C>(is_one(width) ? width->item<double>() : numbers.width);
    const bool spread = neurons > 1;
    const bool varies = spread &&
        ((threshold.has_value() && threshold->numel() == neurons) ||
         (width.has_value() && width->numel() == neurons));
    plain_ = plain_known && !varies && t_ == C(0) && w_ == C(1);
    flat_width_ = !spread && w_ == C(1);
    const bool arrays = spread && !plain_;  // the plain ramp needs neither in forward
    thresholds_ = arrays ? hold(threshold, t_, neurons, t_held_, t_filled_) : &t_;
    widths_ = arrays ? hold(width, w_, neurons, w_held_, w_filled_) : &w_;
    bool fine = true;
    for (int64_t j = 0; j < (arrays ? neurons : 1); ++j) fine &= widths_[j] > C(0);
    TORCH_CHECK(fine, "threshold_ramp: width must be above 0");
  }
  Parameters(const Parameters&) = delete;

  brainnet::Ramp ramp() const { return {thresholds_, widths_, plain_, flat_width_}; }

 private:
  static const C* hold(
      const std::optional<Tensor>& p,
      C number,
      int64_t neurons,
      Tensor& held,
      std::vector<C>& filled) {
    constexpr auto dtype = std::is_same_v<C, double> ? at::kDouble : at::kFloat;
    if (!p.has_value() || p->numel() != neurons) {
      filled.assign(neurons, number);
      return filled.data();
    }
    held = *p;
    if (held._is_zerotensor()) {  // which has no memory
      held = at::empty(held.sizes(), held.options()).copy_(held.detach());
    }
    if (held.scalar_type() != dtype || !held.is_contiguous() || held.is_neg()) {
      held = held.detach().resolve_neg().to(dtype).contiguous();
    }
    return held.template const_data_ptr<C>();
  }

  C t_, w_;
  Tensor t_held_, w_held_;
  std::vector<C> t_filled_, w_filled_;
  const C* thresholds_;
  const C* widths_;
  bool plain_, flat_width_;
};

// Calls `body` with the ramp in the compute dtype. Backward does not know whether the ramp was
// plain, because it does not depend on the threshold.
template <class F>
void with_ramp(
    const Tensor& output,
    const std::optional<Tensor>& threshold,
    const std::optional<Tensor>& width,
    const Numbers& numbers,
    int64_t neurons,
    bool plain_known,
    const F& body) {
  if (output.scalar_type() == at::kDouble) {
    body(Parameters<double>(threshold, width, numbers, neurons, plain_known).ramp());
  } else {
    body(Parameters<float>(threshold, width, numbers, neurons, plain_known).ramp());
  }
}

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

// The same gradients composed of ATen operations: differentiable again, and for gradients without
// plain memory.
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

Tensor gradient_from(const double* totals, int64_t neurons, const Tensor& parameter) {
  Tensor result = at::empty(parameter.sizes(), parameter.options());
  double sum = 0;
  if (parameter.numel() == 1) {
    for (int64_t j = 0; j < neurons; ++j) sum += totals[j];
    totals = &sum;
  }
  brainnet::convert(dtype_of(parameter), totals, parameter.numel(), result.mutable_data_ptr());
  return result;
}

bool spread_from_one(const Tensor& grad) {
  for (int64_t d = 0; d < grad.dim(); ++d) {
    if (grad.stride(d) != 0 && grad.size(d) != 1) return false;
  }
  return grad.numel() > 0;
}

// A gradient without other references may be overwritten, as in AccumulateGrad.
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
  with_ramp(
      output, std::nullopt, as_optional(width), numbers, layout.neurons, /*plain_known=*/false,
      [&](const brainnet::Ramp& ramp) {
        const Dtype dtype = dtype_of(output);
        const void* g = grad.const_data_ptr();
        const void* y = output.const_data_ptr();
        void* d = moved.mutable_data_ptr();
        if (!sums) {
          brainnet::backward(dtype, g, spread_grad, y, d, layout, ramp, numbers.leak);
          return;
        }
        const auto totals =
            brainnet::sum_backward(dtype, g, spread_grad, y, d, layout, ramp, numbers.leak);
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

// For compiled autograd: the gradients composed of ATen operations, from plain values.
variable_list traced_backward(const variable_list& grads, const std::vector<c10::IValue>& packed) {
  torch::dynamo::autograd::PackedArgs values(packed);
  const auto y = values.unpack<Tensor>(), t = values.unpack<Tensor>(), w = values.unpack<Tensor>();
  const Numbers numbers{
      values.unpack<double>(), values.unpack<double>(), values.unpack<double>(),
      values.unpack<int64_t>()};
  const bool wants_t = values.unpack<bool>(), wants_w = values.unpack<bool>();
  if (!grads[0].defined()) return variable_list(3);
  return composed_backward(grads[0], y, t, w, numbers, wants_t, wants_w);
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
    // Saved-tensor hooks may return another layout than the saved one.
    if (c10::GradMode::is_enabled() || at::isTensorSubclassLike(grad) || !grad.device().is_cpu() ||
        grad.layout() != at::kStrided || grad.is_neg() || grad._is_zerotensor() ||
        at::isTensorSubclassLike(y) ||
        !y.is_non_overlapping_and_dense()) {
      return composed_backward(grad, y, t, w, numbers, wants_t, wants_w);
    }
    return fused_backward(std::move(grad), y, t, w, numbers, wants_t, wants_w);
  }

  // For compiled autograd: the key of its cache, and the call that it traces instead of apply().
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    args.collect(output, /*is_output=*/true);
    args.collect(threshold, /*is_output=*/false);
    args.collect(width, /*is_output=*/false);
    args.collect(numbers.threshold);
    args.collect(numbers.width);
    args.collect(numbers.leak);
    args.collect(numbers.dim);
  }

  variable_list apply_with_saved(
      const variable_list& grads, torch::dynamo::autograd::SwapSavedVariables& saved) override {
    namespace compiled = torch::dynamo::autograd;
    for (auto* each : {&output, &threshold, &width}) saved.before(*each);
    const NodePointer self = itself(this);
    const Tensor y = output.unpack(self), t = threshold.unpack(self), w = width.unpack(self);
    compiled::PackedArgs packed;
    for (const auto& each : {y, t, w}) packed.pack(each);
    for (double each : {numbers.threshold, numbers.width, numbers.leak}) packed.pack(each);
    packed.pack(numbers.dim);
    packed.pack(t.defined() && task_should_compute_output(1));
    packed.pack(w.defined() && task_should_compute_output(2));
    const auto& python = compiled::getPyCompilerInterface();
    [[maybe_unused]] static const std::string bound = python->bind_function(
        saved.get_py_compiler(), name(), traced_backward,
        {at::TensorType::get(), at::TensorType::get(), at::TensorType::get(), at::FloatType::get(),
         at::FloatType::get(), at::FloatType::get(), at::IntType::get(), at::BoolType::get(),
         at::BoolType::get()});
    auto result = python->call_function(
        saved.get_py_compiler(), "apply_functional", name(), grads, packed.vec(),
        compiled::IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(
            compiled::get_input_metadata(next_edges())));
    for (auto* each : {&output, &threshold, &width}) saved.after(*each);
    return result;
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

bool is_counter(const Tensor& counter, at::ScalarType dtype, int64_t kinds, int64_t neurons) {
  return counter.scalar_type() == dtype && counter.dim() == 2 && counter.size(0) == kinds &&
      counter.size(1) == neurons && counter.is_cpu() && counter.layout() == at::kStrided &&
      counter.is_contiguous() && !at::isTensorSubclassLike(counter);
}

void check_counters(
    const std::optional<Tensor>& counts,
    const std::optional<Tensor>& sums,
    const Tensor& x,
    int64_t dim) {
  if (!counts.has_value() && !sums.has_value()) return;
  const int64_t neurons = x.dim() == 0 ? 1 : x.size(dim);
  TORCH_CHECK(
      counts.has_value() && sums.has_value() && is_counter(*counts, at::kLong, 4, neurons) &&
          is_counter(*sums, at::kDouble, 2, neurons),
      "threshold_ramp: the counters do not fit the input");
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
  const auto run = [&](const brainnet::Ramp& ramp) {
    const Dtype dtype = dtype_of(output);
    const void* x = input.const_data_ptr();
    void* y = output.mutable_data_ptr();
    if (counting) {
      brainnet::count_forward(
          dtype, x, y, layout, ramp, counts->mutable_data_ptr<int64_t>(),
          sums->mutable_data_ptr<double>());
    } else {
      brainnet::forward(dtype, x, y, layout, ramp);
    }
  };
  with_ramp(output, threshold, width, numbers, layout.neurons, /*plain_known=*/true, run);
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
  check_counters(counts, sums, input, dim);
  const Numbers numbers{threshold_number, width_number, leak, dim};
  const bool recording = c10::GradMode::is_enabled();
  const bool differentiable = recording &&
      (input.requires_grad() || requires_grad(threshold) || requires_grad(width));
  const bool dense = input.is_non_overlapping_and_dense() && !input.is_neg() && !input._is_zerotensor();
  // Only memory without other references: no leaf that requires a gradient, no view (unknown to
  // inference mode, but with shared memory), not saved for backward, without hooks.
  const bool writable = !input.is_inference() || c10::InferenceMode::is_enabled();
  const bool alone = !input.is_view() && input.storage().use_count() == 1;
  const bool in_place = reuse_input && dense && alone && writable &&
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
    torch::autograd::impl::set_gradient_edge(output, {node, node->add_input_metadata(output)});
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
