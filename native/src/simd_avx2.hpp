// AVX2 + FMA: eight lanes.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace {

using F = __m256;
using I = __m256i;
constexpr int W = 8;            // lanes
constexpr int PV = 2;           // vectors side by side in a query panel
constexpr int TILE1 = 12;       // gallery patches per register tile, one vector wide
constexpr int TILE2 = 6;        // two vectors wide: 12 accumulators, 2 query, 1 broadcast
constexpr int BLOCK = 256;      // words of a patch per pass: a query panel then fills half of L1

inline F ld(const float* p) { return _mm256_loadu_ps(p); }
inline void st(float* p, F a) { _mm256_storeu_ps(p, a); }
inline F set1(float x) { return _mm256_set1_ps(x); }
inline F add(F a, F b) { return _mm256_add_ps(a, b); }
inline F sub(F a, F b) { return _mm256_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm256_mul_ps(a, b); }
inline F divide(F a, F b) { return _mm256_div_ps(a, b); }
inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline F vmax(F a, F b) { return _mm256_max_ps(a, b); }
inline F vmin(F a, F b) { return _mm256_min_ps(a, b); }
inline F vabs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
// Adds n to the exponent, where n is what rounding y + 1.5 * 2^23 left in the low mantissa.
inline F scale_by_low_bits(F p, F rounded) {
  return _mm256_castsi256_ps(_mm256_add_epi32(
      _mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(rounded), 23)));
}

inline I izero() { return _mm256_setzero_si256(); }
inline I ildu(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void ist(void* p, I a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a); }
inline I word(const unsigned char* p) {
  std::int32_t x;
  std::memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
}
inline F as_float(I a) { return _mm256_castsi256_ps(a); }
inline I as_int(F a) { return _mm256_castps_si256(a); }
inline I iadd(I a, I b) { return _mm256_add_epi32(a, b); }
inline F to_float(I a) { return _mm256_cvtepi32_ps(a); }
inline I madd16(I acc, I a, I b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }

// madd16 for register tiles. Left alone, GCC computes all products of a tile first, runs out of
// registers and spills; an addition it cannot move keeps each product short-lived.
inline I madd16_tile(I acc, I a, I b) {
#if defined(__GNUC__)
  const I product = _mm256_madd_epi16(a, b);
  __asm__ volatile("vpaddd %1, %0, %0" : "+x"(acc) : "x"(product));
  return acc;
#else
  return madd16(acc, a, b);
#endif
}

// Sixteen lanes are two vectors here; the tree is l+8, l+4, l+2, l+1 on every machine.
inline void reduce4(const F (*x)[2], float* out) {
  const F s0 = add(x[0][0], x[0][1]), s1 = add(x[1][0], x[1][1]);
  const F s2 = add(x[2][0], x[2][1]), s3 = add(x[3][0], x[3][1]);
  const F a = add(_mm256_permute2f128_ps(s0, s2, 0x20), _mm256_permute2f128_ps(s0, s2, 0x31));
  const F b = add(_mm256_permute2f128_ps(s1, s3, 0x20), _mm256_permute2f128_ps(s1, s3, 0x31));
  // a = [row 0 | row 2], b = [row 1 | row 3], four lanes each
  const F c = add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));  // l + (l+2), interleaved
  const F d = add(c, _mm256_permute_ps(c, 0x4e));                       // + (l+1)
  const __m128 low = _mm256_castps256_ps128(d), high = _mm256_extractf128_ps(d, 1);
  _mm_storeu_ps(out, _mm_movelh_ps(low, high));
}

// 2 W bytes to int16; adds their squares, pairwise, to `squares`.
inline I widen_i8(const unsigned char* from, unsigned char* to, I squares) {
  const I x = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  ist(to, x);
  return madd16(squares, x, x);
}
inline void widen_bf16(const unsigned char* from, unsigned char* to) {  // W bf16 to W float
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  ist(to, _mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
inline void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

}  // namespace
