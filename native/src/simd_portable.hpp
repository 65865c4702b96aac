// Four lanes for any processor. GCC and Clang get their own vector type, which becomes SSE2,
// NEON or whatever the target has; other compilers get loops they can vectorise.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#endif
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace {

constexpr int W = 4;
#if defined(__aarch64__)
constexpr int PV = 4;  // 32 registers: 4 x 6 accumulators
#else
constexpr int PV = 2;
#endif
constexpr int TILE1 = 8;
constexpr int TILE2 = 6;
constexpr int BLOCK = 256;

#if defined(__GNUC__) || defined(__clang__)
typedef float F __attribute__((vector_size(16)));
typedef std::int32_t I __attribute__((vector_size(16)));
typedef std::uint32_t U __attribute__((vector_size(16)));  // wraps around where I may not
inline F add(F a, F b) { return a + b; }
inline F sub(F a, F b) { return a - b; }
inline F mul(F a, F b) { return a * b; }
inline F divide(F a, F b) { return a / b; }
inline F vmax(F a, F b) { return a > b ? a : b; }
inline F vmin(F a, F b) { return a < b ? a : b; }
inline F as_float(I a) { return reinterpret_cast<F>(a); }
inline I as_int(F a) { return reinterpret_cast<I>(a); }
inline F vabs(F a) { return as_float(as_int(a) & 0x7fffffff); }
inline F set1(float x) { return F{x, x, x, x}; }
inline F scale_by_low_bits(F p, F rounded) {
  return reinterpret_cast<F>(reinterpret_cast<U>(p) + (reinterpret_cast<U>(rounded) << 23));
}
inline I iset1(std::int32_t x) { return I{x, x, x, x}; }
inline F to_float(I a) { return __builtin_convertvector(a, F); }
inline I iadd(I a, I b) { return reinterpret_cast<I>(reinterpret_cast<U>(a) + reinterpret_cast<U>(b)); }
#else
struct F {
  float v[4];
  float operator[](int i) const { return v[i]; }
};
struct I {
  std::int32_t v[4];
};
template <class T, class Op>
inline T each(T a, T b, Op op) {
  T out;
  for (int i = 0; i < 4; ++i) out.v[i] = op(a.v[i], b.v[i]);
  return out;
}
inline F add(F a, F b) { return each(a, b, [](float x, float y) { return x + y; }); }
inline F sub(F a, F b) { return each(a, b, [](float x, float y) { return x - y; }); }
inline F mul(F a, F b) { return each(a, b, [](float x, float y) { return x * y; }); }
inline F divide(F a, F b) { return each(a, b, [](float x, float y) { return x / y; }); }
inline F vmax(F a, F b) { return each(a, b, [](float x, float y) { return x > y ? x : y; }); }
inline F vmin(F a, F b) { return each(a, b, [](float x, float y) { return x < y ? x : y; }); }
inline F as_float(I a) {
  F out;
  std::memcpy(&out, &a, 16);
  return out;
}
inline I as_int(F a) {
  I out;
  std::memcpy(&out, &a, 16);
  return out;
}
inline F vabs(F a) {
  for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] < 0 ? -a.v[i] : a.v[i];
  return a;
}
inline F set1(float x) { return F{{x, x, x, x}}; }
inline F scale_by_low_bits(F p, F rounded) {
  I a = as_int(p), b = as_int(rounded);
  for (int i = 0; i < 4; ++i) {
    a.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) +
                                       (static_cast<std::uint32_t>(b.v[i]) << 23));
  }
  return as_float(a);
}
inline I iset1(std::int32_t x) { return I{{x, x, x, x}}; }
inline F to_float(I a) {
  F out;
  for (int i = 0; i < 4; ++i) out.v[i] = static_cast<float>(a.v[i]);
  return out;
}
inline I iadd(I a, I b) {
  return each(a, b, [](std::int32_t x, std::int32_t y) { return x + y; });
}
#endif

inline F fma(F a, F b, F c) {
#if defined(__aarch64__) && defined(__ARM_NEON)
  F out;
  float32x4_t x, y, z;
  std::memcpy(&x, &a, 16);
  std::memcpy(&y, &b, 16);
  std::memcpy(&z, &c, 16);
  z = vfmaq_f32(z, x, y);
  std::memcpy(&out, &z, 16);
  return out;
#else
  return add(mul(a, b), c);  // two roundings: this level's last bits differ from the others'
#endif
}

inline F ld(const float* p) {
  F out;
  std::memcpy(&out, p, 16);
  return out;
}
inline void st(float* p, F a) { std::memcpy(p, &a, 16); }
inline I ildu(const void* p) {
  I out;
  std::memcpy(&out, p, 16);
  return out;
}
inline void ist(void* p, I a) { std::memcpy(p, &a, 16); }
inline I izero() { return iset1(0); }
inline I word(const unsigned char* p) {
  std::int32_t x;
  std::memcpy(&x, p, 4);
  return iset1(x);
}

inline I madd16(I acc, I a, I b) {
#if defined(__SSE2__)
  return reinterpret_cast<I>(_mm_add_epi32(
      reinterpret_cast<__m128i>(acc),
      _mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b))));
#else
  std::int16_t x[8], y[8];
  std::int32_t z[4];
  std::memcpy(x, &a, 16);
  std::memcpy(y, &b, 16);
  for (int i = 0; i < 4; ++i) z[i] = x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
  I sum;
  std::memcpy(&sum, z, 16);
  return iadd(acc, sum);
#endif
}

inline I madd16_tile(I acc, I a, I b) { return madd16(acc, a, b); }

inline void reduce4(const F (*x)[4], float* out) {
  for (int i = 0; i < 4; ++i) {
    const F s = add(add(x[i][0], x[i][2]), add(x[i][1], x[i][3]));
    out[i] = (s[0] + s[2]) + (s[1] + s[3]);
  }
}

inline I widen_i8(const unsigned char* from, unsigned char* to, I squares) {
  for (int i = 0; i < 2 * W; ++i) {
    const std::int16_t x = static_cast<signed char>(from[i]);
    std::memcpy(to + 2 * i, &x, 2);
  }
  return madd16(squares, ildu(to), ildu(to));
}
inline void widen_bf16(const unsigned char* from, unsigned char* to) {
  for (int i = 0; i < W; ++i) {
    std::uint16_t x;
    std::memcpy(&x, from + 2 * i, 2);
    const std::uint32_t wide = static_cast<std::uint32_t>(x) << 16;
    std::memcpy(to + 4 * i, &wide, 4);
  }
}
inline void prefetch(const void*) {}

}  // namespace
