// One gallery face: where it lies, and its patches as rows of words.
#pragma once

#include <cstdint>

#include "formats.hpp"
#include "job.hpp"
#include "layout.hpp"
#include "memory.hpp"

namespace {

// The codes of pair p's gallery face, and which face that is.
struct Stored {
  std::int64_t number;
  Bytes codes;

  Stored(const faceflow::Job& job, std::int64_t pair)
      : number(job.index ? job.index[pair] : pair % job.candidates),
        codes(job.buffers ? static_cast<Bytes>(job.buffers[number])
                          : job.gallery + number * job.gallery_face) {}
};

template <class Format>
class Face {
 public:
  std::int64_t number = 0;  // in the gallery
  Bytes rows = nullptr;     // words ready for the product: the face itself or its widened copy
  Index stride = 0;         // bytes from one row to the next
  float* const scale;       // integer formats: what a row's codes are multiplied with to be unit
  std::int32_t* const code_sum;  // of a row's codes, where the query is moved by an offset

  Face(const Layout<Format>& layout, Scratch& scratch)
      : scale(scratch.take<float>(layout.rows)),
        code_sum(scratch.take<std::int32_t>(layout.rows)),
        layout_(layout),
        wide_(scratch.take<unsigned char>(
            Format::direct ? 0 : layout.row_bytes * layout.gallery_patches)) {}

  // Make the rows of a face readable.
  void read(const faceflow::Job& job, const Stored& stored) {
    number = stored.number;
    codes_ = rows = stored.codes;
    stride = job.gallery_patch;
    if (!Format::direct) widen();
  }

  // Scales and sums of codes; after the products, which bring the face into the cache.
  void measure(const faceflow::Job& job) {
    if (Format::direct) {
      measure_rows(codes_, job.gallery_patch, layout_.gallery_patches, layout_.channels, scale,
                   code_sum);
    }
    for (int j = 0; job.scales && j < layout_.gallery_patches; ++j) {
      scale[j] = job.scales[number * job.scales_face + j];
    }
  }

 private:
  void widen() {
    for (int j = 0; j < layout_.gallery_patches; ++j) {
      unsigned char* to = wide_ + j * layout_.row_bytes;
      scale[j] = Format::widen(codes_ + j * stride, layout_.channels, to);
      const Index end = static_cast<Index>(layout_.channels) * Format::wide;
      for (Index x = end; x < 4 * layout_.words; ++x) to[x] = 0;
    }
    rows = wide_;
    stride = layout_.row_bytes;
  }

  const Layout<Format>& layout_;
  unsigned char* const wide_;
  Bytes codes_ = nullptr;
};

}  // namespace
