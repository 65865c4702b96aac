// Products by AMX: 16 gallery patches x 16 query patches x 64 bytes of channels an instruction.
//
// The gallery is read where it lies, as everywhere: its patches are the rows of the left tile.
// The packed query is the right tile as it stands, because a panel holds word after word of 16
// patches. int8 sums are exact, so they equal every other level's; bf16 sums are rounded in
// another order.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "gemm.hpp"
#include "memory.hpp"
#include "simd.hpp"

namespace {

constexpr int TILE_WORDS = 16;  // words of one patch in a tile: 64 bytes

// The shapes of the eight tile registers: 0-3 sums, 4 gallery, 5-7 query.
struct alignas(64) TileShapes {
  unsigned char palette = 1, start = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {};
  unsigned char rows[16] = {};
};

class TileUnit {
 public:
  TileUnit() = default;
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
  ~TileUnit() {
    if (rows_) _tile_release();
  }

  // Sums and gallery tiles of `rows` gallery patches.
  void shape(int rows) {
    if (rows == rows_) return;
    TileShapes shapes;
    for (int t = 0; t < 8; ++t) {
      shapes.bytes[t] = 64;
      shapes.rows[t] = static_cast<unsigned char>(t < 5 ? rows : 16);
    }
    _tile_loadconfig(&shapes);
    rows_ = rows;
  }

 private:
  int rows_ = 0;
};

// Whole blocks at a time instead of one word: int8 or bf16.
template <bool Integer>
struct AmxOp {
  static constexpr int group = Integer ? 4 : 2;
};

template <bool Integer>
class Multiplier<AmxOp<Integer>> {
 public:
  static constexpr int panel = 1;
  static constexpr int word_multiple = TILE_WORDS;

  static Index tiles(int words, int rows, int vectors) {
    return static_cast<Index>(words / TILE_WORDS) * ((rows + 15) / 16) * ((vectors + 3) / 4);
  }

  // As in gemm.hpp, for a multiple of TILE_WORDS. The query is packed in panels of one vector
  // each, all words of it one after another.
  void operator()(const PanelWords& query, const GalleryRows& gallery, float* out, Index out_stride,
                  Ahead& ahead) {
    const int tiles = query.count / TILE_WORDS;
    const bool first = query.first == 0;
    for (int j = 0; j < gallery.count; j += 16) {
      const int now = gallery.count - j < 16 ? gallery.count - j : 16;
      unit_.shape(now);
      for (int n = 0; n < query.panels.vectors; n += 4) {
        const int left = query.panels.vectors - n, vectors = left < 4 ? left : 4;
        Bytes at[4] = {};
        for (int i = 0; i < vectors; ++i) {
          const Index word = static_cast<Index>(n + i) * query.panels.depth + query.first;
          at[i] = reinterpret_cast<Bytes>(query.panels.words + word * LANES);
        }
        const Bytes from = gallery.at + j * gallery.stride;
        float* to = out + j * out_stride + n * LANES;
        const Index step = LANES * 4;
        switch (vectors) {
          case 1:
            block<1>(at, step, from, gallery.stride, tiles, to, out_stride, first, ahead);
            break;
          case 2:
            block<2>(at, step, from, gallery.stride, tiles, to, out_stride, first, ahead);
            break;
          case 3:
            block<3>(at, step, from, gallery.stride, tiles, to, out_stride, first, ahead);
            break;
          default:
            block<4>(at, step, from, gallery.stride, tiles, to, out_stride, first, ahead);
        }
      }
    }
  }

  // The rate of the unit with operands at hand; returns how many multiply-accumulates.
  static double peak(std::int64_t rounds, float* sink) {
    TileUnit unit;
    unit.shape(16);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, sink, 0);
    _tile_loadd(5, sink, 0);
    for (std::int64_t k = 0; k < rounds; ++k) {
      if (Integer) {
        _tile_dpbssd(0, 4, 5);
        _tile_dpbssd(1, 4, 5);
        _tile_dpbssd(2, 4, 5);
        _tile_dpbssd(3, 4, 5);
      } else {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
      }
    }
    _tile_stored(0, sink, 0);
    return static_cast<double>(rounds) * 4.0 * 16 * 16 * (Integer ? 64 : 32);
  }

 private:
#define FACEFLOW_TDP(acc, query)   \
  if (Integer) {                   \
    _tile_dpbssd(acc, 4, query);   \
  } else {                         \
    _tile_dpbf16ps(acc, 4, query); \
  }

  // Up to four vectors of query patches against one block of gallery patches.
  // query[n]: the first word of vector n; a word is `step` bytes after the one before.
  template <int NV>
  static void block(Bytes const* query, Index step, Bytes gallery, Index stride, int tiles,
                    float* out, Index out_stride, bool first, Ahead& ahead) {
    const Index row = out_stride * 4;
    if (first) {
      _tile_zero(0);
      if (NV > 1) _tile_zero(1);
      if (NV > 2) _tile_zero(2);
      if (NV > 3) _tile_zero(3);
    } else {
      _tile_loadd(0, out, row);
      if (NV > 1) _tile_loadd(1, out + 16, row);
      if (NV > 2) _tile_loadd(2, out + 32, row);
      if (NV > 3) _tile_loadd(3, out + 48, row);
    }
    for (int k = 0; k < tiles; ++k) {
      const Index at = k * TILE_WORDS * step;
      _tile_loadd(4, gallery + k * 64, stride);
      _tile_loadd(5, query[0] + at, step);
      FACEFLOW_TDP(0, 5)
      if (NV > 1) {
        _tile_loadd(6, query[1] + at, step);
        FACEFLOW_TDP(1, 6)
      }
      if (NV > 2) {
        _tile_loadd(7, query[2] + at, step);
        FACEFLOW_TDP(2, 7)
      }
      if (NV > 3) {
        _tile_loadd(5, query[3] + at, step);
        FACEFLOW_TDP(3, 5)
      }
      ahead.step();
    }
    _tile_stored(0, out, row);
    if (NV > 1) _tile_stored(1, out + 16, row);
    if (NV > 2) _tile_stored(2, out + 32, row);
    if (NV > 3) _tile_stored(3, out + 48, row);
  }
#undef FACEFLOW_TDP

  TileUnit unit_;
};

}  // namespace
