// Every level against a plain float64 solution and against each other, on random shapes, with
// every array in a block of exactly its size so that a sanitizer sees any read past its end.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "problems.hpp"

using namespace faceflow;

namespace {

int failures = 0;

void unit_rows(const Block<float>& x, int rows, int C) {
  for (int i = 0; i < rows; ++i) {
    double sum = 0;
    for (int c = 0; c < C; ++c) {
      x[i * C + c] = static_cast<float>(std::normal_distribution<double>(0.3, 1)(random_bits));
      sum += static_cast<double>(x[i * C + c]) * x[i * C + c];
    }
    for (int c = 0; c < C; ++c) x[i * C + c] = static_cast<float>(x[i * C + c] / std::sqrt(sum));
  }
}

std::uint16_t bf16_of(float x) {
  std::uint32_t b;
  std::memcpy(&b, &x, 4);
  return static_cast<std::uint16_t>((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
}

// What a stored or rounded patch stands for, in float64.
std::vector<double> decoded(const float* x, int C, Dtype dtype, unsigned char* codes) {
  std::vector<double> out(static_cast<std::size_t>(C));
  if (dtype == Dtype::f32) {
    std::memcpy(codes, x, static_cast<std::size_t>(C) * 4);
    for (int c = 0; c < C; ++c) out[c] = x[c];
  } else if (dtype == Dtype::bf16) {
    for (int c = 0; c < C; ++c) {
      const std::uint16_t code = bf16_of(x[c]);
      std::memcpy(codes + 2 * c, &code, 2);
      const std::uint32_t wide = static_cast<std::uint32_t>(code) << 16;
      float value;
      std::memcpy(&value, &wide, 4);
      out[c] = value;
    }
  } else {
    float top = 0;
    for (int c = 0; c < C; ++c) top = std::fmax(top, std::fabs(x[c]));
    const float step = 127.0f / top;
    double sum = 0;
    for (int c = 0; c < C; ++c) {
      out[c] = std::nearbyintf(x[c] * step);
      codes[c] = static_cast<unsigned char>(static_cast<signed char>(out[c]));
      sum += out[c] * out[c];
    }
    for (int c = 0; c < C; ++c) out[c] /= std::sqrt(sum);
  }
  return out;
}

struct Case {
  int B, N, R, S, C;
  Dtype dtype;
  Weighting weighting;
  double epsilon, tolerance;
};

void fail(const Case& c, const std::string& level, const char* what, double off) {
  ++failures;
  std::printf("FAIL %s: %s (%g) B%d N%d R%d S%d C%d dtype %d weighting %d epsilon %g\n",
              level.c_str(), what, off, c.B, c.N, c.R, c.S, c.C, static_cast<int>(c.dtype),
              static_cast<int>(c.weighting), c.epsilon);
}

// Plain log-domain Sinkhorn in float64, as many iterations as the kernel took.
double plain(const std::vector<double>& cosine, int R, int S, std::vector<double> u,
             std::vector<double> v, double epsilon, int iterations) {
  const auto shares = [](std::vector<double>& w) {
    double sum = 0;
    for (const double x : w) sum += x;
    for (double& x : w) x /= sum;
  };
  shares(u);
  shares(v);
  std::vector<double> f(static_cast<std::size_t>(R), 0.0), g(static_cast<std::size_t>(S), 0.0);
  const auto lse = [&](int fixed, bool row) {
    const int n = row ? S : R;
    double top = -std::numeric_limits<double>::infinity();
    const auto at = [&](int k) {
      return row ? cosine[fixed * S + k] / epsilon + g[k] : cosine[k * S + fixed] / epsilon + f[k];
    };
    for (int k = 0; k < n; ++k) top = std::fmax(top, at(k));
    double sum = 0;
    for (int k = 0; k < n; ++k) sum += std::exp(at(k) - top);
    return top + std::log(sum);
  };
  for (int it = 0; it < iterations; ++it) {
    for (int i = 0; i < R; ++i) f[i] = std::log(u[i]) - lse(i, true);
    for (int j = 0; j < S; ++j) g[j] = std::log(v[j]) - lse(j, false);
  }
  double total = 0;
  for (int i = 0; i < R; ++i) {
    for (int j = 0; j < S; ++j) {
      total += std::exp(f[i] + g[j] + cosine[i * S + j] / epsilon) * cosine[i * S + j];
    }
  }
  return total;
}

void check(const Case& c, const std::vector<const Format*>& formats) {
  const int item = c.dtype == Dtype::f32 ? 4 : c.dtype == Dtype::bf16 ? 2 : 1;
  const std::size_t face = static_cast<std::size_t>(c.S) * c.C * item;
  Block<float> query(static_cast<std::size_t>(c.B) * c.R * c.C);
  unit_rows(query, c.B * c.R, c.C);
  Block<float> pooled_query(static_cast<std::size_t>(c.B) * c.C);
  unit_rows(pooled_query, c.B, c.C);
  Block<float> pooled_gallery(static_cast<std::size_t>(c.N) * c.C);
  unit_rows(pooled_gallery, c.N, c.C);
  Block<float> values(static_cast<std::size_t>(c.N) * c.S * c.C);
  unit_rows(values, c.N * c.S, c.C);
  const bool spoil = c.dtype != Dtype::int8 && c.N > 1 && uniform() < 0.3;

  // Each face in a block of its own, at any alignment, ending exactly where its codes end.
  std::vector<std::unique_ptr<Block<unsigned char>>> faces;
  std::vector<const void*> starts;
  std::vector<std::vector<double>> gallery;
  for (int n = 0; n < c.N; ++n) {
    const int shift = between(0, 3);
    faces.push_back(std::make_unique<Block<unsigned char>>(face + static_cast<std::size_t>(shift)));
    unsigned char* at = faces.back()->get() + shift;
    for (int j = 0; j < c.S; ++j) {
      gallery.push_back(
          decoded(values.get() + (n * c.S + j) * c.C, c.C, c.dtype, at + j * c.C * item));
    }
    if (spoil && n == 0)
      std::memset(at + face - static_cast<std::size_t>(item), 0xff, static_cast<std::size_t>(item));
    starts.push_back(at);
  }
  std::vector<std::vector<double>> rounded;
  std::vector<unsigned char> scrap(static_cast<std::size_t>(c.C) * 4);
  for (int i = 0; i < c.B * c.R; ++i) {
    rounded.push_back(decoded(query.get() + i * c.C, c.C, c.dtype, scrap.data()));
  }
  Block<float> u(static_cast<std::size_t>(c.B) * c.N * c.R),
      v(static_cast<std::size_t>(c.B) * c.N * c.S);
  for (std::size_t i = 0; i < u.n; ++i) u[i] = static_cast<float>(uniform() + 0.01);
  for (std::size_t i = 0; i < v.n; ++i) v[i] = static_cast<float>(uniform() + 0.01);

  Job job;
  job.queries = c.B;
  job.candidates = c.N;
  job.R = c.R;
  job.S = c.S;
  job.C = c.C;
  job.dtype = c.dtype;
  job.query = query.get();
  job.query_face = static_cast<std::int64_t>(c.R) * c.C;
  job.query_patch = c.C;
  job.buffers = starts.data();
  job.gallery_patch = static_cast<std::int64_t>(c.C) * item;
  job.weighting = c.weighting;
  job.u = u.get();
  job.u_query = static_cast<std::int64_t>(c.N) * c.R;
  job.u_candidate = c.R;
  job.v = v.get();
  job.v_query = static_cast<std::int64_t>(c.N) * c.S;
  job.v_candidate = c.S;
  job.pooled_query = pooled_query.get();
  job.pooled_query_face = c.C;
  job.pooled_gallery = pooled_gallery.get();
  job.pooled_gallery_face = c.C;
  job.epsilon = c.epsilon;
  job.tolerance = c.tolerance;
  job.max_iterations = 200;

  std::unique_ptr<Result> fused;
  for (const Format* format : formats) {
    const Result result = run(*format, job, 1);
    if (!same_bits(result, run(*format, job, between(2, 4)))) fail(c, format->isa, "threads", 0);
    for (int p = 0; p < c.B * c.N; ++p) {
      const bool bad = spoil && p % c.N == 0;
      if (bad != (result.status[p] == INVALID)) fail(c, format->isa, "status", result.status[p]);
      if (bad || c.weighting == Weighting::apc || c.weighting == Weighting::sc) continue;
      std::vector<double> cosine(static_cast<std::size_t>(c.R) * c.S), up, vp;
      for (int i = 0; i < c.R; ++i) {
        up.push_back(c.weighting == Weighting::uniform ? 1 : u[p * c.R + i]);
        for (int j = 0; j < c.S; ++j) {
          const auto& q = rounded[p / c.N * c.R + i];
          const auto& g = gallery[p % c.N * c.S + j];
          double dot = 0;
          for (int k = 0; k < c.C; ++k) dot += q[k] * g[k];
          cosine[i * c.S + j] = dot;
        }
      }
      for (int j = 0; j < c.S; ++j)
        vp.push_back(c.weighting == Weighting::uniform ? 1 : v[p * c.S + j]);
      const double expected = plain(cosine, c.R, c.S, up, vp, c.epsilon, result.iterations[p]);
      const double off = std::fabs(result.similarity[p] - expected);
      if (!(off < 3e-6 + 2e-7 / c.epsilon)) fail(c, format->isa, "similarity", off);
    }
    const std::string isa = format->isa;
    if (isa == "portable" || isa == "avx512bf16") continue;  // other roundings by design
    if (isa == "amx" && c.dtype == Dtype::bf16) continue;    // likewise
    if (!fused) {
      fused = std::make_unique<Result>(result);
    } else if (!same_bits(*fused, result)) {
      fail(c, isa, "bits differ from the first level with fma", 0);
    }
  }
}

// The int8 scan must keep every face that belongs to the best k, whoever else it keeps.
void check_scan() {
  const int n = between(1, 700), d = between(1, 90), q = between(1, 6), k = between(1, n);
  const int words = (d + 3) / 4, blocks = (n + SCAN_LANES - 1) / SCAN_LANES;
  const Block<float> x(n * d), asked(q * d), scales(blocks * SCAN_LANES);
  const Block<float> residues(blocks * SCAN_LANES), own(q), length(q), slack(q);
  const Block<std::int8_t> codes(blocks * words * 64), query(q * words * 4);
  unit_rows(x, n, d);
  unit_rows(asked, q, d);
  const int half = between(0, n);  // in two steps, as a gallery grows
  scan_pack(x.get(), d, 0, half, d, codes.get(), scales.get(), residues.get());
  scan_pack(x.get(), d, half, n, d, codes.get(), scales.get(), residues.get());
  for (int i = 0; i < q; ++i) {
    float top = 0;
    for (int c = 0; c < d; ++c) top = std::max(top, std::fabs(asked[i * d + c]));
    own[i] = top / 127;
    double near = 0, lost = 0;
    for (int c = 0; c < d; ++c) {
      const float code = std::nearbyint(asked[i * d + c] / own[i]);
      query[i * words * 4 + c] = static_cast<std::int8_t>(code);
      const double value = static_cast<double>(own[i]) * code;
      near += value * value;
      lost += (asked[i * d + c] - value) * (asked[i * d + c] - value);
    }
    length[i] = static_cast<float>(std::sqrt(near) * 1.000001);
    slack[i] = static_cast<float>(std::sqrt(lost) * 1.0001 + 1e-5);
  }
  Scan scan;
  scan.faces = n, scan.words = words, scan.queries = q, scan.k = k;
  scan.codes = codes.get(), scan.scales = scales.get(), scan.residues = residues.get();
  scan.query = query.get(), scan.query_scale = own.get();
  scan.query_length = length.get(), scan.slack = slack.get();
  for (const std::string& level : available_levels()) {
    const auto found = scan_survivors(scan, choose_scan(level), between(1, 3));
    for (int i = 0; i < q; ++i) {
      std::vector<double> dots(n);
      for (int f = 0; f < n; ++f) {
        for (int c = 0; c < d; ++c) {
          dots[f] += static_cast<double>(x[f * d + c]) * asked[i * d + c];
        }
      }
      std::vector<double> ordered = dots;
      std::sort(ordered.begin(), ordered.end());
      for (int f = 0; f < n; ++f) {
        if (dots[f] < ordered[n - k]) continue;
        if (!std::binary_search(found[i].begin(), found[i].end(), f)) {
          std::printf("FAIL scan %s n=%d d=%d k=%d: face %d lost\n", level.c_str(), n, d, k, f);
          ++failures;
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 150;
  std::printf("levels here:");
  for (const std::string& level : available_levels()) std::printf(" %s", level.c_str());
#if defined(FACEFLOW_EMULATED)
  std::printf(" + emulated avx512, avx512vnni, avx512bf16");
#endif
  std::printf("\n");
  for (int k = 0; k < cases; ++k) {
    check_scan();
    const bool big = k % 25 == 24;
    Case c{between(1, 2),    between(1, 4),  between(1, 40),
           between(1, 40),   between(1, 90), Dtype::f32,
           Weighting::given, 0.05,           1e-3};
    if (big) c.R = between(60, 256), c.S = between(60, 256), c.C = between(400, 2048);
    const double epsilons[] = {0.05, 0.05, 1.0, 0.02, 0.004, 1e-3};
    c.epsilon = epsilons[between(0, 5)];
    c.tolerance = uniform() < 0.2 ? 1e-9 : 1e-3;
    c.weighting = static_cast<Weighting>(between(0, 3));
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::int8}) {
      c.dtype = dtype;
      check(c, formats_of(dtype));
    }
  }
  std::printf("%d cases, %d failures\n", cases, failures);
  return failures ? 1 : 0;
}
