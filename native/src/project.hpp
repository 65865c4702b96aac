// Each patch through its own linear map: out[r] = sum_c x[r][c] * map[r][c], and its length.
//
// Every output is summed over the channels in order, whatever the vector width and whoever else
// is in the batch.
#pragma once

#include <math.h>

#include <cstdint>

#include "job.hpp"
#include "memory.hpp"
#include "reduce.hpp"
#include "simd.hpp"

namespace {

using faceflow::Projection;

constexpr int FACES = 6;  // faces in a register tile: 12 sums, 2 of the map, 1 broadcast

template <int NJ, int NV>
void project_tile(const Projection& job, std::int64_t face, Index r, Index d) {
  Floats acc[NJ][NV];
  for (int j = 0; j < NJ; ++j) {
    for (int n = 0; n < NV; ++n) acc[j][n] = set1(0.0f);
  }
  const float* map = job.map + (r * job.C) * job.D + d;
  const float* x = job.x + face * job.x_face + r * job.x_patch;
  for (Index c = 0; c < job.C; ++c) {
    Floats m[NV];
    for (int n = 0; n < NV; ++n) m[n] = load(map + n * LANES);
    map += job.D;
    for (int j = 0; j < NJ; ++j) {
      const Floats value = set1(x[j * job.x_face + c]);
      for (int n = 0; n < NV; ++n) acc[j][n] = fma(value, m[n], acc[j][n]);
    }
  }
  for (int j = 0; j < NJ; ++j) {
    float* out = job.out + ((face + j) * job.R + r) * job.D + d;
    for (int n = 0; n < NV; ++n) store(out + n * LANES, acc[j][n]);
  }
}

template <int NJ>
void project_patch(const Projection& job, std::int64_t face, Index r) {
  Index d = 0;
  for (; d + 2 * LANES <= job.D; d += 2 * LANES) project_tile<NJ, 2>(job, face, r, d);
  for (; d + LANES <= job.D; d += LANES) project_tile<NJ, 1>(job, face, r, d);
  for (int j = 0; j < NJ; ++j) {
    const float* x = job.x + (face + j) * job.x_face + r * job.x_patch;
    float* out = job.out + ((face + j) * job.R + r) * job.D;
    for (Index e = d; e < job.D; ++e) {
      // One lane of the same instruction, so that the rounding is that of whole vectors.
      Floats sum = set1(0.0f);
      for (Index c = 0; c < job.C; ++c) {
        sum = fma(set1(x[c]), set1(job.map[(r * job.C + c) * job.D + e]), sum);
      }
      float lanes[LANES];
      store(lanes, sum);
      out[e] = lanes[0];
    }
    const float length = sqrtf(squares_of(out, job.D));
    job.lengths[(face + j) * job.R + r] = length;
    const float inverse = length > 0 ? 1.0f / length : 0.0f;
    const Floats factor = set1(inverse);
    Index e = 0;
    for (; e + LANES <= job.D; e += LANES) store(out + e, mul(load(out + e), factor));
    for (; e < job.D; ++e) out[e] *= inverse;
  }
}

void project(const Projection& job, std::int64_t begin, std::int64_t end) {
  // Patch by patch, so that its map stays in the cache while the faces go by.
  for (Index r = 0; r < job.R; ++r) {
    std::int64_t face = begin;
    for (; face + FACES <= end; face += FACES) project_patch<FACES>(job, face, r);
    for (; face < end; ++face) project_patch<1>(job, face, r);
  }
}

}  // namespace
