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

// Products of patches beyond this are no cosines of anything: float64 would have too few digits
// left to tell where mass should go. The same as in transport/problem.py.
constexpr float MOST_COSINE = 1e6f;

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
    // Where the range is that of cosines, the float32 start below finds what is not finite.
    const bool usual = spread <= 4.0 && largest_[0] >= -2.0f && largest_[0] <= 2.0f;
    if (!usual && !cosines_sound()) {
      refuse(p, faceflow::INVALID);
      return;
    }
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
    const bool empty = mass == Mass::none && cosines_sound();
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
    const int whole = shape_.query_patches / LANES;  // vectors without padding
    Floats low = set1(FLT_MAX), high = set1(-FLT_MAX);
    int n = 0;
    for (; n + 4 <= shape_.vectors; n += 4) range_of<4>(n, whole, low, high);
    for (; n < shape_.vectors; ++n) range_of<1>(n, whole, low, high);
    float least[LANES], most[LANES];
    store(least, low);
    store(most, high);
    for (int l = 1; l < LANES; ++l) {
      least[0] = least[l] < least[0] ? least[l] : least[0];
      most[0] = most[l] > most[0] ? most[l] : most[0];
    }
    return most[0] - least[0];
  }

  // The same for NB vectors from n on, whose least and largest go into those of all; of a vector
  // with padding the padding is left out.
  template <int NB>
  void range_of(int n, int whole, Floats& low, Floats& high) {
    Floats most[NB], least[NB];
    const float* at = cosine + n * LANES;
    for (int b = 0; b < NB; ++b) most[b] = least[b] = load(at + b * LANES);
    for (int j = 1; j < shape_.gallery_patches; ++j) {
      at += shape_.columns;
      for (int b = 0; b < NB; ++b) {
        const Floats x = load(at + b * LANES);
        most[b] = vmax(most[b], x);
        least[b] = vmin(least[b], x);
      }
    }
    for (int b = 0; b < NB; ++b) {
      store(largest_ + (n + b) * LANES, most[b]);
      if (n + b >= whole) {
        float top[LANES], bottom[LANES];
        store(top, most[b]);
        store(bottom, least[b]);
        for (int l = shape_.query_patches - (n + b) * LANES; l < LANES; ++l) {
          top[l] = top[0];
          bottom[l] = bottom[0];
        }
        most[b] = load(top);
        least[b] = load(bottom);
      }
      low = vmin(low, least[b]);
      high = vmax(high, most[b]);
    }
  }

  bool cosines_sound() const {
    bool sound = true;
    for (int j = 0; j < shape_.gallery_patches; ++j) {
      for (int i = 0; i < shape_.query_patches; ++i) {
        const float x = cosine[j * shape_.columns + i];
        sound &= x >= -MOST_COSINE && x <= MOST_COSINE;  // not so for NaN
      }
    }
    return sound;
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
