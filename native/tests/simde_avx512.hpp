// AVX-512 intrinsics by SIMDe's emulation, with what version 0.7.4 lacks or gets wrong.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES 1
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include <cstdint>

#define FACEFLOW_SIMDE 1

inline simde__m512 emulated_cvtepi32_ps(simde__m512i a) {
  std::int32_t from[16];
  float to[16];
  simde_mm512_storeu_si512(from, a);
  for (int l = 0; l < 16; ++l) to[l] = static_cast<float>(from[l]);
  return simde_mm512_loadu_ps(to);
}
inline simde__m512i emulated_cvtepu16_epi32(simde__m256i a) {
  std::uint16_t from[16];
  std::uint32_t to[16];
  simde_mm256_storeu_si256(reinterpret_cast<simde__m256i*>(from), a);
  for (int l = 0; l < 16; ++l) to[l] = from[l];
  return simde_mm512_loadu_si512(to);
}
// Lanes of 128 bits: two of a, two of b.
inline simde__m512 emulated_shuffle_f32x4(simde__m512 a, simde__m512 b, int which) {
  float from[2][16], to[16];
  simde_mm512_storeu_ps(from[0], a);
  simde_mm512_storeu_ps(from[1], b);
  for (int l = 0; l < 16; ++l) to[l] = from[l / 8][(which >> l / 4 * 2 & 3) * 4 + l % 4];
  return simde_mm512_loadu_ps(to);
}
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, which) emulated_shuffle_f32x4(a, b, which)
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepu16_epi32
#undef _mm512_madd_epi16
#define _mm512_cvtepi32_ps(a) emulated_cvtepi32_ps(a)
#define _mm512_cvtepu16_epi32(a) emulated_cvtepu16_epi32(a)
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
