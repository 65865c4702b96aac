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

constexpr int LANES = 4;
#if defined(__aarch64__)
constexpr int PANEL = 4;  // 32 registers: 4 x 6 accumulators
#else
constexpr int PANEL = 2;
#endif
constexpr int MOST_ROWS_ALONE = 8;
constexpr int MOST_ROWS = 6;
constexpr int BLOCK = 256;

#if defined(__GNUC__) || defined(__clang__)
typedef float Floats __attribute__((vector_size(16)));
typedef std::int32_t Ints __attribute__((vector_size(16)));
typedef std::uint32_t Unsigned __attribute__((vector_size(16)));  // wraps around where I may not
inline Floats add(Floats a, Floats b) {
  return a + b;
}
inline Floats sub(Floats a, Floats b) {
  return a - b;
}
inline Floats mul(Floats a, Floats b) {
  return a * b;
}
inline Floats divide(Floats a, Floats b) {
  return a / b;
}
inline Floats vmax(Floats a, Floats b) {
  return a > b ? a : b;
}
inline Floats vmin(Floats a, Floats b) {
  return a < b ? a : b;
}
inline Floats as_float(Ints a) {
  return reinterpret_cast<Floats>(a);
}
inline Ints as_int(Floats a) {
  return reinterpret_cast<Ints>(a);
}
inline Floats vabs(Floats a) {
  return as_float(as_int(a) & 0x7fffffff);
}
inline Floats set1(float x) {
  return Floats{x, x, x, x};
}
inline Floats scale_by_low_bits(Floats p, Floats rounded) {
  return reinterpret_cast<Floats>(reinterpret_cast<Unsigned>(p) +
                                  (reinterpret_cast<Unsigned>(rounded) << 23));
}
inline Ints iset1(std::int32_t x) {
  return Ints{x, x, x, x};
}
inline Floats to_float(Ints a) {
  return __builtin_convertvector(a, Floats);
}
inline Ints iadd(Ints a, Ints b) {
  return reinterpret_cast<Ints>(reinterpret_cast<Unsigned>(a) + reinterpret_cast<Unsigned>(b));
}
#else
struct Floats {
  float v[4];
  float operator[](int i) const { return v[i]; }
};
struct Ints {
  std::int32_t v[4];
};
template <class T, class Op>
inline T each(T a, T b, Op op) {
  T out;
  for (int i = 0; i < 4; ++i) out.v[i] = op(a.v[i], b.v[i]);
  return out;
}
inline Floats add(Floats a, Floats b) {
  return each(a, b, [](float x, float y) { return x + y; });
}
inline Floats sub(Floats a, Floats b) {
  return each(a, b, [](float x, float y) { return x - y; });
}
inline Floats mul(Floats a, Floats b) {
  return each(a, b, [](float x, float y) { return x * y; });
}
inline Floats divide(Floats a, Floats b) {
  return each(a, b, [](float x, float y) { return x / y; });
}
inline Floats vmax(Floats a, Floats b) {
  return each(a, b, [](float x, float y) { return x > y ? x : y; });
}
inline Floats vmin(Floats a, Floats b) {
  return each(a, b, [](float x, float y) { return x < y ? x : y; });
}
inline Floats as_float(Ints a) {
  Floats out;
  std::memcpy(&out, &a, 16);
  return out;
}
inline Ints as_int(Floats a) {
  Ints out;
  std::memcpy(&out, &a, 16);
  return out;
}
inline Floats vabs(Floats a) {
  for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] < 0 ? -a.v[i] : a.v[i];
  return a;
}
inline Floats set1(float x) {
  return Floats{{x, x, x, x}};
}
inline Floats scale_by_low_bits(Floats p, Floats rounded) {
  Ints a = as_int(p), b = as_int(rounded);
  for (int i = 0; i < 4; ++i) {
    a.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) +
                                       (static_cast<std::uint32_t>(b.v[i]) << 23));
  }
  return as_float(a);
}
inline Ints iset1(std::int32_t x) {
  return Ints{{x, x, x, x}};
}
inline Floats to_float(Ints a) {
  Floats out;
  for (int i = 0; i < 4; ++i) out.v[i] = static_cast<float>(a.v[i]);
  return out;
}
inline Ints iadd(Ints a, Ints b) {
  return each(a, b, [](std::int32_t x, std::int32_t y) { return x + y; });
}
#endif

inline Floats fma(Floats a, Floats b, Floats c) {
#if defined(__aarch64__) && defined(__ARM_NEON)
  Floats out;
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

inline Floats load(const float* p) {
  Floats out;
  std::memcpy(&out, p, 16);
  return out;
}
inline void store(float* p, Floats a) {
  std::memcpy(p, &a, 16);
}
inline Ints iload(const void* p) {
  Ints out;
  std::memcpy(&out, p, 16);
  return out;
}
inline void istore(void* p, Ints a) {
  std::memcpy(p, &a, 16);
}
inline Ints izero() {
  return iset1(0);
}
inline Ints broadcast_word(const unsigned char* p) {
  std::int32_t x;
  std::memcpy(&x, p, 4);
  return iset1(x);
}

inline Ints madd16(Ints acc, Ints a, Ints b) {
#if defined(__SSE2__)
  return reinterpret_cast<Ints>(
      _mm_add_epi32(reinterpret_cast<__m128i>(acc),
                    _mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b))));
#else
  std::int16_t x[8], y[8];
  std::int32_t z[4];
  std::memcpy(x, &a, 16);
  std::memcpy(y, &b, 16);
  for (int i = 0; i < 4; ++i) z[i] = x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
  Ints sum;
  std::memcpy(&sum, z, 16);
  return iadd(acc, sum);
#endif
}

inline Ints madd16_tile(Ints acc, Ints a, Ints b) {
  return madd16(acc, a, b);
}

inline void reduce4(const Floats (*x)[4], float* out) {
  for (int i = 0; i < 4; ++i) {
    const Floats s = add(add(x[i][0], x[i][2]), add(x[i][1], x[i][3]));
    out[i] = (s[0] + s[2]) + (s[1] + s[3]);
  }
}

inline Ints widen_i8(const unsigned char* from, unsigned char* to, Ints squares) {
  for (int i = 0; i < 2 * LANES; ++i) {
    const std::int16_t x = static_cast<signed char>(from[i]);
    std::memcpy(to + 2 * i, &x, 2);
  }
  return madd16(squares, iload(to), iload(to));
}
inline void widen_bf16(const unsigned char* from, unsigned char* to) {
  for (int i = 0; i < LANES; ++i) {
    std::uint16_t x;
    std::memcpy(&x, from + 2 * i, 2);
    const std::uint32_t wide = static_cast<std::uint32_t>(x) << 16;
    std::memcpy(to + 4 * i, &wide, 4);
  }
}
inline void prefetch(const void*) {}

}  // namespace
