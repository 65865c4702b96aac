// Anything a caller can hand over: any bits as numbers, gaps between rows, weights of nothing, tiny
// and huge options. Nothing may be read or written outside its array, and every pair must end in
// one of four ways, each with the numbers it promises; so no answer is half true.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "problems.hpp"

namespace {

int failures = 0;

const float INFINITE = std::numeric_limits<float>::infinity();
const float NOT_A_NUMBER = std::numeric_limits<float>::quiet_NaN();

// Patches promise unit length: beyond 1e15 epsilon a float64 exponent has no digit left, and no
// answer means anything. Weights promise nothing but not to be negative.
float odd_value() {
  const float odd[] = {0.0f, -0.0f, 1e-44f, -1.0f, INFINITE, -INFINITE, NOT_A_NUMBER};
  return odd[between(0, 6)];
}
float odd_weight() {
  const float odd[] = {1e-44f, 1e30f, std::numeric_limits<float>::max(), INFINITE, NOT_A_NUMBER};
  return odd[between(0, 4)];
}

void fill(const Block<float>& x, double spoilt, double low) {
  for (std::size_t i = 0; i < x.n; ++i) {
    x[i] = uniform() < spoilt ? odd_value() : static_cast<float>(low + (1 - low) * uniform());
  }
}

// Not negative, as the Python side promises; zero now and then, or all of a row.
void fill_weights(const Block<float>& w, int row, double spoilt) {
  for (std::size_t i = 0; i < w.n; ++i) {
    const double kind = uniform();
    w[i] = kind < spoilt ? odd_weight() : kind < 0.2 ? 0.0f : static_cast<float>(uniform());
  }
  if (uniform() < 0.3) {
    for (int i = 0; i < row; ++i) w[static_cast<std::size_t>(i)] = 0.0f;
  }
}

void complain(const Format& format, const Job& job, std::int64_t p, const char* what) {
  ++failures;
  std::printf("FAIL %s: %s in pair %d, R%d S%d C%d dtype %d weighting %d epsilon %g\n", format.isa,
              what, static_cast<int>(p), static_cast<int>(job.R), static_cast<int>(job.S),
              static_cast<int>(job.C), static_cast<int>(job.dtype), static_cast<int>(job.weighting),
              job.epsilon);
}

void judge(const Format& format, const Job& job, const Result& result) {
  const std::size_t cells = static_cast<std::size_t>(job.R * job.S);
  for (std::size_t p = 0; p < result.status.size(); ++p) {
    const double similarity = result.similarity[p];
    const float* flow = result.flow.data() + p * cells;
    double total = 0;
    bool sound = true;
    for (std::size_t x = 0; x < cells; ++x) {
      total += static_cast<double>(flow[x]);
      sound = sound && flow[x] >= 0;
    }
    const std::int64_t pair = static_cast<std::int64_t>(p);
    switch (result.status[p]) {
      case CONVERGED:
      case MAX_ITERATIONS:
        if (!std::isfinite(similarity)) complain(format, job, pair, "similarity not finite");
        if (!sound || !(std::fabs(total - 1) < 1e-3)) {
          complain(format, job, pair, "the flow is not a plan");
        }
        break;
      case NO_MASS:
        if (similarity != 0 || total != 0) complain(format, job, pair, "mass from nowhere");
        break;
      case INVALID:
        if (!std::isnan(similarity) || !std::isnan(flow[0])) {
          complain(format, job, pair, "an invalid pair with numbers");
        }
        break;
      default:
        complain(format, job, pair, "no such status");
    }
  }
}

void one_problem(Dtype dtype) {
  const double spoilt = uniform() < 0.5 ? 0.0 : uniform() * 0.01;
  Job job;
  job.queries = between(1, 2);
  job.candidates = between(1, 4);
  job.R = between(1, 40);
  job.S = between(1, 40);
  job.C = between(1, 70);
  const int faces = between(1, 5), item = dtype == Dtype::f32 ? 4 : dtype == Dtype::bf16 ? 2 : 1;
  job.dtype = dtype;
  job.weighting = static_cast<Weighting>(between(0, 3));
  job.epsilon = std::pow(10.0, -6 + 12 * uniform());
  job.tolerance = std::pow(10.0, -12 + 13 * uniform());
  job.max_iterations = between(1, 40);

  // Rows with gaps between them; each array ends with its last value.
  job.query_patch = job.C + between(0, 3);
  job.query_face = (job.R - 1) * job.query_patch + job.C + between(0, 3);
  const Block<float> query(static_cast<std::size_t>((job.queries - 1) * job.query_face +
                                                    (job.R - 1) * job.query_patch + job.C));
  fill(query, spoilt, -1.0);
  job.query = query.get();
  job.gallery_patch = (job.C + between(0, 3)) * item;
  const std::int64_t face = (job.S - 1) * job.gallery_patch + job.C * item;
  job.gallery_face = face + between(0, 3) * item;
  const Block<unsigned char> gallery(
      static_cast<std::size_t>((faces - 1) * job.gallery_face + face));
  const bool any_bits = uniform() < 0.3;
  for (std::size_t at = 0; at + static_cast<std::size_t>(item) <= gallery.n;
       at += static_cast<std::size_t>(item)) {
    const float value = static_cast<float>(2 * uniform() - 1);
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if (dtype == Dtype::bf16) bits >>= 16;
    if (dtype == Dtype::int8) bits = static_cast<std::uint32_t>(random_bits());
    if (any_bits && uniform() < 0.01) bits = 0xffffffffu;  // NaN, or the code -1
    std::memcpy(gallery.get() + at, &bits, static_cast<std::size_t>(item));
  }
  job.gallery = gallery.get();
  const Block<std::int64_t> index(static_cast<std::size_t>(job.queries * job.candidates));
  for (std::size_t i = 0; i < index.n; ++i) index[i] = between(0, faces - 1);
  job.index = index.get();
  const Block<float> scales(static_cast<std::size_t>(faces * job.S));
  fill(scales, spoilt, 0.0);
  if (dtype == Dtype::int8 && uniform() < 0.5) {
    job.scales = scales.get();
    job.scales_face = job.S;
  }

  const std::size_t pairs = index.n;
  const Block<float> u(pairs * static_cast<std::size_t>(job.R));
  const Block<float> v(pairs * static_cast<std::size_t>(job.S));
  fill_weights(u, static_cast<int>(job.R), spoilt);
  fill_weights(v, static_cast<int>(job.S), spoilt);
  job.u = u.get();
  job.u_query = job.candidates * job.R;
  job.u_candidate = job.R;
  job.v = v.get();
  job.v_query = job.candidates * job.S;
  job.v_candidate = job.S;
  const Block<float> pooled_query(static_cast<std::size_t>(job.queries * job.C));
  const Block<float> pooled_gallery(static_cast<std::size_t>(faces * job.C));
  fill(pooled_query, spoilt, -1.0);
  fill(pooled_gallery, spoilt, -1.0);
  job.pooled_query = pooled_query.get();
  job.pooled_query_face = job.C;
  job.pooled_gallery = pooled_gallery.get();
  job.pooled_gallery_face = job.C;

  for (const Format* format : formats_of(dtype)) {
    const Result result = run(*format, job, 1);
    judge(*format, job, result);
    if (!same_bits(result, run(*format, job, between(2, 4)))) {
      complain(*format, job, 0, "threads change the answer");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 1000;
  for (int k = 0; k < cases; ++k) {
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::int8}) one_problem(dtype);
  }
  std::printf("%d hostile cases, %d failures\n", cases, failures);
  return failures ? 1 : 0;
}
