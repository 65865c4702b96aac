// AVX-512 F/BW/VL: sixteen lanes. VNNI, BF16 and AMX products where the file is compiled for
// them.
#pragma once

#if !defined(FACEFLOW_SIMDE)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

// Left to themselves compilers call what must stay in registers.
#if defined(_MSC_VER) && !defined(__clang__)
#define FACEFLOW_INLINE __forceinline
#else
#define FACEFLOW_INLINE inline __attribute__((always_inline))
#endif

namespace {

using Floats = __m512;
using Ints = __m512i;
constexpr int LANES = 16;
constexpr int PANEL = 2;
constexpr int MOST_ROWS_ALONE = 24;
constexpr int MOST_ROWS = 13;  // 26 accumulators, 2 query, 1 broadcast of 32 registers
constexpr int BLOCK = 128;

inline Floats load(const float* p) {
  return _mm512_loadu_ps(p);
}
inline void store(float* p, Floats a) {
  _mm512_storeu_ps(p, a);
}
inline Floats set1(float x) {
  return _mm512_set1_ps(x);
}
inline Floats add(Floats a, Floats b) {
  return _mm512_add_ps(a, b);
}
inline Floats sub(Floats a, Floats b) {
  return _mm512_sub_ps(a, b);
}
inline Floats mul(Floats a, Floats b) {
  return _mm512_mul_ps(a, b);
}
inline Floats divide(Floats a, Floats b) {
  return _mm512_div_ps(a, b);
}
inline Floats fma(Floats a, Floats b, Floats c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline Floats vmax(Floats a, Floats b) {
  return _mm512_max_ps(a, b);
}
inline Floats vmin(Floats a, Floats b) {
  return _mm512_min_ps(a, b);
}
inline Floats as_float(Ints a) {
  return _mm512_castsi512_ps(a);
}
inline Ints as_int(Floats a) {
  return _mm512_castps_si512(a);
}
inline Floats vabs(Floats a) {
  return as_float(_mm512_and_si512(as_int(a), _mm512_set1_epi32(0x7fffffff)));
}
inline Floats scale_by_low_bits(Floats p, Floats rounded) {
  return as_float(_mm512_add_epi32(as_int(p), _mm512_slli_epi32(as_int(rounded), 23)));
}

inline Ints izero() {
  return _mm512_setzero_si512();
}
inline Ints iload(const void* p) {
  return _mm512_loadu_si512(p);
}
inline void istore(void* p, Ints a) {
  _mm512_storeu_si512(p, a);
}
inline Ints broadcast_word(const unsigned char* p) {
  std::int32_t x;
  std::memcpy(&x, p, 4);
  return _mm512_set1_epi32(x);
}
inline Ints iadd(Ints a, Ints b) {
  return _mm512_add_epi32(a, b);
}
inline Floats to_float(Ints a) {
  return _mm512_cvtepi32_ps(a);
}
inline Ints madd16(Ints acc, Ints a, Ints b) {
  return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b));
}

inline Ints madd16_tile(Ints acc, Ints a, Ints b) {  // see simd_avx2.hpp
#if defined(__GNUC__) && !defined(FACEFLOW_SIMDE)
  const Ints product = _mm512_madd_epi16(a, b);
  __asm__ volatile("vpaddd %1, %0, %0" : "+v"(acc) : "v"(product));
  return acc;
#else
  return madd16(acc, a, b);
#endif
}

inline void reduce4(const Floats (*x)[1], float* out) {
  __m256 s[4];
  for (int i = 0; i < 4; ++i) {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x[i][0]), 1));
    s[i] = _mm256_add_ps(_mm512_castps512_ps256(x[i][0]), high);
  }
  const __m256 a = _mm256_add_ps(_mm256_permute2f128_ps(s[0], s[2], 0x20),
                                 _mm256_permute2f128_ps(s[0], s[2], 0x31));
  const __m256 b = _mm256_add_ps(_mm256_permute2f128_ps(s[1], s[3], 0x20),
                                 _mm256_permute2f128_ps(s[1], s[3], 0x31));
  const __m256 c = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
  const __m256 d = _mm256_add_ps(c, _mm256_permute_ps(c, 0x4e));
  _mm_storeu_ps(out, _mm_movelh_ps(_mm256_castps256_ps128(d), _mm256_extractf128_ps(d, 1)));
}

// Sixteen vectors to one: lane i is the sum over the lanes of x[i], in the tree of reduce4. `Add`
// adds floats or, their bits taken for it, whole numbers.
template <class Add>
FACEFLOW_INLINE Floats reduce16(const Floats* x, Add plus) {
  Floats s[8], t[4], w[2];
  // Which rows meet in a step is chosen so that the last one leaves them in order.
  static constexpr int row[16] = {0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15};
  for (int i = 0; i < 8; ++i) {
    const Floats a = x[row[i]], b = x[row[i + 8]];
    s[i] = plus(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = plus(_mm512_shuffle_f32x4(s[i], s[i + 4], 0x88),
                _mm512_shuffle_f32x4(s[i], s[i + 4], 0xdd));
  }
  for (int i = 0; i < 2; ++i) {
    const __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 2]);
    w[i] = plus(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  return plus(_mm512_shuffle_ps(w[0], w[1], 0x88), _mm512_shuffle_ps(w[0], w[1], 0xdd));
}

inline Ints widen_i8(const unsigned char* from, unsigned char* to, Ints squares) {
  const Ints x = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  istore(to, x);
  return madd16(squares, x, x);
}
inline void widen_bf16(const unsigned char* from, unsigned char* to) {
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  istore(to, _mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
inline void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

#if defined(FACEFLOW_VNNI)
inline Ints dot_u8s8(Ints acc, Ints u, Ints s) {
#if defined(__GNUC__) && !defined(FACEFLOW_SIMDE)
  __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));  // no spills: as above
  return acc;
#else
  return _mm512_dpbusd_epi32(acc, u, s);
#endif
}
inline Ints widened_i8(const unsigned char* from) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline Ints ones8() {
  return _mm512_set1_epi8(1);
}
inline Ints dot_s16(Ints acc, Ints a, Ints b) {
#if defined(__GNUC__) && !defined(FACEFLOW_SIMDE)
  __asm__ volatile("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
  return acc;
#else
  return _mm512_dpwssd_epi32(acc, a, b);
#endif
}
#endif
#if defined(FACEFLOW_BF16)
inline Floats dot_bf16(Floats acc, Ints a, Ints b) {
#if defined(_MSC_VER) && !defined(__clang__)
  __m512bh x, y;  // no cast between vector types there
  std::memcpy(&x, &a, sizeof x);
  std::memcpy(&y, &b, sizeof y);
  return _mm512_dpbf16_ps(acc, x, y);
#else
  return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
#endif
}
#endif

}  // namespace
