// What each int8 patch adds to the embedding: a linear map of 16-bit numbers for each place, and
// its result rounded to int8, with what that rounding took away as a second int8.
//
//   sum[d] = sum_c x[c] * map[r][c][d]                whole numbers, exact in any order
//   y[d]   = sum[d] * map_scale[r][d]                 float32
//   codes  = y * 127 / max |y|, rounded;  residue = 256 (y * 127 / max |y| - codes), rounded
//
// and unit = max |y| / 127 goes back. A patch that is known better than its codes tell has a
// residue as well: x = codes + residue / 256. Nothing here depends on the order of summation and
// no product is fused with a sum, so every instruction set gives the same bits.
#pragma once

#include <cstdint>
#include <cstring>

#include "gemm.hpp"
#include "job.hpp"
#include "memory.hpp"
#include "simd.hpp"
#include "visible.hpp"

namespace {

// Pairs of 16-bit numbers, added to a sum.
struct ContributionOp : Int16Op {
#if defined(FACEFLOW_VNNI)
  static Acc madd(Acc acc, Ints q, Ints g) { return dot_s16(acc, q, g); }
#endif
};

// The map is the "query" of the products: its outputs are what lies side by side in vectors.
class Contributor {
  using Multiply = Multiplier<ContributionOp>;
  static constexpr int faces_at_once = 64;  // while one place's map is in the cache

 public:
  Contributor(const faceflow::Contribution& job, Scratch& scratch)
      : job_(job),
        vectors_(static_cast<int>(round_up(job.D, LANES) / LANES)),
        words_(static_cast<int>((job.C + 1) / 2)),
        row_(round_up(2 * words_, 32) + 32),
        columns_(static_cast<Index>(vectors_) * LANES),
        rows_(scratch.take<std::int16_t>(row_ * faces_at_once)),
        sums_(scratch.take<float>(columns_ * faces_at_once)),
        residue_sums_(scratch.take<float>(job.residues ? columns_ * faces_at_once : 0)),
        values_(scratch.take<float>(columns_)) {}

  // Bytes of the packed map: for each place the panels that the products read.
  static std::size_t packed_bytes(const faceflow::Contribution& job) {
    return static_cast<std::size_t>(job.R * place_words(job) * 4);
  }

  // `map` (R, C, D) into `packed`.
  static void pack(const faceflow::Contribution& job, const std::int16_t* map,
                   unsigned char* packed) {
    const int vectors = static_cast<int>(round_up(job.D, LANES) / LANES);
    const Index words = (job.C + 1) / 2;
    unsigned char* to = packed;
    for (Index r = 0; r < job.R; ++r) {
      const std::int16_t* of_place = map + r * job.C * job.D;
      for (int first = 0; first < vectors; first += Multiply::panel) {
        const int left = vectors - first;
        const Index lanes = (left < Multiply::panel ? left : Multiply::panel) * LANES;
        for (Index word = 0; word < words; ++word) {
          for (Index d = first * LANES; d < first * LANES + lanes; ++d) {
            std::int16_t pair[2] = {0, 0};  // the padding stays zero
            for (Index k = 0; k < 2; ++k) {
              const Index c = 2 * word + k;
              if (c < job.C && d < job.D) pair[k] = of_place[c * job.D + d];
            }
            std::memcpy(to, pair, 4);
            to += 4;
          }
        }
      }
    }
  }

  void run(std::int64_t begin, std::int64_t end) {
    for (std::int64_t face = begin; face < end; face += faces_at_once) {
      const int count = static_cast<int>(end - face < faces_at_once ? end - face : faces_at_once);
      for (Index r = 0; r < job_.R; ++r) place(face, count, r);
    }
  }

 private:
  static Index place_words(const faceflow::Contribution& job) {
    return (job.C + 1) / 2 * round_up(job.D, LANES);
  }

  // Place r of some faces.
  void place(std::int64_t face, int count, Index r) {
    const Index at = face * job_.R + r;
    if (job_.residues) {
      for (int n = 0; n < count; ++n) widen(job_.residues, face + n, r, n);
      multiply(r, count, residue_sums_);
    }
    for (int n = 0; n < count; ++n) {
      widen(job_.codes, face + n, r, n);
      measure(rows_ + n * row_, r, at + n * job_.R);
      if (job_.residues) measure_exactly(face + n, r, at + n * job_.R);
    }
    multiply(r, count, sums_);
    for (int n = 0; n < count; ++n) {
      const float scale = 1.0f / 256;
      if (job_.residues) {
        add_residue(sums_ + n * columns_, residue_sums_ + n * columns_, scale);
      } else {
        as_float(sums_ + n * columns_);
      }
      round(sums_ + n * columns_, r, at + n * job_.R);
    }
  }

  const signed char* patch_of(const signed char* codes, std::int64_t face, Index r) const {
    return codes + face * job_.codes_face + r * job_.codes_patch;
  }

  void widen(const signed char* all, std::int64_t face, Index r, int n) const {
    const signed char* codes = patch_of(all, face, r);
    std::int16_t* FACEFLOW_RESTRICT row = rows_ + n * row_;
    // The same face's next place: faces lie too far apart for the processor to see it coming.
    const signed char* next = codes + job_.codes_patch;
    for (Index c = 0; c < job_.C && r + 1 < job_.R; c += 64) prefetch(next + c);
    for (Index c = 0; c < job_.C; ++c) row[c] = codes[c];
    if (job_.C % 2) row[job_.C] = 0;
  }

  void multiply(Index r, int count, float* out) const {
    const Panels panels{
        reinterpret_cast<const std::uint32_t*>(job_.packed + r * place_words(job_) * 4), vectors_,
        words_};
    Ahead nothing;
    multiply_({panels, 0, words_}, {reinterpret_cast<Bytes>(rows_), 2 * row_, count}, out, columns_,
              nothing);
  }

  // Sum of squares of a patch's codes, and their product with what tells a cover, in units of
  // 1 / 256 of a code.
  void measure(const std::int16_t* row, Index r, Index at) const {
    const std::int16_t* cover = job_.cover + r * job_.C;
    std::int32_t squares = 0, covered = 0;
    for (Index c = 0; c < job_.C; ++c) squares += row[c] * row[c];
    for (Index c = 0; c < job_.C; ++c) covered += row[c] * cover[c];
    job_.squares[at] = static_cast<std::int64_t>(squares) * 65536;
    job_.covered[at] = static_cast<std::int64_t>(covered) * 256;
  }

  // The same with the residues.
  void measure_exactly(std::int64_t face, Index r, Index at) const {
    const signed char *codes = patch_of(job_.codes, face, r),
                      *residues = patch_of(job_.residues, face, r);
    const std::int16_t* cover = job_.cover + r * job_.C;
    std::int64_t squares = 0, covered = 0;
    for (Index c = 0; c < job_.C; ++c) {
      const std::int64_t x = 256 * codes[c] + residues[c];
      squares += x * x;
      covered += x * cover[c];
    }
    job_.squares[at] = squares;
    job_.covered[at] = covered;
  }

  // int32 sums to floats, in place.
  void as_float(float* sums) const {
    for (Index d = 0; d < columns_; ++d) sums[d] = whole(sums + d);
  }
  void add_residue(float* sums, const float* residues, float scale) const {
    for (Index d = 0; d < columns_; ++d) sums[d] = whole(sums + d) + whole(residues + d) * scale;
  }
  static float whole(const float* at) {
    std::int32_t sum;
    std::memcpy(&sum, at, 4);
    return static_cast<float>(sum);
  }

  // Values to codes and residues. Local pointers that share no memory, and no jumps: for the
  // compiler to vectorise.
  void round(const float* FACEFLOW_RESTRICT sums, Index r, Index at) const {
    const Index count = job_.D;
    const float* FACEFLOW_RESTRICT scale = job_.map_scale + r * count;
    float* FACEFLOW_RESTRICT values = values_;
    std::uint32_t largest = 0;  // magnitudes order like their bits
    for (Index d = 0; d < count; ++d) {
      values[d] = sums[d] * scale[d];
      const std::uint32_t size = bits_of(values[d]) & 0x7fffffffu;
      largest = size > largest ? size : largest;
    }
    const float top = float_of(largest);
    const float step = top < 1e-30f ? 0.0f : 127.0f / top;
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    signed char* FACEFLOW_RESTRICT code = job_.out + at * count;
    signed char* FACEFLOW_RESTRICT residue = job_.out_residue + at * count;
    for (Index d = 0; d < count; ++d) {
      const float exact = values[d] * step;
      const float near = (exact + magic) - magic;
      code[d] = static_cast<signed char>(static_cast<std::int32_t>(near));
      values[d] = (exact - near) * 256.0f;
    }
    for (Index d = 0; d < count; ++d) {
      const float rest = (values[d] + magic) - magic;  // -128 to 128
      residue[d] =
          static_cast<signed char>(static_cast<std::int32_t>(rest < 127.0f ? rest : 127.0f));
    }
    job_.unit[at] = top < 1e-30f ? 0.0f : top / 127.0f;
  }

  const faceflow::Contribution& job_;
  const int vectors_, words_;
  const Index row_, columns_;  // int16 of a widened patch, floats of an output
  std::int16_t* const rows_;
  float* const sums_;
  float* const residue_sums_;
  float* const values_;
  Multiply multiply_;
};

inline std::size_t contribution_workspace(const faceflow::Contribution& job) {
  Scratch scratch{nullptr};
  const Contributor counted(job, scratch);
  return scratch.used;
}
inline void contribution_run(const faceflow::Contribution& job, std::int64_t begin,
                             std::int64_t end, unsigned char* workspace) {
  Scratch scratch{workspace};
  Contributor(job, scratch).run(begin, end);
}

}  // namespace

#define EXPORT_CONTRIBUTION(symbol)                                                             \
  namespace faceflow {                                                                          \
  const ContributionKernel symbol = {Contributor::packed_bytes, Contributor::pack,              \
                                     contribution_workspace, contribution_run, visible_cosine}; \
  }
