// Number formats: how a query patch becomes words, and how a gallery face is made readable.
#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>

#include "gemm.hpp"
#include "memory.hpp"
#include "simd.hpp"
#if defined(FACEFLOW_AMX)
#include "amx.hpp"
#endif

namespace {

// Round to the nearest bf16, ties to even; NaN stays NaN.
inline std::uint16_t to_bf16(float x) {
  const std::uint32_t b = bits_of(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((b >> 16) | 0x40u);
  return static_cast<std::uint16_t>((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
}

// 1 / length from a sum of squares of codes; 0 for a zero patch.
inline float inverse_root(std::int32_t squares) {
  return squares ? 1.0f / sqrtf(static_cast<float>(squares)) : 0.0f;
}

// Quantise one patch to -127..127 by its largest value, in float32 arithmetic (the same as
// transport/codes.py); returns 1 / length of the result, so that codes times it are a unit
// patch. 0 for a zero patch, NaN where a value is not finite.
inline float quantise(const float* x, Index n, signed char* codes) {
  std::uint32_t largest = 0;  // magnitudes order like their bits, NaN above infinity above all
  for (Index c = 0; c < n; ++c) {
    const std::uint32_t size = bits_of(x[c]) & 0x7fffffffu;
    largest = size > largest ? size : largest;
  }
  const float top = float_of(largest);
  if (largest >= 0x7f800000u || top < 1e-30f) {
    for (Index c = 0; c < n; ++c) codes[c] = 0;
    return largest >= 0x7f800000u ? float_of(0x7fc00000u) : 0.0f;
  }
  const float step = 127.0f / top;
  for (Index c = 0; c < n; ++c) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    codes[c] = static_cast<signed char>(static_cast<int>((x[c] * step + magic) - magic));
  }
  std::int32_t squares = 0;  // at most 2048 * 127^2
  for (Index c = 0; c < n; ++c) squares += codes[c] * codes[c];
  return inverse_root(squares);
}

inline std::int32_t sum_codes(Bytes row, Index n) {
  std::int32_t sum = 0;
  for (Index c = 0; c < n; ++c) sum += static_cast<signed char>(row[c]);
  return sum;
}
inline std::int32_t sum_of_lanes(Ints x) {
  std::int32_t lanes[LANES], sum = 0;
  istore(lanes, x);
  for (int l = 0; l < LANES; ++l) sum += lanes[l];
  return sum;
}
inline float inverse_length(Bytes row, Index n) {
  unsigned char unused[4 * LANES];
  Ints squares = izero();
  Index c = 0;
  for (; c + 2 * LANES <= n; c += 2 * LANES) squares = widen_i8(row + c, unused, squares);
  std::int32_t sum = sum_of_lanes(squares);  // at most 2048 * 128^2
  for (; c < n; ++c) {
    const std::int32_t x = static_cast<signed char>(row[c]);
    sum += x * x;
  }
  return inverse_root(sum);
}

#if defined(FACEFLOW_VNNI) && defined(FACEFLOW_AVX512)
// Sums of squares and of codes of one patch, in sixteen parts each.
inline void sums_of_codes(Bytes row, Index n, Ints& squares, Ints& sum) {
  squares = sum = izero();
  Index c = 0;
  for (; c + 64 <= n; c += 64) {
    const Ints low = widened_i8(row + c), high = widened_i8(row + c + 32);
    squares = dot_s16(dot_s16(squares, low, low), high, high);
    sum = dot_u8s8(sum, ones8(), iload(row + c));
  }
  if (c < n) {
    unsigned char rest[64] = {};
    std::memcpy(rest, row + c, static_cast<std::size_t>(n - c));
    const Ints low = widened_i8(rest), high = widened_i8(rest + 32);
    squares = dot_s16(dot_s16(squares, low, low), high, high);
    sum = dot_u8s8(sum, ones8(), iload(rest));
  }
}
#endif

// 1 / length of `count` patches, and the sums of their codes; both have room for whole vectors.
inline void measure_rows(Bytes codes, Index stride, int count, Index n, float* scale,
                         std::int32_t* sums) {
#if defined(FACEFLOW_VNNI) && defined(FACEFLOW_AVX512)
  const auto plus = [](Floats a, Floats b) { return as_float(iadd(as_int(a), as_int(b))); };
  for (int j = 0; j < count; j += 16) {
    Floats squares[16], codes_of[16];
    for (int i = 0; i < 16; ++i) {
      Ints square, sum;
      sums_of_codes(codes + (j + i < count ? j + i : j) * stride, n, square, sum);
      squares[i] = as_float(square);
      codes_of[i] = as_float(sum);
    }
    istore(sums + j, as_int(reduce16(codes_of, plus)));
    std::int32_t found[16];
    istore(found, as_int(reduce16(squares, plus)));
    for (int i = 0; i < 16; ++i) scale[j + i] = inverse_root(found[i]);
  }
#else
  for (int j = 0; j < count; ++j) {
    scale[j] = inverse_length(codes + j * stride, n);
    sums[j] = sum_codes(codes + j * stride, n);
  }
#endif
}

// What each format states:
//   Op             the product, with how many values are in a word
//   direct         gallery bytes are words as they are; otherwise widened into scratch rows
//   integer        raw sums are int32 and need scales
//   widen          one gallery patch to a scratch row; returns 1 / length where integer
//   encode         one query (or pooled) patch to `depth` words' worth of bytes; returns scale
struct FloatFormat {
  using Op = Float32Op;
  static constexpr bool direct = true, integer = false;
  static constexpr int bytes = 4;  // of one stored gallery value
  static constexpr int wide = 4;   // of one value in words
  static constexpr int offset = 0;
  static float encode(const float* x, Index n, unsigned char* out) {
    std::memcpy(out, x, static_cast<std::size_t>(n) * 4);
    return 1.0f;
  }
  static float widen(Bytes, Index, unsigned char*) { return 1.0f; }
};

struct WideBf16Format {
  using Op = Float32Op;
  static constexpr bool direct = false, integer = false;
  static constexpr int bytes = 2, wide = 4, offset = 0;
  static float encode(const float* x, Index n, unsigned char* out) {
    for (Index c = 0; c < n; ++c) {
      const std::uint32_t b = static_cast<std::uint32_t>(to_bf16(x[c])) << 16;
      std::memcpy(out + 4 * c, &b, 4);
    }
    return 1.0f;
  }
  static float widen(Bytes row, Index n, unsigned char* out) {
    Index c = 0;
    for (; c + LANES <= n; c += LANES) widen_bf16(row + 2 * c, out + 4 * c);
    for (; c < n; ++c) {
      std::uint16_t x;
      std::memcpy(&x, row + 2 * c, 2);
      const std::uint32_t b = static_cast<std::uint32_t>(x) << 16;
      std::memcpy(out + 4 * c, &b, 4);
    }
    return 1.0f;
  }
};

struct Int16Format {  // int8 codes, multiplied as int16 pairs
  using Op = Int16Op;
  static constexpr bool direct = false, integer = true;
  static constexpr int bytes = 1, wide = 2, offset = 0;
  static float encode(const float* x, Index n, unsigned char* out) {
    // Codes go to the upper half first: widening upwards never overwrites one still to come.
    signed char* codes = reinterpret_cast<signed char*>(out) + n;
    const float scale = quantise(x, n, codes);
    for (Index c = 0; c < n; ++c) {
      const std::int16_t code = codes[c];
      std::memcpy(out + 2 * c, &code, 2);
    }
    return scale;
  }
  static float widen(Bytes row, Index n, unsigned char* out) {
    Ints squares = izero();
    Index c = 0;
    for (; c + 2 * LANES <= n; c += 2 * LANES) squares = widen_i8(row + c, out + 2 * c, squares);
    std::int32_t sum = sum_of_lanes(squares);
    for (; c < n; ++c) {
      const std::int16_t x = static_cast<signed char>(row[c]);
      std::memcpy(out + 2 * c, &x, 2);
      sum += x * x;
    }
    return inverse_root(sum);
  }
};

#if defined(FACEFLOW_VNNI)
struct Vnni8Format {  // the query moved up by 128, because vpdpbusd wants one side unsigned
  using Op = Vnni8Op;
  static constexpr bool direct = true, integer = true;
  static constexpr int bytes = 1, wide = 1, offset = 128;
  static float encode(const float* x, Index n, unsigned char* out) {
    return quantise(x, n, reinterpret_cast<signed char*>(out));
  }
  static float widen(Bytes, Index, unsigned char*) { return 1.0f; }
};
#endif

#if defined(FACEFLOW_BF16) || defined(FACEFLOW_AMX)
inline float encode_bf16(const float* x, Index n, unsigned char* out) {
  for (Index c = 0; c < n; ++c) {
    const std::uint16_t b = to_bf16(x[c]);
    std::memcpy(out + 2 * c, &b, 2);
  }
  return 1.0f;
}
#endif

#if defined(FACEFLOW_BF16)
struct Bf16Format {
  using Op = Bf16Op;
  static constexpr bool direct = true, integer = false;
  static constexpr int bytes = 2, wide = 2, offset = 0;
  static float encode(const float* x, Index n, unsigned char* out) {
    return encode_bf16(x, n, out);
  }
  static float widen(Bytes, Index, unsigned char*) { return 1.0f; }
};
#endif

#if defined(FACEFLOW_AMX)
struct Amx8Format {  // signed with signed: nothing to move
  using Op = AmxOp<true>;
  static constexpr bool direct = true, integer = true;
  static constexpr int bytes = 1, wide = 1, offset = 0;
  static float encode(const float* x, Index n, unsigned char* out) {
    return quantise(x, n, reinterpret_cast<signed char*>(out));
  }
  static float widen(Bytes, Index, unsigned char*) { return 1.0f; }
};
struct AmxBf16Format {
  using Op = AmxOp<false>;
  static constexpr bool direct = true, integer = false;
  static constexpr int bytes = 2, wide = 2, offset = 0;
  static float encode(const float* x, Index n, unsigned char* out) {
    return encode_bf16(x, n, out);
  }
  static float widen(Bytes, Index, unsigned char*) { return 1.0f; }
};
#endif

// <row, code> of one gallery patch and one encoded patch (padded with zeros), along the patch.
// Floats are summed in sixteen lanes, so every vector width gives the same bits.
template <class Format>
struct Dot {
  static float of(Bytes row, Bytes code, Index n) {
    float lanes[16];
    for (int l = 0; l < 16; ++l) lanes[l] = 0.0f;
    Floats acc[16 / LANES];
    for (int h = 0; h < 16 / LANES; ++h) acc[h] = set1(0.0f);
    Index c = 0;
    for (; c + 16 <= n; c += 16) {
      for (int h = 0; h < 16 / LANES; ++h) {
        acc[h] = fma(value(row, c + h * LANES), query(code, c + h * LANES), acc[h]);
      }
    }
    for (int h = 0; h < 16 / LANES; ++h) store(lanes + h * LANES, acc[h]);
    if (c < n) {  // the rest, copied so that nothing is read past the end
      unsigned char rest[64] = {};
      std::memcpy(rest, row + c * step, static_cast<std::size_t>((n - c) * step));
      for (int h = 0; h < 16 / LANES; ++h) {
        acc[h] = fma(value(rest, h * LANES), query(code, c + h * LANES), acc[h]);
      }
      for (int h = 0; h < 16 / LANES; ++h) store(lanes + h * LANES, acc[h]);
    }
    for (int half = 8; half; half /= 2) {
      for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    }
    return lanes[0];
  }

 private:
  static constexpr Index step = Format::wide;  // bytes of one value in both rows
  static Floats value(Bytes at, Index c) { return query(at, c); }
  static Floats query(Bytes at, Index c) {
    if (step == 4) return as_float(iload(at + 4 * c));
    unsigned char wide[4 * LANES];
    widen_bf16(at + 2 * c, wide);
    return as_float(iload(wide));
  }
};
template <>
struct Dot<Int16Format> {
  static float of(Bytes row, Bytes code, Index n) {  // both widened to int16
    std::int32_t sum = 0;
    for (Index c = 0; c < n; ++c) {
      std::int16_t x, y;
      std::memcpy(&x, row + 2 * c, 2);
      std::memcpy(&y, code + 2 * c, 2);
      sum += x * y;
    }
    return static_cast<float>(sum);
  }
};
#if defined(FACEFLOW_VNNI) || defined(FACEFLOW_AMX)
struct DotCodes {
  static float of(Bytes row, Bytes code, Index n) {
    std::int32_t sum = 0;
    for (Index c = 0; c < n; ++c) {
      sum += static_cast<signed char>(row[c]) * static_cast<signed char>(code[c]);
    }
    return static_cast<float>(sum);
  }
};
#endif
#if defined(FACEFLOW_VNNI)
template <>
struct Dot<Vnni8Format> : DotCodes {};
#endif

// out[j] = <row j, code> for `count` rows; `out` has room for whole vectors.
template <class Format>
void dots_with(Bytes rows, Index stride, int count, Bytes code, Index n, float* out) {
  for (int j = 0; j < count; ++j) out[j] = Dot<Format>::of(rows + j * stride, code, n);
}
#if defined(FACEFLOW_VNNI) && defined(FACEFLOW_AVX512)
template <>
inline void dots_with<Vnni8Format>(Bytes rows, Index stride, int count, Bytes code, Index n,
                                   float* out) {
  const auto plus = [](Floats a, Floats b) { return as_float(iadd(as_int(a), as_int(b))); };
  for (int j = 0; j < count; j += 16) {
    Floats sums[16];
    for (int i = 0; i < 16; ++i) {
      const Bytes row = rows + (j + i < count ? j + i : j) * stride;
      Ints sum = izero();
      Index c = 0;
      for (; c + 32 <= n; c += 32) sum = dot_s16(sum, widened_i8(row + c), widened_i8(code + c));
      if (c < n) {  // the rest, copied so that nothing is read past the end
        unsigned char rest[32] = {};
        std::memcpy(rest, row + c, static_cast<std::size_t>(n - c));
        sum = dot_s16(sum, widened_i8(rest), widened_i8(code + c));
      }
      sums[i] = as_float(sum);
    }
    store(out + j, to_float(as_int(reduce16(sums, plus))));
  }
}
#endif
#if defined(FACEFLOW_AMX)
template <>
struct Dot<Amx8Format> : DotCodes {};
#endif

}  // namespace
