// Sums over patches or channels: sixteen accumulators on every machine, whatever its vectors
// hold, and one tree over them at the end. That is why levels agree to the last bit.
#pragma once

#include "memory.hpp"
#include "simd.hpp"

namespace {

constexpr int PARTS = 16 / LANES;  // vectors of sixteen accumulators

// Rows whose sums are taken together: sixteen where one step does that.
#if defined(FACEFLOW_AVX512)
constexpr int SUM_ROWS = 16;
FACEFLOW_INLINE void sum_rows(const Floats (*acc)[PARTS], float* out) {
  store(out, reduce16(acc[0], add));
}
#else
constexpr int SUM_ROWS = 4;
inline void sum_rows(const Floats (*acc)[PARTS], float* out) {
  reduce4(acc, out);
}
#endif

// out[0..SUM_ROWS-1] = those rows of k times x, over `vectors` vectors.
inline void dot_rows(const float* k, Index stride, const float* x, int vectors, float* out) {
  Floats acc[SUM_ROWS][PARTS];
  for (int j = 0; j < SUM_ROWS; ++j) {
    for (int h = 0; h < PARTS; ++h) acc[j][h] = set1(0.0f);
  }
  int n = 0;
  for (; n + PARTS <= vectors; n += PARTS) {
    for (int h = 0; h < PARTS; ++h) {
      const Floats xv = load(x + (n + h) * LANES);
      for (int j = 0; j < SUM_ROWS; ++j) {
        acc[j][h] = fma(load(k + j * stride + (n + h) * LANES), xv, acc[j][h]);
      }
    }
  }
  for (int h = 0; h < PARTS - 1; ++h) {  // constant bounds keep the accumulators in registers
    if (n + h < vectors) {
      const Floats xv = load(x + (n + h) * LANES);
      for (int j = 0; j < SUM_ROWS; ++j) {
        acc[j][h] = fma(load(k + j * stride + (n + h) * LANES), xv, acc[j][h]);
      }
    }
  }
  sum_rows(acc, out);
}

#if defined(FACEFLOW_AVX512)
// The same for rows of NV vectors that follow each other: the compiler knows every place.
template <int NV>
FACEFLOW_INLINE Floats dot_next_rows(const float* k, const float* x) {
  Floats acc[16];
  for (int j = 0; j < 16; ++j) acc[j] = set1(0.0f);
  for (int n = 0; n < NV; ++n) {
    const Floats xv = load(x + n * LANES);
    for (int j = 0; j < 16; ++j) acc[j] = fma(load(k + (j * NV + n) * LANES), xv, acc[j]);
  }
  return reduce16(acc, add);
}
#endif

// Sum over the lanes of vectors given one by one, in the sixteen-lane order.
struct LaneSum {
  Floats acc[4][PARTS];
  LaneSum() {
    for (int j = 0; j < 4; ++j) {
      for (int h = 0; h < PARTS; ++h) acc[j][h] = set1(0.0f);
    }
  }
  void take(int group, Floats x) {
    for (int h = 0; h < PARTS; ++h) {
      if (h == group) acc[0][h] = add(acc[0][h], x);
    }
  }
  float total() const {
    float out[4];
    reduce4(acc, out);
    return out[0];
  }
};

// Sum of squares in sixteen lanes, so that every vector width gives the same bits.
inline float squares_of(const float* x, Index n) {
  Floats acc[16 / LANES];
  for (int h = 0; h < 16 / LANES; ++h) acc[h] = set1(0.0f);
  Index e = 0;
  for (; e + 16 <= n; e += 16) {
    for (int h = 0; h < 16 / LANES; ++h) {
      const Floats v = load(x + e + h * LANES);
      acc[h] = fma(v, v, acc[h]);
    }
  }
  float lanes[16];
  for (int h = 0; h < 16 / LANES; ++h) store(lanes + h * LANES, acc[h]);
  for (int l = 0; e < n; ++e, ++l) lanes[l] += x[e] * x[e];
  for (int half = 8; half; half /= 2) {
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0];
}

}  // namespace
