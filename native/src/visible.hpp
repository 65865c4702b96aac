// Cosine of what two faces both show, from int8 contributions. No products are fused with sums
// here, so every instruction set gives the same bits.
#pragma once

#include <math.h>

#include <cstdint>

#include "job.hpp"
#include "memory.hpp"

namespace {

using faceflow::Visible;

// With shown weights w, query contributions less the usual ones a[r], gallery codes g[r] with
// their residues h[r] and factor f[r], and usual contributions m[r]:
//
//   first  = sum_r w[r] a[r],   second = sum_r w[r] (f[r] (g[r] + h[r] / 256) - m[r]),   both (D,)
//
// summed place by place; their cosine in float64, summed from first to last.
void visible_cosine(const Visible& job, std::int64_t begin, std::int64_t end, float* room) {
  float* FACEFLOW_RESTRICT const first = room;
  float* FACEFLOW_RESTRICT const second = room + job.D;
  for (std::int64_t n = begin; n < end; ++n) {
    for (Index d = 0; d < job.D; ++d) first[d] = second[d] = 0.0f;
    for (Index r = 0; r < job.R; ++r) {
      const float w = job.shown[n * job.R + r];
      const float factor = w * job.factor[n * job.R + r] * (1.0f / 256);
      const float* a = job.query + r * job.D;
      const float* m = job.usual + r * job.D;
      const std::int8_t* g = job.codes + (n * job.R + r) * job.D;
      const std::int8_t* h = job.residues + (n * job.R + r) * job.D;
      for (Index d = 0; d < job.D; ++d) {
        first[d] += w * a[d];
        second[d] += factor * static_cast<float>(256 * g[d] + h[d]) - w * m[d];
      }
    }
    // Sixteen sums side by side, whatever the machine's vectors hold.
    double dot[16] = {}, one[16] = {}, other[16] = {};
    Index d = 0;
    for (; d + 16 <= job.D; d += 16) {
      for (int l = 0; l < 16; ++l) {
        const double x = static_cast<double>(first[d + l]), y = static_cast<double>(second[d + l]);
        dot[l] += x * y;
        one[l] += x * x;
        other[l] += y * y;
      }
    }
    for (int l = 0; d + l < job.D; ++l) {
      const double x = static_cast<double>(first[d + l]), y = static_cast<double>(second[d + l]);
      dot[l] += x * y;
      one[l] += x * x;
      other[l] += y * y;
    }
    for (int half = 8; half; half /= 2) {
      for (int l = 0; l < half; ++l) {
        dot[l] += dot[l + half];
        one[l] += one[l + half];
        other[l] += other[l + half];
      }
    }
    const double length = sqrt(one[0] * other[0]);
    job.cosine[n] = length > 0 ? dot[0] / length : 0.0;
  }
}

}  // namespace
