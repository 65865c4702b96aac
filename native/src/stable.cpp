// Sinkhorn in float64 for small epsilon and tight tolerances; compiled once, for any machine.
//
// Scaling as usual, but potentials are kept as logarithms F, G that K already holds:
// K_ji = exp(S_ji / epsilon + F_i + G_j). Whenever an update would leave the safe range, that
// update is done exactly on the logarithms (log-sum-exp) and K is built anew.
#include <cmath>
#include <cstring>
#include <limits>

#include "job.hpp"

namespace faceflow {
namespace {

constexpr double SMALL = 1e-140, LARGE = 1e140;

bool safe(double x) {
  return x > SMALL && x < LARGE;
}

struct Stable {
  std::int64_t R, S;
  const double *u, *v;
  double *L, *K, *F, *G, *r, *c, *t;

  // Patches without weight have a factor of 0 and a potential that no longer follows the others:
  // their entries could overflow, so they are left at 0.
  void build() {
    for (std::int64_t j = 0; j < S; ++j) {
      for (std::int64_t i = 0; i < R; ++i) {
        const bool moves = r[i] > 0 && c[j] > 0;
        K[j * R + i] = moves ? std::exp(L[j * R + i] + F[i] + G[j]) : 0.0;
      }
    }
  }

  void absorb(double* potential, double* factor, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      if (factor[i] > 0) {
        potential[i] += std::log(factor[i]);
        factor[i] = 1.0;
      }
    }
  }

  void row_sums() {
    for (std::int64_t i = 0; i < R; ++i) t[i] = 0.0;
    for (std::int64_t j = 0; j < S; ++j) {
      const double cj = c[j];
      const double* k = K + j * R;
      for (std::int64_t i = 0; i < R; ++i) t[i] += k[i] * cj;
    }
  }

  double column_sum(std::int64_t j) const {
    double part[4] = {0, 0, 0, 0};
    const double* k = K + j * R;
    std::int64_t i = 0;
    for (; i + 4 <= R; i += 4) {
      for (int l = 0; l < 4; ++l) part[l] += k[i + l] * r[i + l];
    }
    for (; i < R; ++i) part[0] += k[i] * r[i];
    return (part[0] + part[2]) + (part[1] + part[3]);
  }

  // r = u / (K c), with t = K c given
  void update_rows() {
    bool fine = true;
    for (std::int64_t i = 0; i < R; ++i) {
      r[i] = u[i] > 0 ? u[i] / t[i] : 0.0;
      fine = fine && (u[i] <= 0 || (safe(t[i]) && safe(r[i])));
    }
    if (fine) return;
    absorb(G, c, S);
    for (std::int64_t i = 0; i < R; ++i) {
      r[i] = u[i] > 0 ? 1.0 : 0.0;
      if (r[i] > 0) F[i] = std::log(u[i]) - log_sum(L + i, R, G, c, S);
    }
    build();
  }

  void update_columns() {
    bool fine = true;
    for (std::int64_t j = 0; j < S; ++j) {
      const double sum = column_sum(j);
      c[j] = v[j] > 0 ? v[j] / sum : 0.0;
      fine = fine && (v[j] <= 0 || (safe(sum) && safe(c[j])));
    }
    if (fine) return;
    absorb(F, r, R);
    for (std::int64_t j = 0; j < S; ++j) {
      c[j] = v[j] > 0 ? 1.0 : 0.0;
      if (c[j] > 0) G[j] = std::log(v[j]) - log_sum(L + j * R, 1, F, r, R);
    }
    build();
  }

  // log sum over k with mask[k] > 0 of exp(line[k * step] + potential[k])
  static double log_sum(const double* line, std::int64_t step, const double* potential,
                        const double* mask, std::int64_t n) {
    double top = -std::numeric_limits<double>::infinity();
    for (std::int64_t k = 0; k < n; ++k) {
      if (mask[k] > 0) top = std::fmax(top, line[k * step] + potential[k]);
    }
    double sum = 0.0;
    for (std::int64_t k = 0; k < n; ++k) {
      if (mask[k] > 0) sum += std::exp(line[k * step] + potential[k] - top);
    }
    return top + std::log(sum);
  }
};

}  // namespace

std::size_t stable_workspace(std::int64_t R, std::int64_t S) {
  return static_cast<std::size_t>(2 * R * S + 3 * R + 2 * S) * sizeof(double);
}

StablePlan stable_sinkhorn(const float* similarity, std::int64_t stride, std::int64_t R,
                           std::int64_t S, const double* u, const double* v, double epsilon,
                           double tolerance, int max_iterations, double* workspace, float* flow) {
  double* at = workspace;
  const auto take = [&at](std::int64_t n) {
    double* start = at;
    at += n;
    return start;
  };
  Stable s{R, S, u, v, take(R * S), take(R * S), take(R), take(S), take(R), take(S), take(R)};

  for (std::int64_t j = 0; j < S; ++j) {
    for (std::int64_t i = 0; i < R; ++i) {
      const double x = static_cast<double>(similarity[j * stride + i]);
      if (!std::isfinite(x)) {
        const double nan = std::numeric_limits<double>::quiet_NaN();
        return {nan, nan, 0, INVALID};
      }
      s.L[j * R + i] = x / epsilon;
    }
  }
  for (std::int64_t i = 0; i < R; ++i) {
    double top = s.L[i];
    for (std::int64_t j = 1; j < S; ++j) top = std::fmax(top, s.L[j * R + i]);
    s.F[i] = -top;
    s.r[i] = 1.0;
  }
  for (std::int64_t j = 0; j < S; ++j) {
    s.G[j] = 0.0;
    s.c[j] = 1.0;
  }
  s.build();
  s.row_sums();

  StablePlan plan{0.0, 0.0, 0, MAX_ITERATIONS};
  while (plan.iterations < max_iterations && plan.status == MAX_ITERATIONS) {
    ++plan.iterations;
    s.update_rows();
    s.update_columns();
    s.row_sums();
    double error = 0.0;
    for (std::int64_t i = 0; i < R; ++i) error += std::fabs(s.r[i] * s.t[i] - u[i]);
    plan.marginal_error = error;
    if (error < tolerance) plan.status = CONVERGED;
  }

  for (std::int64_t j = 0; j < S; ++j) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < R; ++i) {
      const double moved = s.r[i] * s.K[j * R + i] * s.c[j];
      sum += moved * static_cast<double>(similarity[j * stride + i]);
      if (flow) flow[i * S + j] = static_cast<float>(moved);
    }
    plan.similarity += sum;
  }
  return plan;
}

}  // namespace faceflow
