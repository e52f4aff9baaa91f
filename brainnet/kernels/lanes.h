// Lanes: as many neighbouring numbers as the widest registers of the processor hold, and how each
// dtype is read into them and written from them.
//
// Written with GNU vectors, which GCC and Clang compile for any processor; intrinsics only where GCC
// compiles badly for AVX-512. Half types are computed in float32 and rounded once, to nearest even.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define BRAINNET_AVX512
#endif
#if !defined(__F16C__) && !defined(__FLT16_MANT_DIG__)
#include <c10/util/Half.h>
#endif

// Always inlined, because lanes must stay in registers.
#define BRAINNET_INLINE inline __attribute__((always_inline))

namespace brainnet {
namespace {

#if defined(BRAINNET_AVX512)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

typedef float Floats __attribute__((vector_size(kBytes)));
typedef int32_t Ints __attribute__((vector_size(kBytes)));
typedef uint32_t Words __attribute__((vector_size(kBytes)));
typedef uint16_t Halves __attribute__((vector_size(kBytes / 2)));
typedef float FewFloats __attribute__((vector_size(kBytes / 2)));
typedef double Doubles __attribute__((vector_size(kBytes)));
typedef int64_t Longs __attribute__((vector_size(kBytes)));

struct BFloat16 {
  uint16_t bits;
};
#if defined(__F16C__)
struct Half {
  uint16_t bits;
};
#elif defined(__FLT16_MANT_DIG__)
using Half = _Float16;
#else
using Half = c10::Half;
#endif

// What a dtype is computed in; the lanes of it; and the integers that count in lanes as wide.
template <class S>
using Computed = std::conditional_t<std::is_same_v<S, double>, double, float>;
template <class C>
using LanesOf = std::conditional_t<std::is_same_v<C, double>, Doubles, Floats>;
template <class C>
using CountOf = std::conditional_t<std::is_same_v<C, double>, int64_t, int32_t>;
template <class C>
constexpr int64_t kLanes = kBytes / static_cast<int64_t>(sizeof(C));

// `V` below is one number of the compute dtype or lanes of it. The same code serves both: columns
// that do not fill a register are computed one at a time.
template <class V>
constexpr bool kMany = !std::is_arithmetic_v<V>;
template <class V>
BRAINNET_INLINE V raw(const void* place) {
  V value;
  std::memcpy(&value, place, sizeof value);
  return value;
}
template <class V>
BRAINNET_INLINE void put(void* place, V value) {
  std::memcpy(place, &value, sizeof value);
}

template <class V, class C>
BRAINNET_INLINE V all(C value) {
  if constexpr (kMany<V>) {
    return value - V{};  // and not a sum, which would lose the sign of -0
  } else {
    return value;
  }
}

// ---- Reading --------------------------------------------------------------------------------

template <class V>
BRAINNET_INLINE V load(const float* place) {
  return raw<V>(place);
}
template <class V>
BRAINNET_INLINE V load(const double* place) {
  return raw<V>(place);
}

template <class V>
BRAINNET_INLINE V load(const BFloat16* place) {
  if constexpr (kMany<V>) {
    const Words wide = __builtin_convertvector(raw<Halves>(place), Words) << 16;
    return reinterpret_cast<V>(wide);
  } else {
    const uint32_t wide = static_cast<uint32_t>(place->bits) << 16;
    return raw<V>(&wide);
  }
}

template <class V>
BRAINNET_INLINE V load(const Half* place) {
  if constexpr (!kMany<V>) {
#if defined(__F16C__)
    return _cvtsh_ss(place->bits);
#else
    return static_cast<float>(*place);
#endif
  } else {
#if defined(BRAINNET_AVX512)
    return reinterpret_cast<V>(_mm512_cvtph_ps(raw<__m256i>(place)));
#elif defined(__F16C__) && defined(__AVX__)
    return reinterpret_cast<V>(_mm256_cvtph_ps(raw<__m128i>(place)));
#else
    V value;
    for (int64_t k = 0; k < kLanes<float>; ++k) value[k] = load<float>(place + k);
    return value;
#endif
  }
}

// ---- Writing: returns the stored number -------------------------------------------------------

template <class V>
BRAINNET_INLINE V store(float* place, V value) {
  put(place, value);
  return value;
}
template <class V>
BRAINNET_INLINE V store(double* place, V value) {
  put(place, value);
  return value;
}

template <class V>
BRAINNET_INLINE V store(BFloat16* place, V value) {
  if constexpr (kMany<V>) {
    const Words wide = reinterpret_cast<Words>(value);
    const Words nearest = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;
    const Words kept = value == value ? nearest : Words{} + 0x7fc0;
    put(place, __builtin_convertvector(kept, Halves));
    return reinterpret_cast<V>(kept << 16);
  } else {
    const uint32_t wide = raw<uint32_t>(&value);
    const uint32_t nearest = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;
    place->bits = static_cast<uint16_t>(value == value ? nearest : 0x7fc0u);
    return load<V>(place);
  }
}

template <class V>
BRAINNET_INLINE V store(Half* place, V value) {
  if constexpr (!kMany<V>) {
#if defined(__F16C__)
    place->bits = _cvtss_sh(value, 0);
#else
    *place = static_cast<Half>(value);
#endif
  } else {
#if defined(BRAINNET_AVX512)
    put(place, _mm512_cvtps_ph(reinterpret_cast<__m512>(value), 0));
#elif defined(__F16C__) && defined(__AVX__)
    put(place, _mm256_cvtps_ph(reinterpret_cast<__m256>(value), 0));
#else
    for (int64_t k = 0; k < kLanes<float>; ++k) place[k] = static_cast<Half>(value[k]);
#endif
  }
  return load<V>(place);
}

// ---- Arithmetic -------------------------------------------------------------------------------

// Between 0 and 1; a NaN stays, and so does -0.
template <class V>
BRAINNET_INLINE V clamped(V z) {
#if defined(BRAINNET_AVX512)
  // Of two operands that do not compare, these instructions return the second.
  if constexpr (std::is_same_v<V, Floats>) {
    const __m512 low = _mm512_max_ps(_mm512_setzero_ps(), reinterpret_cast<__m512>(z));
    return reinterpret_cast<V>(_mm512_min_ps(_mm512_set1_ps(1), low));
  } else if constexpr (std::is_same_v<V, Doubles>) {
    const __m512d low = _mm512_max_pd(_mm512_setzero_pd(), reinterpret_cast<__m512d>(z));
    return reinterpret_cast<V>(_mm512_min_pd(_mm512_set1_pd(1), low));
  }
#endif
  const V zero = V{}, one = zero + 1;
  z = z < zero ? zero : z;
  return z > one ? one : z;
}

// One more in each lane whose output is the value.
BRAINNET_INLINE void count(int32_t& counter, float output, float value) {
  counter += output == value;
}
BRAINNET_INLINE void count(int64_t& counter, double output, double value) {
  counter += output == value;
}
BRAINNET_INLINE void count(Ints& counter, Floats output, float value) {
#if defined(BRAINNET_AVX512)
  const auto same = _mm512_cmp_ps_mask(
      reinterpret_cast<__m512>(output), _mm512_set1_ps(value), _CMP_EQ_OQ);
  const auto held = reinterpret_cast<__m512i>(counter);
  counter = reinterpret_cast<Ints>(_mm512_mask_add_epi32(held, same, held, _mm512_set1_epi32(1)));
#else
  counter -= output == value;
#endif
}
BRAINNET_INLINE void count(Longs& counter, Doubles output, double value) {
  counter -= output == value;
}

BRAINNET_INLINE bool odd(float value) { return (raw<uint32_t>(&value) & 0x7f800000) == 0x7f800000; }
BRAINNET_INLINE bool odd(double value) { return !(value - value == 0); }

// Whether any of the numbers is infinite or NaN.
template <int kRows>
BRAINNET_INLINE bool any_odd(const Floats (&values)[kRows]) {
#if defined(BRAINNET_AVX512)
  unsigned found = 0;
#pragma GCC unroll 8
  for (const auto& each : values) {
    found |= _mm512_fpclass_ps_mask(reinterpret_cast<__m512>(each), 0x99);
  }
  return found != 0;
#else
  Ints found{};
#pragma GCC unroll 8
  for (const auto& each : values) {
    found |= (reinterpret_cast<Ints>(each) & 0x7f800000) == 0x7f800000;
  }
  uint64_t words[sizeof found / 8], any = 0;
  std::memcpy(words, &found, sizeof found);
  for (auto word : words) any |= word;
  return any != 0;
#endif
}
template <int kRows>
BRAINNET_INLINE bool any_odd(const Doubles (&values)[kRows]) {
  constexpr int64_t kInfinity = INT64_C(0x7ff) << 52;
  Longs found{};
#pragma GCC unroll 8
  for (const auto& each : values) {
    found |= (reinterpret_cast<Longs>(each) & kInfinity) == kInfinity;
  }
  uint64_t words[sizeof found / 8], any = 0;
  std::memcpy(words, &found, sizeof found);
  for (auto word : words) any |= word;
  return any != 0;
}

// ---- Sums in float64 --------------------------------------------------------------------------

template <class V>
struct Wide {  // one number, or lanes of float64
  using Sum = std::conditional_t<kMany<V>, Doubles, double>;
  Sum value;
  BRAINNET_INLINE explicit Wide(V narrow) : value(narrow) {}
  BRAINNET_INLINE explicit Wide(const double* place) : value(raw<Sum>(place)) {}
  BRAINNET_INLINE void store(double* place) const { put(place, value); }
  BRAINNET_INLINE void add(const Wide& other) { value += other.value; }
};

template <>
struct Wide<Floats> {
  Doubles low, high;
  BRAINNET_INLINE explicit Wide(Floats narrow) {
#if defined(BRAINNET_AVX512)
    const __m512 held = reinterpret_cast<__m512>(narrow);
    low = reinterpret_cast<Doubles>(_mm512_cvtps_pd(_mm512_castps512_ps256(held)));
    high = reinterpret_cast<Doubles>(_mm512_cvtps_pd(_mm512_extractf32x8_ps(held, 1)));
#else
    FewFloats parts[2];
    std::memcpy(parts, &narrow, sizeof narrow);
    low = __builtin_convertvector(parts[0], Doubles);
    high = __builtin_convertvector(parts[1], Doubles);
#endif
  }
  BRAINNET_INLINE explicit Wide(const double* place)
      : low(raw<Doubles>(place)), high(raw<Doubles>(place + kLanes<double>)) {}
  BRAINNET_INLINE void store(double* place) const {
    put(place, low);
    put(place + kLanes<double>, high);
  }
  BRAINNET_INLINE void add(const Wide& other) {
    low += other.low;
    high += other.high;
  }
};

template <class V>
BRAINNET_INLINE void add_to(double* place, V value) {
  Wide<V> sum(place);
  sum.add(Wide<V>(value));
  sum.store(place);
}

}  // namespace
}  // namespace brainnet
