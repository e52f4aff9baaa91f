// Moments of a stretch of numbers, and the key under which the histogram counts each of them.
//
// The number of lanes of the sums, and so the result, is the same on every processor. Written with
// GNU vectors, except for AVX-512, for which GCC compiles comparisons of vectors badly.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#endif

namespace brainnet {
namespace {

// A key: sign, eight bits of exponent and two of mantissa, as in a float32.
constexpr int64_t kPerOctave = 4;
constexpr int64_t kKeys = 2048;
constexpr int64_t kNegative = 1024;
constexpr int64_t kNotFinite = 1020;

// ---- Vectors: eight lanes, which the compiler maps to the processor's --------------------

constexpr int64_t kLanes = 8;
constexpr int64_t kStreams = 4;  // running sums beside each other, to hide the latency of adding
constexpr int64_t kStride = kLanes * kStreams;

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));
typedef uint16_t Keys __attribute__((vector_size(kLanes * 2)));
typedef double Doubles __attribute__((vector_size(kLanes * 8)));
typedef int64_t Longs __attribute__((vector_size(kLanes * 8)));

template <class V>
inline V read(const void* place) {
  V value;
  std::memcpy(&value, place, sizeof value);
  return value;
}

// ---- Moments -------------------------------------------------------------------------------

struct Moments {
  double sum = 0, squares = 0;
  double minimum = std::numeric_limits<double>::infinity();
  double maximum = -std::numeric_limits<double>::infinity();
  int64_t zeros = 0, negative_zeros = 0;
};

// What differs between four and eight bytes. Zeros and non-finite values are recognized by their
// bits: if the processor flushes denormals, comparisons of floats would treat them as zeros.
struct Single {
  using Values = Floats;
  using Bits = Ints;
  using Scalar = float;
  static constexpr int32_t kMagnitude = 0x7fffffff, kInfinity = 0x7f800000, kSign = INT32_MIN;
  static Ints keys(Ints bits, Ints, Ints) { return (bits >> 21) & 2047; }
};

struct Double {
  using Values = Doubles;
  using Bits = Longs;
  using Scalar = double;
  static constexpr int64_t kMagnitude = INT64_MAX, kInfinity = INT64_C(0x7ff) << 52,
                           kSign = INT64_MIN;
  static Longs keys(Longs bits, Longs magnitude, Longs finite) {
    Longs key = (magnitude >> 50) - (1023 - 127) * kPerOctave;
    key = key < 0 ? key - key : key;
    key = key > kNotFinite - 1 ? key - key + (kNotFinite - 1) : key;
    key -= ~finite & (key - kNotFinite);
    return key | ((bits >> 63) & kNegative);
  }
};

template <class T>
struct Running {
  Doubles sum[kStreams] = {}, squares[kStreams] = {};
  typename T::Values low[kStreams], high[kStreams];
  typename T::Bits zeros[kStreams] = {}, negative_zeros[kStreams] = {};

  Running() {
    constexpr auto infinity = std::numeric_limits<typename T::Scalar>::infinity();
    for (int64_t s = 0; s < kStreams; ++s) {
      low[s] = typename T::Values{} + infinity;
      high[s] = typename T::Values{} - infinity;
    }
  }

  // One stride of values; their keys go to `keys`.
  inline __attribute__((always_inline)) void take(const void* values, uint16_t* keys) {
    using Values = typename T::Values;
    using Bits = typename T::Bits;
    const Bits infinity = Bits{} + T::kInfinity;
    for (int64_t s = 0; s < kStreams; ++s) {
      const Bits bits = read<Bits>(static_cast<const char*>(values) + s * sizeof(Bits));
      const Bits magnitude = bits & T::kMagnitude;
      const Bits finite = magnitude < infinity;
      zeros[s] -= magnitude == 0;
      negative_zeros[s] -= bits == T::kSign;
      const Bits kept = bits & finite;
      const Values downward = (Values)(kept | (~finite & infinity));
      const Values upward = (Values)(kept | (~finite & (infinity | T::kSign)));
      low[s] = downward < low[s] ? downward : low[s];
      high[s] = upward > high[s] ? upward : high[s];
      const Doubles value = __builtin_convertvector((Values)kept, Doubles);
      sum[s] += value;
      squares[s] += value * value;
      const Keys key = __builtin_convertvector(T::keys(bits, magnitude, finite), Keys);
      std::memcpy(keys + s * kLanes, &key, sizeof key);
    }
  }

  Moments finish() const {
    Moments all;
    for (int64_t s = 0; s < kStreams; ++s) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        all.sum += sum[s][lane];
        all.squares += squares[s][lane];
        all.minimum = std::min<double>(all.minimum, low[s][lane]);
        all.maximum = std::max<double>(all.maximum, high[s][lane]);
        all.zeros += zeros[s][lane];
        all.negative_zeros += negative_zeros[s][lane];
      }
    }
    return all;
  }
};

#if defined(__AVX512F__) && defined(__AVX512DQ__)
// The same for float32, two streams in each register of floats.
template <>
struct Running<Single> {
  static constexpr int kPairs = kStreams / 2;
  __m512d sum[kStreams] = {}, squares[kStreams] = {};
  __m512 low[kPairs], high[kPairs];
  __m512i zeros[kPairs] = {}, negative_zeros[kPairs] = {};

  Running() {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    for (int p = 0; p < kPairs; ++p) {
      low[p] = _mm512_set1_ps(infinity);
      high[p] = _mm512_set1_ps(-infinity);
    }
  }

  inline __attribute__((always_inline)) void take(const void* values, uint16_t* keys) {
    const __m512i one = _mm512_set1_epi32(1);
#pragma GCC unroll 2
    for (int p = 0; p < kPairs; ++p) {
      const __m512i bits = _mm512_loadu_si512(static_cast<const __m512i*>(values) + p);
      const __m512 value = _mm512_castsi512_ps(bits);
      constexpr int kOdd = 0x99;  // NaN of either kind, infinity of either sign
      const __mmask16 finite = _knot_mask16(_mm512_fpclass_ps_mask(value, kOdd));
      const __mmask16 zero = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(Single::kMagnitude));
      const __mmask16 negative = _mm512_cmpeq_epi32_mask(bits, _mm512_set1_epi32(Single::kSign));
      zeros[p] = _mm512_mask_add_epi32(zeros[p], zero, zeros[p], one);
      negative_zeros[p] = _mm512_mask_add_epi32(negative_zeros[p], negative, negative_zeros[p], one);
      low[p] = _mm512_mask_min_ps(low[p], finite, low[p], value);
      high[p] = _mm512_mask_max_ps(high[p], finite, high[p], value);
      const __m512 kept = _mm512_maskz_mov_ps(finite, value);
      const __m512d halves[2] = {
          _mm512_cvtps_pd(_mm512_castps512_ps256(kept)),
          _mm512_cvtps_pd(_mm512_extractf32x8_ps(kept, 1))};
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const int s = 2 * p + h;
        sum[s] = _mm512_add_pd(sum[s], halves[h]);
        // The square of a float32 is exact in float64, so that one rounding less changes nothing.
        squares[s] = _mm512_fmadd_pd(halves[h], halves[h], squares[s]);
      }
      const __m256i key = _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 21));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(keys) + p, key);
    }
  }

  Moments finish() const {
    Moments all;
    for (const auto& each : sum) {
      for (int lane = 0; lane < kLanes; ++lane) all.sum += each[lane];
    }
    for (const auto& each : squares) {
      for (int lane = 0; lane < kLanes; ++lane) all.squares += each[lane];
    }
    for (int p = 0; p < kPairs; ++p) {
      all.minimum = std::min<double>(all.minimum, _mm512_reduce_min_ps(low[p]));
      all.maximum = std::max<double>(all.maximum, _mm512_reduce_max_ps(high[p]));
      all.zeros += _mm512_reduce_add_epi32(zeros[p]);
      all.negative_zeros += _mm512_reduce_add_epi32(negative_zeros[p]);
    }
    return all;
  }
};
#endif

// Whole strides from memory; the rest from a copy padded with NaN, which moments exclude.
template <class T>
void take_block(const typename T::Scalar* values, int64_t length, Running<T>& all, uint16_t* keys) {
  Running<T> running = all;  // its own copy stays in registers: no key can be written over it
  const int64_t whole = length - length % kStride;
  for (int64_t i = 0; i < whole; i += kStride) running.take(values + i, keys + i);
  if (whole != length) {
    typename T::Scalar rest[kStride];
    std::fill(rest, rest + kStride, std::numeric_limits<typename T::Scalar>::quiet_NaN());
    std::copy(values + whole, values + length, rest);
    running.take(rest, keys + whole);
  }
  all = running;
}

}  // namespace
}  // namespace brainnet
