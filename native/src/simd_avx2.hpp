// AVX2 + FMA: eight lanes.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace {

using Floats = __m256;
using Ints = __m256i;
constexpr int LANES = 8;             // lanes
constexpr int PANEL = 2;             // vectors side by side in a query panel
constexpr int MOST_ROWS_ALONE = 12;  // gallery patches per register tile, one vector wide
constexpr int MOST_ROWS = 6;         // two vectors wide: 12 accumulators, 2 query, 1 broadcast
constexpr int BLOCK = 256;  // words of a patch per pass: a query panel then fills half of L1

inline Floats load(const float* p) {
  return _mm256_loadu_ps(p);
}
inline void store(float* p, Floats a) {
  _mm256_storeu_ps(p, a);
}
inline Floats set1(float x) {
  return _mm256_set1_ps(x);
}
inline Floats add(Floats a, Floats b) {
  return _mm256_add_ps(a, b);
}
inline Floats sub(Floats a, Floats b) {
  return _mm256_sub_ps(a, b);
}
inline Floats mul(Floats a, Floats b) {
  return _mm256_mul_ps(a, b);
}
inline Floats divide(Floats a, Floats b) {
  return _mm256_div_ps(a, b);
}
inline Floats fma(Floats a, Floats b, Floats c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline Floats vmax(Floats a, Floats b) {
  return _mm256_max_ps(a, b);
}
inline Floats vmin(Floats a, Floats b) {
  return _mm256_min_ps(a, b);
}
inline Floats vabs(Floats a) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
// Adds n to the exponent, where n is what rounding y + 1.5 * 2^23 left in the low mantissa.
inline Floats scale_by_low_bits(Floats p, Floats rounded) {
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p),
                                              _mm256_slli_epi32(_mm256_castps_si256(rounded), 23)));
}

inline Ints izero() {
  return _mm256_setzero_si256();
}
inline Ints iload(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline void istore(void* p, Ints a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), a);
}
inline Ints broadcast_word(const unsigned char* p) {
  std::int32_t x;
  std::memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
}
inline Floats as_float(Ints a) {
  return _mm256_castsi256_ps(a);
}
inline Ints as_int(Floats a) {
  return _mm256_castps_si256(a);
}
inline Ints iadd(Ints a, Ints b) {
  return _mm256_add_epi32(a, b);
}
inline Floats to_float(Ints a) {
  return _mm256_cvtepi32_ps(a);
}
inline Ints madd16(Ints acc, Ints a, Ints b) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}

// madd16 for register tiles. Left alone, GCC computes all products of a tile first, runs out of
// registers and spills; an addition it cannot move keeps each product short-lived.
inline Ints madd16_tile(Ints acc, Ints a, Ints b) {
#if defined(__GNUC__)
  const Ints product = _mm256_madd_epi16(a, b);
  __asm__ volatile("vpaddd %1, %0, %0" : "+x"(acc) : "x"(product));
  return acc;
#else
  return madd16(acc, a, b);
#endif
}

// Sixteen lanes are two vectors here; the tree is l+8, l+4, l+2, l+1 on every machine.
inline void reduce4(const Floats (*x)[2], float* out) {
  const Floats s0 = add(x[0][0], x[0][1]), s1 = add(x[1][0], x[1][1]);
  const Floats s2 = add(x[2][0], x[2][1]), s3 = add(x[3][0], x[3][1]);
  const Floats a = add(_mm256_permute2f128_ps(s0, s2, 0x20), _mm256_permute2f128_ps(s0, s2, 0x31));
  const Floats b = add(_mm256_permute2f128_ps(s1, s3, 0x20), _mm256_permute2f128_ps(s1, s3, 0x31));
  // a = [row 0 | row 2], b = [row 1 | row 3], four lanes each
  const Floats c =
      add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));  // l + (l+2), interleaved
  const Floats d = add(c, _mm256_permute_ps(c, 0x4e));          // + (l+1)
  const __m128 low = _mm256_castps256_ps128(d), high = _mm256_extractf128_ps(d, 1);
  _mm_storeu_ps(out, _mm_movelh_ps(low, high));
}

// 2 LANES bytes to int16; adds their squares, pairwise, to `squares`.
inline Ints widen_i8(const unsigned char* from, unsigned char* to, Ints squares) {
  const Ints x = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  istore(to, x);
  return madd16(squares, x, x);
}
inline void widen_bf16(const unsigned char* from, unsigned char* to) {  // LANES bf16 to LANES float
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  istore(to, _mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
inline void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

#if defined(FACEFLOW_VNNI)
// %{vex%}: without it assemblers take the AVX-512 form.
inline Ints dot_u8s8(Ints acc, Ints u, Ints s) {
  __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(u), "x"(s));
  return acc;
}
inline Ints dot_s16(Ints acc, Ints a, Ints b) {
  __asm__ volatile("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b));
  return acc;
}
#endif

}  // namespace
