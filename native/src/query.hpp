// The query of a run of pairs, packed once for all of its candidates.
#pragma once

#include <cstdint>
#include <cstring>

#include "gemm.hpp"
#include "job.hpp"
#include "layout.hpp"
#include "memory.hpp"
#include "simd.hpp"

namespace {

template <class Format>
class Query {
 public:
  float* const scale;           // (columns) what a patch's codes are multiplied with to be unit
  float* const valid;           // (columns) 1 for a patch, 0 for the padding
  unsigned char* const pooled;  // apc: the pooled features, encoded like a patch
  float pooled_scale = 1.0f;

  Query(const Layout<Format>& layout, Scratch& scratch)
      : scale(scratch.take<float>(layout.columns)),
        valid(scratch.take<float>(layout.columns)),
        pooled(scratch.take<unsigned char>(layout.row_bytes)),
        layout_(layout),
        words_(scratch.take<std::uint32_t>(layout.words * layout.columns)),
        lines_(scratch.take<unsigned char>(layout.row_bytes * Products::panel * LANES)) {}

  Panels panels() const { return {words_, layout_.vectors, layout_.words}; }

  // Take over query number `b`.
  void pack(const faceflow::Job& job, std::int64_t b) {
    pack_patches(job.query + b * job.query_face, job.query_patch);
    for (Index i = 0; i < layout_.columns; ++i) valid[i] = i < layout_.query_patches ? 1.0f : 0.0f;
    if (job.weighting == faceflow::Weighting::apc) {
      std::memset(pooled, 0, static_cast<std::size_t>(layout_.row_bytes));
      pooled_scale =
          Format::encode(job.pooled_query + b * job.pooled_query_face, layout_.channels, pooled);
    }
  }

 private:
  using Products = Multiplier<typename Format::Op>;

  // Into panels: within a panel of some vectors, word by word, each for all patches.
  void pack_patches(const float* patches, Index stride) {
    for (Index i = 0; i < layout_.columns; ++i) scale[i] = 0.0f;
    std::uint32_t* to = words_;
    for (int first = 0; first < layout_.vectors; first += Products::panel) {
      const int left = layout_.vectors - first;
      const int lanes = (left < Products::panel ? left : Products::panel) * LANES;
      // The panel's patches as lines of words first, then turned to word by word.
      for (int lane = 0; lane < lanes; ++lane) {
        const int i = first * LANES + lane;
        unsigned char* line = lines_ + lane * layout_.row_bytes;
        std::memset(line, 0, static_cast<std::size_t>(layout_.row_bytes));
        if (i >= layout_.query_patches) continue;
        scale[i] = Format::encode(patches + i * stride, layout_.channels, line);
        if (Format::offset) {
          for (int c = 0; c < layout_.channels; ++c) {
            line[c] = static_cast<unsigned char>(line[c] + Format::offset);
          }
        }
      }
      for (int word = 0; word < layout_.words; ++word) {
        for (int lane = 0; lane < lanes; ++lane) {
          std::memcpy(to + lane, lines_ + lane * layout_.row_bytes + 4 * word, 4);
        }
        to += lanes;
      }
    }
  }

  const Layout<Format>& layout_;
  std::uint32_t* const words_;
  unsigned char* const lines_;  // a panel's patches before they are turned
};

}  // namespace
