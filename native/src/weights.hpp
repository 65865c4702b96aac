// The weights of a pair's patches: given, or computed as faceflow.matching.weighting does.
#pragma once

#include <float.h>

#include <cstdint>
#include <cstring>

#include "face.hpp"
#include "formats.hpp"
#include "job.hpp"
#include "layout.hpp"
#include "memory.hpp"
#include "products.hpp"
#include "query.hpp"
#include "reduce.hpp"
#include "simd.hpp"

namespace {

enum class Mass { some, none, invalid };

// Weights of one side: raw ones first, then their shares of 1.
struct Side {
  const int patches;
  const Index padded;
  float* const weight;   // (padded)
  double* const shares;  // (patches) in float64, after share()

  Side(int n, Index with_padding, Scratch& scratch)
      : patches(n),
        padded(with_padding),
        weight(scratch.take<float>(with_padding)),
        shares(scratch.take<double>(n)) {}

  void copy(const float* given) {
    std::memcpy(weight, given, static_cast<std::size_t>(patches) * 4);
  }
  void fill(float value) {
    for (int i = 0; i < patches; ++i) weight[i] = value;
  }
  void drop_negative() {  // NaN stays
    for (int i = 0; i < patches; ++i) {
      const float x = weight[i];
      weight[i] = x > 0 || !(x == x) ? x : 0.0f;
    }
  }

  // Sum the raw weights and clear the padding. `or_uniform`: without mass, prefer nothing.
  Mass measure(bool or_uniform) {
    total_ = sum();
    for (Index i = patches; i < padded; ++i) weight[i] = 0.0f;
    if (!(total_ >= 0 && total_ <= DBL_MAX)) return Mass::invalid;
    if (total_ == 0) {
      if (!or_uniform) return Mass::none;
      fill(1.0f);
      total_ = patches;
    }
    return Mass::some;
  }

  // Scale the measured weights to sum 1.
  void share() {
    const double inverse = 1.0 / total_;
    for (int i = 0; i < patches; ++i) {
      shares[i] = static_cast<double>(weight[i]) * inverse;
      weight[i] = static_cast<float>(shares[i]);
    }
  }

 private:
  // As float64, in four interleaved parts; NaN or infinity anywhere shows in it.
  double sum() const {
    double part[4] = {0, 0, 0, 0};
    int i = 0;
    for (; i + 4 <= patches; i += 4) {
      for (int l = 0; l < 4; ++l) part[l] += static_cast<double>(weight[i + l]);
    }
    for (; i < patches; ++i) part[0] += static_cast<double>(weight[i]);
    return (part[0] + part[2]) + (part[1] + part[3]);
  }

  double total_ = 0.0;
};

template <class Format>
class Weights {
 public:
  Side query, gallery;

  Weights(const Layout<Format>& layout, Scratch& scratch)
      : query(layout.query_patches, layout.columns, scratch),
        gallery(layout.gallery_patches, layout.rows, scratch),
        layout_(layout),
        pooled_code_(scratch.take<unsigned char>(layout.row_bytes)),
        pooled_cosines_(scratch.take<float>(layout.columns)) {}

  // Raw weights of pair p. `cosine` (rows, columns) is read by sc, which also needs `room` of
  // the same size.
  void weigh(const faceflow::Job& job, std::int64_t p, const Query<Format>& of,
             const Face<Format>& face, Products<Format>& products, const float* cosine,
             float* room) {
    using faceflow::Weighting;
    const std::int64_t b = p / job.candidates, n = p % job.candidates;
    switch (job.weighting) {
      case Weighting::given:
        query.copy(job.u + b * job.u_query + n * job.u_candidate);
        gallery.copy(job.v + b * job.v_query + n * job.v_candidate);
        break;
      case Weighting::uniform:
        query.fill(1.0f);
        gallery.fill(1.0f);
        break;
      case Weighting::apc:
        compare_with_pooled(job, of, face, products);
        break;
      case Weighting::sc:
        sum_of_costs(of.valid, cosine, room);
        break;
    }
  }

  // Weights the kernel computed: without mass they become uniform. Given ones do not.
  Mass normalise(bool computed) {
    const Mass of_query = query.measure(computed), of_gallery = gallery.measure(computed);
    if (of_query == Mass::invalid || of_gallery == Mass::invalid) return Mass::invalid;
    if (of_query == Mass::none || of_gallery == Mass::none) return Mass::none;
    query.share();
    gallery.share();
    return Mass::some;
  }

 private:
  // apc: each patch's cosine with the other face's pooled features, where it is positive.
  void compare_with_pooled(const faceflow::Job& job, const Query<Format>& of,
                           const Face<Format>& face, Products<Format>& products) {
    dots_with<Format>(face.rows, face.stride, layout_.gallery_patches, of.pooled, layout_.channels,
                      gallery.weight);
    for (int j = 0; j < layout_.gallery_patches; ++j) {
      gallery.weight[j] =
          gallery.weight[j] * of.pooled_scale * (Format::integer ? face.scale[j] : 1.0f);
    }
    std::memset(pooled_code_, 0, static_cast<std::size_t>(layout_.row_bytes));
    const float scale = Format::encode(job.pooled_gallery + face.number * job.pooled_gallery_face,
                                       layout_.channels, pooled_code_);
    products.cosines_of_one(of, pooled_code_, scale, pooled_cosines_);
    query.copy(pooled_cosines_);
    query.drop_negative();
    gallery.drop_negative();
  }

  // sc: each patch's costs max(1 - cosine, 0), summed over the other face's patches.
  void sum_of_costs(const float* valid, const float* cosine, float* cost) {
    for (int n = 0; n < layout_.vectors; ++n) {
      Floats sum = set1(0.0f);
      const Floats keep = load(valid + n * LANES);
      for (Index j = 0; j < layout_.rows; ++j) {
        const Index at = j * layout_.columns + n * LANES;
        const Floats far = vmax(sub(set1(1.0f), load(cosine + at)), set1(0.0f));
        store(cost + at, mul(far, keep));
        if (j < layout_.gallery_patches) sum = add(sum, far);
      }
      store(query.weight + n * LANES, sum);
    }
    for (Index j = 0; j < layout_.rows; j += SUM_ROWS) {
      dot_rows(cost + j * layout_.columns, layout_.columns, valid, layout_.vectors,
               gallery.weight + j);
    }
  }

  const Layout<Format>& layout_;
  unsigned char* const pooled_code_;
  float* const pooled_cosines_;
};

}  // namespace
