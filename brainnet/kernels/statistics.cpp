// Statistics of many tensors on the CPU: one pass over the bytes, on all threads.
//
// Each tensor is cut into chunks by its size alone; a chunk's moments are summed in float64 over a
// fixed number of lanes and added up in the order of the chunks, so that no result depends on the
// number of threads. Counts are integers, which add up alike in any order.
//
// A chunk is processed in blocks that fit into the L1 cache: first the moments and the keys of the
// histogram, in lanes (moments.h); then the counts, one key at a time, into several histograms in
// turn, because reading a counter stalls right after it was written. Meanwhile, the next block is
// prefetched.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/stable/c/shim.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "moments.h"

namespace brainnet {
namespace {

using at::Tensor;

// ---- The table: as in histogram_layout.py -------------------------------------------------

constexpr int64_t kCount = 0, kNonFinite = 1, kMinimum = 2, kMaximum = 3, kSum = 4, kSquares = 5;
constexpr int64_t kFirstBin = 6;
constexpr int64_t kLowest = -64, kHighest = 32;
constexpr int64_t kSteps = (kHighest - kLowest) * kPerOctave;
constexpr int64_t kZero = kFirstBin + kSteps + 2;
constexpr int64_t kColumns = kZero + kSteps + 3;

constexpr std::array<int16_t, kKeys> columns_of_keys() {
  std::array<int16_t, kKeys> columns{};
  for (int64_t key = 0; key < kKeys; ++key) {
    const int64_t magnitude = key % kNegative;
    int64_t step = magnitude - (127 + kLowest) * kPerOctave;
    step = step < -1 ? -1 : step > kSteps ? kSteps : step;
    const int64_t column = key < kNegative ? kZero + step + 2 : kZero - step - 2;
    columns[key] = static_cast<int16_t>(magnitude >= kNotFinite ? kNonFinite : column);
  }
  return columns;
}

constexpr std::array<int16_t, kKeys> kColumnOf = columns_of_keys();

// ---- Pieces ---------------------------------------------------------------------------------

constexpr int64_t kBlock = 4096;
constexpr int64_t kChunk = 65536;
constexpr int64_t kSmall = 2048;
constexpr int64_t kSerial = 32768;
constexpr int64_t kCopies = 4;
constexpr int64_t kFetched = 16;  // float32 in a line of the cache

// ---- Half types: made float32 first, exactly -----------------------------------------------

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

inline int32_t widened(BFloat16 value) { return static_cast<int32_t>(uint32_t{value.bits} << 16); }

inline int32_t widened(Float16 value) {
  const int32_t magnitude = value.bits & 0x7fff;
  const float steps = static_cast<float>(magnitude) * 0x1p-24f;  // below 2^-14: steps of 2^-24
  int32_t small;
  std::memcpy(&small, &steps, sizeof small);
  int32_t wide = (magnitude << 13) + (112 << 23);
  wide = magnitude >= 0x7c00 ? wide | 0x7f800000 : wide;
  wide = magnitude < 0x0400 ? small : wide;
  return wide | static_cast<int32_t>(uint32_t{value.bits & 0x8000u} << 16);
}

template <class H>
void widen(const H* values, int64_t length, float* wide) {
  for (int64_t i = 0; i < length; ++i) {
    const int32_t bits = widened(values[i]);
    std::memcpy(wide + i, &bits, sizeof bits);
  }
}

// ---- Counting ------------------------------------------------------------------------------

struct Counters {
  uint32_t counts[kCopies][kKeys] = {};
  int64_t held = 0;

  // `next` is what will be read after this, of `bytes` bytes a value; it may be missing.
  void count(const uint16_t* keys, int64_t length, const char* next, int64_t bytes) {
    int64_t i = 0;
    for (; i + kFetched <= length; i += kFetched) {
      __builtin_prefetch(next + i * bytes);
#pragma GCC unroll 4
      for (int64_t k = i; k < i + kFetched; k += kCopies) {
        const uint64_t four = read<uint64_t>(keys + k);
        ++counts[0][four & 0xffff];
        ++counts[1][(four >> 16) & 0xffff];
        ++counts[2][(four >> 32) & 0xffff];
        ++counts[3][four >> 48];
      }
    }
    for (; i < length; ++i) ++counts[0][keys[i]];
    held += length;
  }

  // Into a row of the table, which other threads may be adding to.
  void pour(int64_t* row) {
    if (held == 0) return;
    for (int64_t key = 0; key < kKeys; ++key) {
      const int64_t all = int64_t{counts[0][key]} + counts[1][key] + counts[2][key] + counts[3][key];
      if (all) __atomic_fetch_add(row + kColumnOf[key], all, __ATOMIC_RELAXED);
    }
    std::memset(counts, 0, sizeof counts);
    held = 0;
  }
};

// ---- The list ------------------------------------------------------------------------------

struct Source {
  const char* data;
  int64_t size;
  at::ScalarType dtype;
  int64_t* row;
};

struct Chunk {
  int64_t source, begin, length, position;  // position: elements of the list before it
};

template <class T, class S>
Moments measure(const S* values, int64_t length, int64_t* row, Counters* counters) {
  alignas(64) uint16_t keys[kBlock + kStride];
  Running<T> running;
  for (int64_t begin = 0; begin < length; begin += kBlock) {
    const int64_t size = std::min(kBlock, length - begin);
    if constexpr (std::is_same_v<S, typename T::Scalar>) {
      take_block<T>(values + begin, size, running, keys);
    } else {
      alignas(64) float wide[kBlock];
      widen(values + begin, size, wide);
      take_block<T>(wide, size, running, keys);
    }
    if (counters) {
      counters->count(keys, size, reinterpret_cast<const char*>(values + begin + size), sizeof(S));
    } else {
      for (int64_t i = 0; i < size; ++i) ++row[kColumnOf[keys[i]]];
    }
  }
  return running.finish();
}

Moments measure(const Source& source, const Chunk& chunk, Counters* counters) {
  const auto from = [&](auto kind) {
    return reinterpret_cast<const decltype(kind)*>(source.data) + chunk.begin;
  };
  switch (source.dtype) {
    case at::kFloat:
      return measure<Single>(from(float{}), chunk.length, source.row, counters);
    case at::kDouble:
      return measure<Double>(from(double{}), chunk.length, source.row, counters);
    case at::kBFloat16:
      return measure<Single>(from(BFloat16{}), chunk.length, source.row, counters);
    default:
      return measure<Single>(from(Float16{}), chunk.length, source.row, counters);
  }
}

// The chunks that begin within a range of the list's elements, by one thread.
void measure_range(
    const std::vector<Source>& sources,
    const std::vector<Chunk>& chunks,
    int64_t begin,
    int64_t end,
    Moments* moments) {
  const auto starts_before = [](const Chunk& chunk, int64_t position) {
    return chunk.position < position;
  };
  auto chunk = std::lower_bound(chunks.begin(), chunks.end(), begin, starts_before);
  Counters counters;
  int64_t* row = nullptr;
  for (; chunk != chunks.end() && chunk->position < end; ++chunk) {
    const Source& source = sources[chunk->source];
    const bool small = source.size <= kSmall;
    // A counter has 32 bits.
    if (!small && (row != source.row || counters.held >= INT64_C(1) << 31)) {
      counters.pour(row);
      row = source.row;
    }
    moments[chunk - chunks.begin()] = measure(source, *chunk, small ? nullptr : &counters);
  }
  counters.pour(row);
}

inline double as_double(int64_t bits) { return read<double>(&bits); }

inline int64_t as_bits(double value) {
  value += 0.0;  // of two zeros, the positive
  return read<int64_t>(&value);
}

void add(const Moments& part, int64_t length, int64_t* row) {
  row[kCount] += length;
  row[kMinimum] = as_bits(std::min(as_double(row[kMinimum]), part.minimum));
  row[kMaximum] = as_bits(std::max(as_double(row[kMaximum]), part.maximum));
  row[kSum] = as_bits(as_double(row[kSum]) + part.sum);
  row[kSquares] = as_bits(as_double(row[kSquares]) + part.squares);
  // Their key is that of the smallest denormals as well.
  row[kZero] += part.zeros;
  row[kZero - 1] -= part.negative_zeros;
  row[kZero + 1] -= part.zeros - part.negative_zeros;
}

template <class F>
void in_parallel(int64_t total, const F& body) {
  if (total <= kSerial) {
    if (total > 0) body(int64_t{0}, total);
    return;
  }
  auto call = [](int64_t begin, int64_t end, void* body) {
    (*static_cast<const F*>(body))(begin, end);
  };
  void* context = const_cast<F*>(&body);
  TORCH_CHECK(torch_parallel_for(0, total, kSerial, call, context) == 0, "a kernel's thread failed");
}

void statistics_cpu(at::TensorList tensors, const Tensor& table) {
  TORCH_CHECK(
      table.is_cpu() && table.scalar_type() == at::kLong && table.is_contiguous() &&
          table.dim() == 2 && table.size(0) == static_cast<int64_t>(tensors.size()) &&
          table.size(1) == kColumns,
      "statistics: the table does not fit the list");
  std::vector<Tensor> dense;  // keeps copies of scattered tensors alive
  std::vector<Source> sources;
  std::vector<Chunk> chunks;
  int64_t* row = static_cast<int64_t*>(table.mutable_data_ptr());
  int64_t total = 0;
  for (const Tensor& tensor : tensors) {
    TORCH_CHECK(
        tensor.is_cpu() && tensor.layout() == at::kStrided &&
            (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble ||
             tensor.scalar_type() == at::kBFloat16 || tensor.scalar_type() == at::kHalf),
        "statistics: a tensor of another kind");
    dense.push_back(tensor.is_neg() ? tensor.resolve_neg() : tensor);
    if (tensor._is_zerotensor()) {  // which has no memory
      dense.back() = at::empty(tensor.sizes(), tensor.options()).copy_(tensor);
    }
    if (!dense.back().is_non_overlapping_and_dense()) dense.back() = dense.back().contiguous();
    const int64_t size = tensor.numel();
    const auto* data = static_cast<const char*>(dense.back().const_data_ptr());
    for (int64_t begin = 0; begin < size; begin += kChunk) {
      const int64_t length = std::min(kChunk, size - begin);
      chunks.push_back({static_cast<int64_t>(sources.size()), begin, length, total + begin});
    }
    sources.push_back({data, size, tensor.scalar_type(), row});
    total += size;
    row += kColumns;
  }
  std::vector<Moments> moments(chunks.size());
  in_parallel(total, [&](int64_t begin, int64_t end) {
    measure_range(sources, chunks, begin, end, moments.data());
  });
  for (size_t i = 0; i < chunks.size(); ++i) {
    add(moments[i], chunks[i].length, sources[chunks[i].source].row);
  }
}

TORCH_LIBRARY_FRAGMENT(brainnet, library) {
  library.def("statistics_cpu(Tensor[] tensors, Tensor(a!) table) -> ()", &statistics_cpu);
}

}  // namespace
}  // namespace brainnet
