// Cosines of query patches with gallery patches: products of words, then the scales of codes.
#pragma once

#include <cstdint>
#include <cstring>

#include "face.hpp"
#include "gemm.hpp"
#include "layout.hpp"
#include "memory.hpp"
#include "query.hpp"
#include "simd.hpp"

namespace {

template <class Format>
class Products {
 public:
  Products(const Layout<Format>& layout, Scratch& scratch)
      : layout_(layout), tail_(scratch.take<unsigned char>(tail_bytes * layout.rows)) {}

  // out[j][i] = <query patch i, gallery patch j>; rows of padding are zero.
  void cosines(const faceflow::Job& job, const Query<Format>& query, Face<Format>& face, float* out,
               Ahead& ahead) {
    raw(query.panels(), face.rows, face.stride, layout_.gallery_patches, out, ahead);
    if (Format::integer) {
      face.measure(job);
      rescale(out, layout_.gallery_patches, query.scale, face.scale, face.code_sum);
    }
    for (Index j = layout_.gallery_patches; j < layout_.rows; ++j) {
      for (int n = 0; n < layout_.vectors; ++n) {
        store(out + j * layout_.columns + n * LANES, set1(0.0f));
      }
    }
  }

  // The same for one encoded patch that is not part of a face.
  void cosines_of_one(const Query<Format>& query, Bytes code, float scale, float* out) {
    Ahead nothing;
    raw(query.panels(), code, layout_.row_bytes, 1, out, nothing);
    if (Format::integer) {
      const std::int32_t sum = Format::offset ? sum_codes(code, layout_.channels) : 0;
      rescale(out, 1, query.scale, &scale, &sum);
    }
  }

 private:
  using Multiply = Multiplier<typename Format::Op>;
  static constexpr Index tail_bytes = 4 * Multiply::word_multiple;

  // Raw sums of the format's products.
  void raw(const Panels& query, Bytes rows, Index stride, int count, float* out, Ahead& ahead) {
    const int whole = layout_.whole_words, rest = layout_.words - whole;
    if (whole) {
      multiply_({query, 0, whole}, {rows, stride, count}, out, layout_.columns, ahead);
    }
    if (rest) {
      copy_tail(rows, stride, count);
      multiply_({query, whole, rest}, {tail_, tail_bytes, count}, out, layout_.columns, ahead);
    }
  }

  // The last values of patches that do not fill a word (or a tile of words), copied so that
  // nothing is read past the end of a face.
  void copy_tail(Bytes rows, Index stride, int count) {
    const Index start = static_cast<Index>(layout_.whole_words) * 4;
    const Index length = static_cast<Index>(layout_.channels) * Format::wide - start;
    for (int j = 0; j < count; ++j) {
      std::memset(tail_ + tail_bytes * j, 0, static_cast<std::size_t>(tail_bytes));
      std::memcpy(tail_ + tail_bytes * j, rows + j * stride + start,
                  static_cast<std::size_t>(length));
    }
  }

  // int32 sums to cosines: out[j][i] = (sum - offset * codes of j) * scale_i * scale_j
  void rescale(float* out, int count, const float* query_scale, const float* scale,
               const std::int32_t* code_sum) const {
    int n = 0;
    for (; n + 4 <= layout_.vectors; n += 4) {
      rescale_some<4>(out + n * LANES, count, query_scale + n * LANES, scale, code_sum);
    }
    for (; n < layout_.vectors; ++n) {
      rescale_some<1>(out + n * LANES, count, query_scale + n * LANES, scale, code_sum);
    }
  }

  // The same for NB vectors of query patches.
  template <int NB>
  void rescale_some(float* at, int count, const float* query_scale, const float* scale,
                    const std::int32_t* code_sum) const {
    Floats of_query[NB];
    for (int b = 0; b < NB; ++b) of_query[b] = load(query_scale + b * LANES);
    for (int j = 0; j < count; ++j) {
      const Floats of_gallery = set1(scale[j]);
      const std::int32_t shift = Format::offset ? -Format::offset * code_sum[j] : 0;
      const Ints moved = broadcast_word(reinterpret_cast<Bytes>(&shift));
      for (int b = 0; b < NB; ++b) {
        Ints sum = iload(at + b * LANES);
        if (Format::offset) sum = iadd(sum, moved);
        store(at + b * LANES, mul(mul(to_float(sum), of_query[b]), of_gallery));
      }
      at += layout_.columns;
    }
  }

  const Layout<Format>& layout_;
  Multiply multiply_;
  unsigned char* const tail_;
};

}  // namespace
