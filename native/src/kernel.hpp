// One instruction set's kernel: a kernel_*.cpp names its level (see simd.hpp), includes this,
// and exports its formats with EXPORT_FORMAT.
#pragma once

#include <cstddef>
#include <cstdint>

#include "face.hpp"
#include "formats.hpp"
#include "gemm.hpp"
#include "job.hpp"
#include "layout.hpp"
#include "memory.hpp"
#include "pair.hpp"
#include "products.hpp"
#include "project.hpp"
#include "query.hpp"
#include "weights.hpp"

namespace {

// Everything one thread needs to go through pairs: query, face, products, weights, transport.
template <class Format>
class Solver {
 public:
  Solver(const faceflow::Job& job, Scratch& scratch)
      : job_(job),
        layout_(job),
        query_(layout_, scratch),
        pair_(job, layout_, scratch),
        face_(layout_, scratch),
        products_(layout_, scratch),
        weights_(layout_, scratch) {}
  Solver(const Solver&) = delete;
  Solver& operator=(const Solver&) = delete;

  // Pairs of one query follow each other, so each query is packed once.
  void run(std::int64_t begin, std::int64_t end) {
    std::int64_t packed = -1;
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t b = p / job_.candidates;
      if (b != packed) query_.pack(job_, packed = b);
      Ahead ahead;
      if (p + 1 < end) ask_for(Stored(job_, p + 1), ahead);
      solve(p, ahead);
    }
  }

 private:
  void solve(std::int64_t p, Ahead& ahead) {
    face_.read(job_, Stored(job_, p));
    products_.cosines(job_, query_, face_, pair_.cosine, ahead);
    weights_.weigh(job_, p, query_, face_, products_, pair_.cosine, pair_.kernel);
    const Mass mass = weights_.normalise(job_.weighting != faceflow::Weighting::given);
    if (mass == Mass::some) {
      pair_.solve(p, weights_.query, weights_.gallery);
    } else {
      pair_.give_up(p, mass);
    }
  }

  // Have the next face prefetched while this one is multiplied, a share before every tile.
  void ask_for(const Stored& next, Ahead& ahead) const {
    const Index patch = static_cast<Index>(layout_.channels) * Format::bytes;
    if (!job_.buffers && job_.gallery_patch != patch) return;
    const Index tiles = Multiplier<typename Format::Op>::tiles(
        layout_.words, layout_.gallery_patches, layout_.vectors);
    ahead.at = next.codes;
    ahead.left = layout_.gallery_patches * patch;
    ahead.share = round_up(ahead.left / tiles, 64) + 64;
  }

  const faceflow::Job& job_;
  const Layout<Format> layout_;
  Query<Format> query_;
  Pair pair_;
  Face<Format> face_;
  Products<Format> products_;
  Weights<Format> weights_;
};

template <class Format>
std::size_t workspace_of(const faceflow::Job& job) {
  Scratch scratch{nullptr};
  const Solver<Format> solver(job, scratch);
  return scratch.used;
}

template <class Format>
void run_pairs(const faceflow::Job& job, std::int64_t begin, std::int64_t end,
               unsigned char* workspace) {
  Scratch scratch{workspace};
  Solver<Format>(job, scratch).run(begin, end);
}

}  // namespace

#define EXPORT_FORMAT(symbol, isa, format)                             \
  namespace faceflow {                                                 \
  const Format symbol = {isa, workspace_of<format>, run_pairs<format>, \
                         Multiplier<format::Op>::peak, project};       \
  }
