// Sinkhorn scaling of one pair in float32; rows of K are gallery patches, lanes query patches.
#pragma once

#include "memory.hpp"
#include "reduce.hpp"
#include "simd.hpp"

namespace {

// Beyond this range of S / epsilon float32 could under- or overflow: float64 takes over.
constexpr double FLOAT_RANGE = 60.0;
// Below this tolerance float32 rounding would show in the marginal error.
constexpr double FLOAT_TOLERANCE = 1e-5;

// 2^y for y in [-125, 1]; relative error below 1.6e-7, the same bits on every machine with fma.
inline Floats exp2_near(Floats y) {
  const Floats magic = set1(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Floats rounded = add(y, magic);
  const Floats f = sub(y, sub(rounded, magic));
  Floats p = set1(0x1.5bba14p-10f);
  p = fma(p, f, set1(0x1.3cea88p-7f));
  p = fma(p, f, set1(0x1.c6b752p-5f));
  p = fma(p, f, set1(0x1.ebf9bcp-3f));
  p = fma(p, f, set1(0x1.62e42ap-1f));
  p = fma(p, f, set1(1.0f));
  return scale_by_low_bits(p, rounded);
}

// One pair's iterations: r = u / (K c), c = v / (K' r), where u and v are the weights, r and c the
// factors of query and gallery patches, and K the kernel.
struct Scaling {
  const float* cosine;  // (padded, stride); rows of padding are zero
  float* kernel;        // K, the same shape; rows of padding are 1
  Index stride;
  int rows, vectors;            // gallery patches, vectors of query patches
  int padded;                   // rows up to a multiple of sixteen
  float* query_factor;          // r
  float* mass;                  // K c: what each query patch would send without its factor
  float* next;                  // K c of the coming iteration
  float* gallery_factor;        // c
  const float* query_weight;    // u, padded with zeros
  const float* gallery_weight;  // v, likewise
  const float* largest;         // cosine of each query patch

  // K = exp((cosine - largest) / epsilon). Its sums over the gallery are the first K c, as c
  // starts at 1. False when a cosine is not finite.
  bool start(double epsilon) {
    const Floats slope = set1(static_cast<float>(1.4426950408889634 / epsilon));
    Floats finite = set1(0.0f);  // 0 * x is 0 unless x is NaN or infinite
    for (int n = 0; n < vectors; ++n) {
      const Floats offset = mul(load(largest + n * LANES), slope);
      const Floats minus = sub(set1(0.0f), offset);
      const float* from = cosine + n * LANES;
      float* to = kernel + n * LANES;
      const Index step = stride;
      Floats sum = set1(0.0f);
      for (int left = rows; left > 0; --left) {
        const Floats value = exp2_near(fma(load(from), slope, minus));
        store(to, value);
        sum = add(sum, value);
        from += step;
        to += step;
      }
      store(mass + n * LANES, sum);
      finite = fma(sum, set1(0.0f), finite);
    }
    for (int j = rows; j < padded; ++j) {
      for (int n = 0; n < vectors; ++n) store(kernel + j * stride + n * LANES, set1(1.0f));
    }
    bool all = true;
    float lanes[LANES];
    store(lanes, finite);
    for (int l = 0; l < LANES; ++l) all = all && lanes[l] == 0.0f;
    return all;
  }

  // out = K c for NB vectors of query patches from n on; even and odd j are summed apart, so
  // that short sums do not wait for each other.
  template <int NB>
  void weighted_rows(int n, float* out) const {
    Floats acc[2][NB];
    for (int b = 0; b < NB; ++b) acc[0][b] = acc[1][b] = set1(0.0f);
    const float* at = kernel + n * LANES;
    for (int j = 0; j < padded; j += 2) {
      const Floats even = set1(gallery_factor[j]), odd = set1(gallery_factor[j + 1]);
      for (int b = 0; b < NB; ++b) acc[0][b] = fma(load(at + b * LANES), even, acc[0][b]);
      at += stride;
      for (int b = 0; b < NB; ++b) acc[1][b] = fma(load(at + b * LANES), odd, acc[1][b]);
      at += stride;
    }
    for (int b = 0; b < NB; ++b) store(out + (n + b) * LANES, add(acc[0][b], acc[1][b]));
  }

  // c = v / (K' r), and next = K c.
  void sweep() {
#if defined(FACEFLOW_AVX512)
    switch (vectors) {
      case 1:
        return sweep_narrow<1>();
      case 2:
        return sweep_narrow<2>();
      case 3:
        return sweep_narrow<3>();
      case 4:
        return sweep_narrow<4>();
      default:
        break;
    }
#endif
    for (int j = 0; j < padded; j += SUM_ROWS)
      dot_rows(kernel + j * stride, stride, query_factor, vectors, gallery_factor + j);
    for (int j = 0; j < padded; j += LANES)
      store(gallery_factor + j, divide(load(gallery_weight + j), load(gallery_factor + j)));
    int n = 0;
    for (; n + 4 <= vectors; n += 4) weighted_rows<4>(n, next);
    if (n + 2 <= vectors) {
      weighted_rows<2>(n, next);
      n += 2;
    }
    if (n < vectors) weighted_rows<1>(n, next);
  }

#if defined(FACEFLOW_AVX512)
  // The same for rows of NV vectors that follow each other: every place is known to the compiler,
  // which runs out of registers for sixteen rows otherwise.
  template <int NV>
  void sweep_narrow() {
    Floats acc[2][NV];
    for (int b = 0; b < NV; ++b) acc[0][b] = acc[1][b] = set1(0.0f);
    const float* at = kernel;  // `stride` is NV * LANES
    for (int j = 0; j < padded; j += LANES) {
      store(gallery_factor + j,
            divide(load(gallery_weight + j), dot_next_rows<NV>(at, query_factor)));
      at += NV * LANES * LANES;
    }
    at = kernel;
    for (int j = 0; j < padded; j += 2) {
      const Floats even = set1(gallery_factor[j]), odd = set1(gallery_factor[j + 1]);
      for (int b = 0; b < NV; ++b) acc[0][b] = fma(load(at + b * LANES), even, acc[0][b]);
      at += NV * LANES;
      for (int b = 0; b < NV; ++b) acc[1][b] = fma(load(at + b * LANES), odd, acc[1][b]);
      at += NV * LANES;
    }
    for (int b = 0; b < NV; ++b) store(next + b * LANES, add(acc[0][b], acc[1][b]));
  }
#endif

  // One update of r, then c; returns the L1 error of the row marginals.
  float iterate() {
    for (int n = 0; n < vectors; ++n)
      store(query_factor + n * LANES,
            divide(load(query_weight + n * LANES), load(mass + n * LANES)));
    sweep();
    LaneSum off;
    for (int n = 0; n < vectors; ++n) {
      off.take(n % PARTS, vabs(sub(mul(load(query_factor + n * LANES), load(next + n * LANES)),
                                   load(query_weight + n * LANES))));
    }
    return off.total();
  }

  void advance() {
    float* held = mass;
    mass = next;
    next = held;
  }

  double similarity() const {
    double total = 0.0;
    for (int j = 0; j < padded; j += SUM_ROWS) {
      Floats acc[SUM_ROWS][PARTS];
      for (int i = 0; i < SUM_ROWS; ++i) {
        for (int h = 0; h < PARTS; ++h) acc[i][h] = set1(0.0f);
      }
      for (int n = 0; n < vectors; n += PARTS) {
        for (int h = 0; h < PARTS; ++h) {
          if (n + h < vectors) {
            const Index at = j * stride + (n + h) * LANES;
            const Floats rv = load(query_factor + (n + h) * LANES);
            for (int i = 0; i < SUM_ROWS; ++i) {
              acc[i][h] = fma(mul(rv, load(kernel + at + i * stride)),
                              load(cosine + at + i * stride), acc[i][h]);
            }
          }
        }
      }
      float sums[SUM_ROWS];
      sum_rows(acc, sums);
      for (int i = 0; i < SUM_ROWS; ++i) {
        total += static_cast<double>(gallery_factor[j + i]) * static_cast<double>(sums[i]);
      }
    }
    return total;
  }
};

}  // namespace
