// Sinkhorn scaling of one pair in float32; rows of K are gallery patches, lanes query patches.
#pragma once

namespace {

constexpr int H = 16 / W;  // sums over lanes use sixteen accumulators on every machine

// Beyond this range of S / epsilon float32 could under- or overflow: float64 takes over.
constexpr double FLOAT_RANGE = 60.0;
// Below this tolerance float32 rounding would show in the marginal error.
constexpr double FLOAT_TOLERANCE = 1e-5;

// 2^y for y in [-125, 1]; relative error below 1.6e-7, the same bits on every machine with fma.
inline F exp2_near(F y) {
  const F magic = set1(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const F rounded = add(y, magic);
  const F f = sub(y, sub(rounded, magic));
  F p = set1(0x1.5bba14p-10f);
  p = fma(p, f, set1(0x1.3cea88p-7f));
  p = fma(p, f, set1(0x1.c6b752p-5f));
  p = fma(p, f, set1(0x1.ebf9bcp-3f));
  p = fma(p, f, set1(0x1.62e42ap-1f));
  p = fma(p, f, set1(1.0f));
  return scale_by_low_bits(p, rounded);
}

// out[0..3] = rows 0..3 of k times x, over `vectors` vectors.
inline void dot4(const float* k, Index stride, const float* x, int vectors, float* out) {
  F acc[4][H];
  for (int j = 0; j < 4; ++j) {
    for (int h = 0; h < H; ++h) acc[j][h] = set1(0.0f);
  }
  int n = 0;
  for (; n + H <= vectors; n += H) {
    for (int h = 0; h < H; ++h) {
      const F xv = ld(x + (n + h) * W);
      for (int j = 0; j < 4; ++j) {
        acc[j][h] = fma(ld(k + j * stride + (n + h) * W), xv, acc[j][h]);
      }
    }
  }
  for (int h = 0; h < H - 1; ++h) {  // constant bounds keep the accumulators in registers
    if (n + h < vectors) {
      const F xv = ld(x + (n + h) * W);
      for (int j = 0; j < 4; ++j) {
        acc[j][h] = fma(ld(k + j * stride + (n + h) * W), xv, acc[j][h]);
      }
    }
  }
  reduce4(acc, out);
}

// Sum over the lanes of vectors given one by one, in the sixteen-lane order.
struct LaneSum {
  F acc[4][H];
  LaneSum() {
    for (int j = 0; j < 4; ++j) {
      for (int h = 0; h < H; ++h) acc[j][h] = set1(0.0f);
    }
  }
  void take(int group, F x) {
    for (int h = 0; h < H; ++h) {
      if (h == group) acc[0][h] = add(acc[0][h], x);
    }
  }
  float total() const {
    float out[4];
    reduce4(acc, out);
    return out[0];
  }
};

struct Scaling {
  const float* S;  // (padded, stride) cosines; padding rows are zero
  float* K;        // the same shape
  Index stride;
  int rows, vectors;  // gallery patches, vectors of query patches
  int padded;         // rows up to a multiple of sixteen: K there is 1, v and c are 0
  float* r;
  float* t;     // K c
  float* next;  // K c of the coming iteration
  float* c;
  const float* u;  // padded with zeros
  const float* v;
  const float* top;  // largest cosine of each query patch

  // K = exp((S - top) / epsilon), t = row sums: the first K c, as c starts at 1.
  // False when a cosine is not finite.
  bool start(double epsilon) {
    const F slope = set1(static_cast<float>(1.4426950408889634 / epsilon));
    F finite = set1(0.0f);  // 0 * x is 0 unless x is NaN or infinite
    for (int n = 0; n < vectors; ++n) {
      const F offset = mul(ld(top + n * W), slope);
      const F minus = sub(set1(0.0f), offset);
      F sum = set1(0.0f);
      for (int j = 0; j < rows; ++j) {
        const F k = exp2_near(fma(ld(S + j * stride + n * W), slope, minus));
        st(K + j * stride + n * W, k);
        sum = add(sum, k);
      }
      st(t + n * W, sum);
      finite = fma(sum, set1(0.0f), finite);
    }
    for (int j = rows; j < padded; ++j) {
      for (int n = 0; n < vectors; ++n) st(K + j * stride + n * W, set1(1.0f));
    }
    bool all = true;
    float lanes[W];
    st(lanes, finite);
    for (int l = 0; l < W; ++l) all = all && lanes[l] == 0.0f;
    return all;
  }

  // out = K c for NB vectors of query patches from n on; even and odd j are summed apart, so
  // that short sums do not wait for each other.
  template <int NB>
  void weighted_rows(int n, float* out) const {
    F acc[2][NB];
    for (int b = 0; b < NB; ++b) acc[0][b] = acc[1][b] = set1(0.0f);
    const float* at = K + n * W;
    for (int j = 0; j < padded; j += 2) {
      const F even = set1(c[j]), odd = set1(c[j + 1]);
      for (int b = 0; b < NB; ++b) acc[0][b] = fma(ld(at + b * W), even, acc[0][b]);
      at += stride;
      for (int b = 0; b < NB; ++b) acc[1][b] = fma(ld(at + b * W), odd, acc[1][b]);
      at += stride;
    }
    for (int b = 0; b < NB; ++b) st(out + (n + b) * W, add(acc[0][b], acc[1][b]));
  }

  // One update of r, then c; returns the L1 error of the row marginals.
  float iterate() {
    for (int n = 0; n < vectors; ++n) st(r + n * W, divide(ld(u + n * W), ld(t + n * W)));
    for (int j = 0; j < padded; j += 4) dot4(K + j * stride, stride, r, vectors, c + j);
    for (int j = 0; j < padded; j += W) st(c + j, divide(ld(v + j), ld(c + j)));
    int n = 0;
    for (; n + 4 <= vectors; n += 4) weighted_rows<4>(n, next);
    if (n + 2 <= vectors) {
      weighted_rows<2>(n, next);
      n += 2;
    }
    if (n < vectors) weighted_rows<1>(n, next);
    LaneSum off;
    for (n = 0; n < vectors; ++n) {
      off.take(n % H, vabs(sub(mul(ld(r + n * W), ld(next + n * W)), ld(u + n * W))));
    }
    return off.total();
  }

  void advance() {
    float* held = t;
    t = next;
    next = held;
  }

  double similarity() const {
    double total = 0.0;
    for (int j = 0; j < padded; j += 4) {
      F acc[4][H];
      for (int i = 0; i < 4; ++i) {
        for (int h = 0; h < H; ++h) acc[i][h] = set1(0.0f);
      }
      for (int n = 0; n < vectors; n += H) {
        for (int h = 0; h < H; ++h) {
          if (n + h < vectors) {
            const Index at = j * stride + (n + h) * W;
            const F rv = ld(r + (n + h) * W);
            for (int i = 0; i < 4; ++i) {
              acc[i][h] = fma(mul(rv, ld(K + at + i * stride)), ld(S + at + i * stride), acc[i][h]);
            }
          }
        }
      }
      float sums[4];
      reduce4(acc, sums);
      for (int i = 0; i < 4; ++i) {
        total += static_cast<double>(c[j + i]) * static_cast<double>(sums[i]);
      }
    }
    return total;
  }
};

}  // namespace
