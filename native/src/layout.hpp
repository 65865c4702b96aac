// How the sizes of a problem become rows, vectors and words.
//
// Matrices of a pair have a row for each gallery patch and a column for each query patch, so
// that one vector holds the same gallery patch against LANES query patches.
#pragma once

#include "gemm.hpp"
#include "job.hpp"
#include "memory.hpp"
#include "simd.hpp"

namespace {

struct Shape {
  int query_patches, gallery_patches, channels;  // R, S, C
  int vectors;                                   // of LANES query patches
  Index columns;  // query patches padded to sixteen: floats from one row to the next
  Index rows;     // gallery patches padded to four, and to whole vectors of them

  explicit Shape(const faceflow::Job& job)
      : query_patches(static_cast<int>(job.R)),
        gallery_patches(static_cast<int>(job.S)),
        channels(static_cast<int>(job.C)),
        vectors((query_patches + LANES - 1) / LANES),
        columns(round_up(query_patches, 16)),
        rows(round_up(gallery_patches, LANES > 4 ? LANES : 4)) {}
  Index cells() const { return rows * columns; }
};

// The same with what depends on the number format.
template <class Format>
struct Layout : Shape {
  int words;        // of a packed patch
  int whole_words;  // of them, those full of values: they can be read where a face lies
  Index row_bytes;  // of a widened gallery patch or an encoded one

  explicit Layout(const faceflow::Job& job)
      : Shape(job),
        words(static_cast<int>(round_up(word_count(channels + group - 1), multiple))),
        whole_words(word_count(Format::direct ? channels : channels + group - 1) / multiple *
                    multiple),
        // One cache line more than needed: rows a power of two apart would share cache sets.
        row_bytes(round_up(static_cast<Index>(channels) * Format::wide, 64) + 64) {}

 private:
  static constexpr int group = Format::Op::group;
  static constexpr int multiple = Multiplier<typename Format::Op>::word_multiple;
  static constexpr int word_count(int values) { return values / group; }
};

}  // namespace
