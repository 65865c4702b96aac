// One instruction set's kernel: include a simd_*.hpp first, then this, then EXPORT_FORMAT.
#pragma once

#include <float.h>

#include "job.hpp"
// (order matters: each of these uses the ones above)
#include "gemm.hpp"
#include "amx.hpp"
#include "formats.hpp"
#include "scale.hpp"
#include "project.hpp"

namespace {

using faceflow::Job;
using faceflow::Weighting;

constexpr Index round_up(Index n, Index to) { return (n + to - 1) / to * to; }

// Scratch of one thread, cut from one block of memory.
struct Scratch {
  unsigned char* at;
  std::size_t used = 0;
  template <class T>
  T* take(Index n) {
    T* start = at ? reinterpret_cast<T*>(at + used) : nullptr;
    used += static_cast<std::size_t>(round_up(n * static_cast<Index>(sizeof(T)), 64));
    return start;
  }
};

// What a format's products need: their table of register tiles, or the tile unit.
template <class Op>
struct Means {
  using Table = Tiles<Op>;
  static constexpr int panel = PV;   // vectors in a panel of the packed query
  static constexpr int words = 1;    // a product takes a multiple of so many
  static constexpr bool unit = false;
};
#if defined(FACEFLOW_AMX)
template <>
struct Means<AmxOp> {
  struct Table {};
  static constexpr int panel = 1;
  static constexpr int words = TILE_WORDS;
  static constexpr bool unit = true;
};
#endif

template <class Format>
struct Solver {
  using Op = typename Format::Op;
  using Uses = Means<Op>;
  using Table = typename Uses::Table;
  static constexpr int group = Format::group;

  const Job& job;
  const int R, S, C;
  const int vectors;  // of query patches
  const Index Rp;     // query patches, padded to sixteen lanes
  const Index Sp;     // gallery patches, padded to four; vectors of them to W
  const int full;     // whole words of a gallery patch that can be read in place
  const int depth;    // words of a packed patch
  const Index row;    // bytes of a widened gallery patch

  std::uint32_t* packed;
  float* query_scale;   // (Rp)
  float *M, *K, *r, *t, *next, *c, *u, *v, *top, *mask;
  float* gallery_scale;  // (Sp)
  std::int32_t* gallery_sum;
  unsigned char *wide, *tail, *code, *pooled_code, *rows_to_pack;
#if defined(FACEFLOW_AMX)
  TileUnit unit;
#endif
  float* pooled_row;
  double *uw, *vw, *stable;
  float pooled_scale = 1.0f;
  std::int32_t pooled_sum = 0;

  Solver(const Job& j, Scratch& s)
      : job(j),
        R(static_cast<int>(j.R)),
        S(static_cast<int>(j.S)),
        C(static_cast<int>(j.C)),
        vectors((R + W - 1) / W),
        Rp(round_up(R, 16)),
        Sp(round_up(S, W > 4 ? W : 4)),
        full((Format::direct ? C / group : (C + group - 1) / group) / Uses::words * Uses::words),
        depth(static_cast<int>(round_up((C + group - 1) / group, Uses::words))),
        // One cache line more than needed: rows a power of two apart would share cache sets.
        row(round_up(C * Format::wide, 64) + 64) {
    packed = s.take<std::uint32_t>(static_cast<Index>(depth) * Rp);
    query_scale = s.take<float>(Rp);
    M = s.take<float>(Sp * Rp);
    K = s.take<float>(Sp * Rp);
    r = s.take<float>(Rp);
    t = s.take<float>(Rp);
    next = s.take<float>(Rp);
    c = s.take<float>(Sp);
    u = s.take<float>(Rp);
    v = s.take<float>(Sp);
    top = s.take<float>(Rp);
    mask = s.take<float>(Rp);
    gallery_scale = s.take<float>(Sp);
    gallery_sum = s.take<std::int32_t>(Sp);
    wide = s.take<unsigned char>(Format::direct ? 0 : row * S);
    tail = s.take<unsigned char>(4 * Uses::words * Sp);
    code = s.take<unsigned char>(row);
    pooled_code = s.take<unsigned char>(row);
    rows_to_pack = s.take<unsigned char>(row * Uses::panel * W);
    pooled_row = s.take<float>(Rp);
    uw = s.take<double>(R);
    vw = s.take<double>(S);
    stable = reinterpret_cast<double*>(
        s.take<unsigned char>(static_cast<Index>(faceflow::stable_workspace(R, S))));
  }

  // ---- the query -------------------------------------------------------------------------

  void pack(std::int64_t b) {
    const float* query = job.query + b * job.query_face;
    for (int i = 0; i < Rp; ++i) query_scale[i] = 0.0f;
    std::uint32_t* to = packed;
    for (int first = 0; first < vectors; first += Uses::panel) {
      const int lanes = (vectors - first < Uses::panel ? vectors - first : Uses::panel) * W;
      // The panel's patches as rows of words first, then turned to word by word.
      for (int l = 0; l < lanes; ++l) {
        const int i = first * W + l;
        unsigned char* line = rows_to_pack + l * row;
        std::memset(line, 0, static_cast<std::size_t>(row));
        if (i >= R) continue;
        query_scale[i] = Format::encode(query + i * job.query_patch, C, line);
        if (Format::offset) {
          for (int x = 0; x < C; ++x) line[x] = static_cast<unsigned char>(line[x] + Format::offset);
        }
      }
      for (int w = 0; w < depth; ++w) {
        for (int l = 0; l < lanes; ++l) {
          std::memcpy(to + l, rows_to_pack + l * row + 4 * w, 4);
        }
        to += lanes;
      }
    }
    for (int i = 0; i < Rp; ++i) mask[i] = i < R ? 1.0f : 0.0f;
    if (job.weighting == Weighting::apc) {
      std::memset(pooled_code, 0, static_cast<std::size_t>(row));
      pooled_scale = Format::encode(job.pooled_query + b * job.pooled_query_face, C, pooled_code);
    }
  }

  // ---- one gallery face ------------------------------------------------------------------

  Bytes face(std::int64_t p, std::int64_t* number) const {
    const std::int64_t g = job.index ? job.index[p] : p % job.candidates;
    if (number) *number = g;
    if (job.buffers) return static_cast<Bytes>(job.buffers[g]);
    return job.gallery + g * job.gallery_face;
  }

  // Rows of words ready for the product: the face itself, or its widened copy.
  Bytes rows_of(Bytes from, Index* stride) {
    if (Format::direct) {
      *stride = job.gallery_patch;
      return from;
    }
    for (int j = 0; j < S; ++j) {
      unsigned char* to = wide + j * row;
      gallery_scale[j] = Format::widen(from + j * job.gallery_patch, C, to);
      for (Index x = static_cast<Index>(C) * Format::wide; x < 4 * depth; ++x) to[x] = 0;
    }
    *stride = row;
    return wide;
  }

  // The last values of patches that do not fill a word (or a tile of words), copied so that
  // nothing is read past the end of a face.
  static constexpr Index tail_row = 4 * Uses::words;
  void copy_tail(Bytes rows, Index stride, int count) {
    const Index start = static_cast<Index>(full) * 4, length = static_cast<Index>(C) * Format::wide - start;
    for (int j = 0; j < count; ++j) {
      std::memset(tail + tail_row * j, 0, static_cast<std::size_t>(tail_row));
      std::memcpy(tail + tail_row * j, rows + j * stride + start, static_cast<std::size_t>(length));
    }
  }

  void part_of_products(const Table& tiles, int word0, int words, Bytes rows, Index stride,
                        int count, float* out, Ahead& ahead) {
    const Panels query{packed, vectors, depth};
    if constexpr (Uses::unit) {
#if defined(FACEFLOW_AMX)
      (void)tiles;
      TileProduct<Format::integer>::all(unit, query, word0, words, rows, stride, count, out, Rp,
                                        ahead);
#endif
    } else {
      multiply<Op>(tiles, query, word0, words, rows, stride, count, out, Rp, ahead);
    }
  }

  void products(const Table& tiles, Bytes rows, Index stride, int count, float* out,
                Ahead& ahead) {
    if (full) part_of_products(tiles, 0, full, rows, stride, count, out, ahead);
    if (full < depth) {
      copy_tail(rows, stride, count);
      part_of_products(tiles, full, depth - full, tail, tail_row, count, out, ahead);
    }
  }

  // int32 sums to cosines: out[j][i] = (sum - 128 * codes of j) * scale_i * scale_j
  void rescale(float* out, int count, const float* scales, const std::int32_t* sums) const {
    for (int n = 0; n < vectors; ++n) {
      const F query = ld(query_scale + n * W);
      float* at = out + n * W;
      for (int j = 0; j < count; ++j) {
        I sum = ildu(at);
        if (Format::offset) {
          const std::int32_t shift = -Format::offset * sums[j];
          sum = iadd(sum, word(reinterpret_cast<Bytes>(&shift)));
        }
        st(at, mul(mul(to_float(sum), query), set1(scales[j])));
        at += Rp;
      }
    }
  }

  void cosines(const Table& tiles, Bytes from, std::int64_t number, Bytes rows, Index stride,
               Ahead& ahead) {
    products(tiles, rows, stride, S, M, ahead);
    if (Format::integer) {
      for (int j = 0; j < S; ++j) {
        const Bytes patch = from + j * job.gallery_patch;
        if (job.scales) {
          gallery_scale[j] = job.scales[number * job.scales_face + j];
        } else if (Format::direct) {
          gallery_scale[j] = inverse_length(patch, C);
        }
        gallery_sum[j] = Format::offset ? sum_codes(patch, C) : 0;
      }
      rescale(M, S, gallery_scale, gallery_sum);
    }
    for (Index j = S; j < Sp; ++j) {
      for (int n = 0; n < vectors; ++n) st(M + j * Rp + n * W, set1(0.0f));
    }
  }

  // ---- weights ---------------------------------------------------------------------------

  // Sum as float64, in four interleaved parts; NaN or infinity anywhere shows in it.
  static double sum_of(const float* w, int n) {
    double part[4] = {0, 0, 0, 0};
    int i = 0;
    for (; i + 4 <= n; i += 4) {
      for (int l = 0; l < 4; ++l) part[l] += static_cast<double>(w[i + l]);
    }
    for (; i < n; ++i) part[0] += static_cast<double>(w[i]);
    return (part[0] + part[2]) + (part[1] + part[3]);
  }

  // Scale raw weights to sum 1 in place. `or_uniform`: a side without mass prefers nothing.
  enum class Mass { some, none, invalid };
  static Mass normalise(float* w, int n, Index padded, double* total, bool or_uniform) {
    *total = sum_of(w, n);
    for (Index i = n; i < padded; ++i) w[i] = 0.0f;
    if (!(*total >= 0 && *total <= DBL_MAX)) return Mass::invalid;
    if (*total == 0) {
      if (!or_uniform) return Mass::none;
      for (int i = 0; i < n; ++i) w[i] = 1.0f;
      *total = n;
    }
    return Mass::some;
  }
  static void share(const float* raw, int n, double total, double* wide_out, float* out) {
    const double inverse = 1.0 / total;
    for (int i = 0; i < n; ++i) {
      wide_out[i] = static_cast<double>(raw[i]) * inverse;
      out[i] = static_cast<float>(wide_out[i]);
    }
  }

  // <gallery patch j, pooled query patch> for all j, into v; scale and shift as for cosines.
  void pooled_columns(Bytes rows, Index stride) {
    for (int j = 0; j < S; ++j) {
      v[j] = Dot<Format>::of(rows + j * stride, pooled_code, C) * pooled_scale *
             (Format::integer ? gallery_scale[j] : 1.0f);
    }
  }

  static float relu(float x) { return x > 0 || !(x == x) ? x : 0.0f; }  // NaN stays

  void apc(const Table& tiles, std::int64_t number, Bytes rows, Index stride) {
    pooled_columns(rows, stride);
    std::memset(code, 0, static_cast<std::size_t>(row));
    float scale = Format::encode(job.pooled_gallery + number * job.pooled_gallery_face, C, code);
    Ahead none;
    products(tiles, code, row, 1, pooled_row, none);
    if (Format::integer) {
      const std::int32_t sum = Format::offset ? sum_codes(code, C) : 0;
      rescale(pooled_row, 1, &scale, &sum);
    }
    for (int i = 0; i < R; ++i) u[i] = relu(pooled_row[i]);
    for (int j = 0; j < S; ++j) v[j] = relu(v[j]);
  }

  void sc() {
    // K is free until the scaling starts: it holds max(1 - S, 0) here.
    for (int n = 0; n < vectors; ++n) {
      F sum = set1(0.0f);
      const F keep = ld(mask + n * W);
      for (Index j = 0; j < Sp; ++j) {
        const F far = vmax(sub(set1(1.0f), ld(M + j * Rp + n * W)), set1(0.0f));
        st(K + j * Rp + n * W, mul(far, keep));
        if (j < S) sum = add(sum, far);
      }
      st(u + n * W, sum);
    }
    for (Index j = 0; j < Sp; j += 4) dot4(K + j * Rp, Rp, mask, vectors, v + j);
  }

  // Raw weights of pair p into u and v.
  void weigh(const Table& tiles, std::int64_t p, std::int64_t number, Bytes rows, Index stride) {
    const std::int64_t b = p / job.candidates, n = p % job.candidates;
    switch (job.weighting) {
      case Weighting::given:
        std::memcpy(u, job.u + b * job.u_query + n * job.u_candidate, static_cast<std::size_t>(R) * 4);
        std::memcpy(v, job.v + b * job.v_query + n * job.v_candidate, static_cast<std::size_t>(S) * 4);
        break;
      case Weighting::uniform:
        for (int i = 0; i < R; ++i) u[i] = 1.0f;
        for (int j = 0; j < S; ++j) v[j] = 1.0f;
        break;
      case Weighting::apc:
        apc(tiles, number, rows, stride);
        break;
      case Weighting::sc:
        sc();
        break;
    }
  }

  // ---- the pair --------------------------------------------------------------------------

  // Largest cosine of each query patch into `top`; returns the range over all valid ones.
  float range() {
    float low = FLT_MAX, high = -FLT_MAX;
    for (int n = 0; n < vectors; ++n) {
      F most = ld(M + n * W), least = most;
      for (int j = 1; j < S; ++j) {
        const F x = ld(M + j * Rp + n * W);
        most = vmax(most, x);
        least = vmin(least, x);
      }
      st(top + n * W, most);
      float lanes[W];
      st(lanes, least);
      for (int l = 0; l < W && n * W + l < R; ++l) {
        low = lanes[l] < low ? lanes[l] : low;
        high = top[n * W + l] > high ? top[n * W + l] : high;
      }
    }
    return high - low;
  }

  void write(std::int64_t p, double similarity, int iterations, double error,
             faceflow::Status status) {
    job.similarity[p] = similarity;
    job.iterations[p] = iterations;
    job.marginal_error[p] = static_cast<float>(error);
    job.status[p] = status;
  }
  void write_nothing(std::int64_t p, faceflow::Status status) {
    const float value = status == faceflow::INVALID ? float_of(0x7fc00000u) : 0.0f;
    write(p, static_cast<double>(value), 0, static_cast<double>(value), status);
    if (job.flow) {
      float* flow = job.flow + p * R * S;
      for (Index x = 0; x < static_cast<Index>(R) * S; ++x) flow[x] = value;
    }
  }

  bool cosines_finite() const {
    float sum = 0.0f;
    for (int j = 0; j < S; ++j) {
      for (int i = 0; i < R; ++i) sum += M[j * Rp + i] * 0.0f;
    }
    return sum == 0.0f;
  }

  // Float32 scaling; false when float32 was not enough after all.
  bool scale(std::int64_t p) {
    Scaling s{M, K, Rp, S, vectors, static_cast<int>(Sp), r, t, next, c, u, v, top};
    if (!s.start(job.epsilon)) {
      write_nothing(p, faceflow::INVALID);
      return true;
    }
    const float tolerance = static_cast<float>(job.tolerance);
    int iteration = 0;
    float error;
    for (;;) {
      error = s.iterate();
      ++iteration;
      if (error < tolerance || iteration >= job.max_iterations || !(error <= FLT_MAX)) break;
      s.advance();
    }
    const double similarity = s.similarity();
    if (!(error <= FLT_MAX) || !(similarity - similarity == 0)) return false;
    write(p, similarity, iteration, static_cast<double>(error),
          error < tolerance ? faceflow::CONVERGED : faceflow::MAX_ITERATIONS);
    if (job.flow) {
      float* flow = job.flow + p * R * S;
      for (int i = 0; i < R; ++i) {
        for (int j = 0; j < S; ++j) flow[i * S + j] = r[i] * K[j * Rp + i] * c[j];
      }
    }
    return true;
  }

  void solve(const Table& tiles, std::int64_t p, Ahead& ahead) {
    std::int64_t number;
    const Bytes from = face(p, &number);
    Index stride;
    const Bytes rows = rows_of(from, &stride);
    cosines(tiles, from, number, rows, stride, ahead);
    weigh(tiles, p, number, rows, stride);

    const bool either = job.weighting != Weighting::given;
    double u_total, v_total;
    const Mass rows_mass = normalise(u, R, Rp, &u_total, either);
    const Mass columns_mass = normalise(v, S, Sp, &v_total, either);
    if (rows_mass == Mass::invalid || columns_mass == Mass::invalid) {
      write_nothing(p, faceflow::INVALID);
      return;
    }
    if (rows_mass == Mass::none || columns_mass == Mass::none) {
      write_nothing(p, cosines_finite() ? faceflow::NO_MASS : faceflow::INVALID);
      return;
    }
    share(u, R, u_total, uw, u);
    share(v, S, v_total, vw, v);

    const double spread = static_cast<double>(range());
    if (spread <= FLOAT_RANGE * job.epsilon && job.tolerance >= FLOAT_TOLERANCE && scale(p)) return;
    const faceflow::StablePlan plan = faceflow::stable_sinkhorn(
        M, Rp, R, S, uw, vw, job.epsilon, job.tolerance, job.max_iterations, stable,
        job.flow ? job.flow + p * R * S : nullptr);
    if (plan.status == faceflow::INVALID) {
      write_nothing(p, faceflow::INVALID);
    } else {
      write(p, plan.similarity, plan.iterations, plan.marginal_error, plan.status);
    }
  }

  void run(std::int64_t begin, std::int64_t end) {
    static const Table tiles;
    const Index size = static_cast<Index>(S) * C * Format::bytes;
    const bool dense = job.buffers || job.gallery_patch == static_cast<Index>(C) * Format::bytes;
    // Tiles per face, to spread the prefetches over.
    const int panels = (vectors + PV - 1) / PV;
    const Index tiles_per_face =
        Uses::unit ? static_cast<Index>(depth / Uses::words) * ((S + 15) / 16) * ((vectors + 3) / 4)
                   : static_cast<Index>((depth + BLOCK - 1) / BLOCK) * panels *
                         ((S + TILE2 - 1) / TILE2);
    std::int64_t packed_query = -1;
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t b = p / job.candidates;
      if (b != packed_query) pack(packed_query = b);
      Ahead ahead;
      if (dense && p + 1 < end) {
        ahead.at = face(p + 1, nullptr);
        ahead.left = size;
        ahead.share = round_up(size / tiles_per_face, 64) + 64;
      }
      solve(tiles, p, ahead);
    }
  }
};

template <class Format>
std::size_t workspace_of(const Job& job) {
  Scratch scratch{nullptr};
  const Solver<Format> solver(job, scratch);
  return scratch.used;
}

template <class Format>
void run_pairs(const Job& job, std::int64_t begin, std::int64_t end, unsigned char* workspace) {
  Scratch scratch{workspace};
  Solver<Format>(job, scratch).run(begin, end);
}

// The inner product of a register tile, operands in L1: 12 accumulators hide the latency.
template <class Format>
double peak_of(std::int64_t rounds, float* sink) {
  using Op = typename Format::Op;
#if defined(FACEFLOW_AMX)
  if constexpr (Means<Op>::unit) return TileProduct<Format::integer>::peak(rounds / 16, sink);
#else
  typename Op::Acc acc[6][2];
  for (int j = 0; j < 6; ++j) {
    for (int n = 0; n < 2; ++n) acc[j][n] = Op::zero();
  }
  for (std::int64_t k = 0; k < rounds; ++k) {
    const float* at = sink + (k & 1) * 8 * W;
    const I q[2] = {ildu(at), ildu(at + W)};
    for (int j = 0; j < 6; ++j) {
      const I g = ildu(at + (2 + j) * W);
      for (int n = 0; n < 2; ++n) acc[j][n] = Op::madd(acc[j][n], q[n], g);
    }
  }
  for (int j = 0; j < 6; ++j) {
    for (int n = 0; n < 2; ++n) Op::store(sink + (j * 2 + n) * W, acc[j][n]);
  }
  return static_cast<double>(rounds) * 12.0 * W * Op::group;
#endif
}

}  // namespace

#define EXPORT_FORMAT(symbol, isa, format)                                               \
  namespace faceflow {                                                                   \
  const Format symbol = {isa, workspace_of<format>, run_pairs<format>, peak_of<format>,  \
                         project};                                                       \
  }
