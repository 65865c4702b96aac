// The transport of one pair, once its cosines and weights are known, and its results.
#pragma once

#include <float.h>

#include <cstdint>

#include "job.hpp"
#include "layout.hpp"
#include "memory.hpp"
#include "scale.hpp"
#include "simd.hpp"
#include "weights.hpp"

namespace {

class Pair {
 public:
  float* const cosine;  // (rows, columns), rows of padding zero
  float* const kernel;  // the same shape; free until the scaling starts

  Pair(const faceflow::Job& job, const Shape& shape, Scratch& scratch)
      : cosine(scratch.take<float>(shape.cells())),
        kernel(scratch.take<float>(shape.cells())),
        job_(job),
        shape_(shape),
        query_factor_(scratch.take<float>(shape.columns)),
        mass_(scratch.take<float>(shape.columns)),
        next_mass_(scratch.take<float>(shape.columns)),
        gallery_factor_(scratch.take<float>(shape.rows)),
        largest_(scratch.take<float>(shape.columns)),
        stable_(scratch.take<double>(stable_doubles(shape))) {}

  // Solve pair p for normalised weights: in float32 where that is enough, else in float64.
  void solve(std::int64_t p, const Side& query, const Side& gallery) {
    const double spread = static_cast<double>(range());
    const bool narrow = spread <= FLOAT_RANGE * job_.epsilon && job_.tolerance >= FLOAT_TOLERANCE;
    if (narrow && scale(p, query, gallery)) return;
    const faceflow::StablePlan plan = faceflow::stable_sinkhorn(
        cosine, shape_.columns, shape_.query_patches, shape_.gallery_patches, query.shares,
        gallery.shares, job_.epsilon, job_.tolerance, job_.max_iterations, stable_, flow_of(p));
    if (plan.status == faceflow::INVALID) {
      refuse(p, faceflow::INVALID);
    } else {
      write(p, plan.similarity, plan.iterations, plan.marginal_error, plan.status);
    }
  }

  // There is nothing to transport: a side has no mass, or numbers are not finite.
  void give_up(std::int64_t p, Mass mass) {
    const bool empty = mass == Mass::none && cosines_finite();
    refuse(p, empty ? faceflow::NO_MASS : faceflow::INVALID);
  }

 private:
  static Index stable_doubles(const Shape& shape) {
    const std::size_t bytes =
        faceflow::stable_workspace(shape.query_patches, shape.gallery_patches);
    return static_cast<Index>(bytes / sizeof(double));
  }

  // Largest cosine of each query patch into `largest_`; returns the range over all valid ones.
  float range() {
    float low = FLT_MAX, high = -FLT_MAX;
    for (int n = 0; n < shape_.vectors; ++n) {
      Floats most = load(cosine + n * LANES), least = most;
      for (int j = 1; j < shape_.gallery_patches; ++j) {
        const Floats x = load(cosine + j * shape_.columns + n * LANES);
        most = vmax(most, x);
        least = vmin(least, x);
      }
      store(largest_ + n * LANES, most);
      float lanes[LANES];
      store(lanes, least);
      for (int l = 0; l < LANES && n * LANES + l < shape_.query_patches; ++l) {
        const float largest = largest_[n * LANES + l];
        low = lanes[l] < low ? lanes[l] : low;
        high = largest > high ? largest : high;
      }
    }
    return high - low;
  }

  bool cosines_finite() const {
    float sum = 0.0f;
    for (int j = 0; j < shape_.gallery_patches; ++j) {
      for (int i = 0; i < shape_.query_patches; ++i) sum += cosine[j * shape_.columns + i] * 0.0f;
    }
    return sum == 0.0f;
  }

  // Float32 scaling; false when float32 was not enough after all.
  bool scale(std::int64_t p, const Side& query, const Side& gallery) {
    Scaling scaling{cosine,         kernel,
                    shape_.columns, shape_.gallery_patches,
                    shape_.vectors, static_cast<int>(shape_.rows),
                    query_factor_,  mass_,
                    next_mass_,     gallery_factor_,
                    query.weight,   gallery.weight,
                    largest_};
    if (!scaling.start(job_.epsilon)) {
      refuse(p, faceflow::INVALID);
      return true;
    }
    const float tolerance = static_cast<float>(job_.tolerance);
    int iteration = 0;
    float error;
    for (;;) {
      error = scaling.iterate();
      ++iteration;
      const bool finite = error <= FLT_MAX;
      if (error < tolerance || iteration >= job_.max_iterations || !finite) break;
      scaling.advance();
    }
    const double similarity = scaling.similarity();
    if (!(error <= FLT_MAX) || !(similarity - similarity == 0)) return false;
    write(p, similarity, iteration, static_cast<double>(error),
          error < tolerance ? faceflow::CONVERGED : faceflow::MAX_ITERATIONS);
    if (float* flow = flow_of(p)) {
      for (int i = 0; i < shape_.query_patches; ++i) {
        for (int j = 0; j < shape_.gallery_patches; ++j) {
          flow[i * shape_.gallery_patches + j] =
              query_factor_[i] * kernel[j * shape_.columns + i] * gallery_factor_[j];
        }
      }
    }
    return true;
  }

  Index cells_of_flow() const {
    return static_cast<Index>(shape_.query_patches) * shape_.gallery_patches;
  }
  float* flow_of(std::int64_t p) const {
    return job_.flow ? job_.flow + p * cells_of_flow() : nullptr;
  }

  void write(std::int64_t p, double similarity, int iterations, double error,
             faceflow::Status status) {
    job_.similarity[p] = similarity;
    job_.iterations[p] = iterations;
    job_.marginal_error[p] = static_cast<float>(error);
    job_.status[p] = status;
  }

  void refuse(std::int64_t p, faceflow::Status status) {
    const float value = status == faceflow::INVALID ? float_of(0x7fc00000u) : 0.0f;
    write(p, static_cast<double>(value), 0, static_cast<double>(value), status);
    if (float* flow = flow_of(p)) {
      for (Index x = 0; x < cells_of_flow(); ++x) flow[x] = value;
    }
  }

  const faceflow::Job& job_;
  const Shape& shape_;
  float* const query_factor_;    // (columns)
  float* const mass_;            // (columns)
  float* const next_mass_;       // (columns)
  float* const gallery_factor_;  // (rows)
  float* const largest_;         // (columns) largest cosine of each query patch
  double* const stable_;         // workspace of the float64 solver
};

}  // namespace
