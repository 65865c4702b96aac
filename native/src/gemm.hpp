// Products of every query patch with every gallery patch of one face.
//
// All number formats share one loop: a gallery patch is a row of 32-bit words (one float, two
// bf16 or int16, four int8), one word is broadcast at a time and multiplied with the same word
// of LANES query patches. The query is packed once into panels; the gallery is read where it
// lies. Every output is summed over the words in order, whatever the vector width, which is why
// machines with different vectors agree to the last bit wherever they use the same products.
#pragma once

#include <cstdint>

#include "memory.hpp"
#include "simd.hpp"

namespace {

// The products: `group` values of a word with those of another, added to a sum.
struct Float32Op {
  static constexpr int group = 1;
  using Acc = Floats;
  static Acc zero() { return set1(0.0f); }
  static Acc read(const float* p) { return load(p); }
  static void write(float* p, Acc a) { store(p, a); }
  static Acc madd(Acc acc, Ints q, Ints g) { return fma(as_float(q), as_float(g), acc); }
};
struct Int16Op {
  static constexpr int group = 2;
  using Acc = Ints;
  static Acc zero() { return izero(); }
  static Acc read(const float* p) { return iload(p); }
  static void write(float* p, Acc a) { istore(p, a); }
  static Acc madd(Acc acc, Ints q, Ints g) { return madd16_tile(acc, q, g); }
};
#if defined(FACEFLOW_VNNI)
struct Vnni8Op {
  static constexpr int group = 4;
  using Acc = Ints;
  static Acc zero() { return izero(); }
  static Acc read(const float* p) { return iload(p); }
  static void write(float* p, Acc a) { istore(p, a); }
  static Acc madd(Acc acc, Ints q, Ints g) { return dot_u8s8(acc, q, g); }
};
#endif
#if defined(FACEFLOW_BF16)
struct Bf16Op {
  static constexpr int group = 2;
  using Acc = Floats;
  static Acc zero() { return set1(0.0f); }
  static Acc read(const float* p) { return load(p); }
  static void write(float* p, Acc a) { store(p, a); }
  static Acc madd(Acc acc, Ints q, Ints g) { return dot_bf16(acc, q, g); }
};
#endif

// Packed query: panels of some vectors; within a panel, word by word.
struct Panels {
  const std::uint32_t* words;
  int vectors;  // of LANES patches each, over all panels
  int depth;    // words per patch
};

// Which words of the query are multiplied, and with which rows of as many words.
struct PanelWords {
  Panels panels;
  int first, count;
};
struct GalleryRows {
  Bytes at;
  Index stride;  // bytes
  int count;
};

// The next face is asked for while this one is multiplied, a share before every tile.
struct Ahead {
  Bytes at = nullptr;
  Index left = 0, share = 0;
  void step() {
    const Index now = left < share ? left : share;
    for (Index i = 0; i < now; i += 64) prefetch(at + i);
    at += now;
    left -= now;
  }
};

// One register tile: NV vectors of query patches against NJ gallery patches.
template <class Op, int NV, int NJ>
void tile(const std::uint32_t* query, Bytes gallery, Index stride, int words, float* out,
          Index out_stride, bool first) {
  typename Op::Acc acc[NJ][NV];
  for (int j = 0; j < NJ; ++j) {
    for (int n = 0; n < NV; ++n) {
      acc[j][n] = first ? Op::zero() : Op::read(out + j * out_stride + n * LANES);
    }
  }
  for (int w = 0; w < words; ++w) {
    Ints q[NV];
    for (int n = 0; n < NV; ++n) q[n] = iload(query + n * LANES);
    query += NV * LANES;
    for (int j = 0; j < NJ; ++j) {
      const Ints g = broadcast_word(gallery + j * stride);
      for (int n = 0; n < NV; ++n) acc[j][n] = Op::madd(acc[j][n], q[n], g);
    }
    gallery += 4;
  }
  for (int j = 0; j < NJ; ++j) {
    for (int n = 0; n < NV; ++n) Op::write(out + j * out_stride + n * LANES, acc[j][n]);
  }
}

typedef void (*Tile)(const std::uint32_t*, Bytes, Index, int, float*, Index, bool);

constexpr int tile_rows(int vectors) {
  return vectors == 1 ? MOST_ROWS_ALONE : MOST_ROWS;
}

// The table of tiles for 1..PANEL vectors and 1..tile_rows gallery patches, filled by recursion.
template <class Op, int NV, int NJ>
struct Fill {
  static void into(Tile* row) {
    row[NJ - 1] = tile<Op, NV, NJ>;
    Fill<Op, NV, NJ - 1>::into(row);
  }
};
template <class Op, int NV>
struct Fill<Op, NV, 0> {
  static void into(Tile*) {}
};
template <class Op>
struct Tiles {
  Tile at[PANEL][MOST_ROWS_ALONE > MOST_ROWS ? MOST_ROWS_ALONE : MOST_ROWS];
  Tiles() {
    Fill<Op, 1, tile_rows(1)>::into(at[0]);
    if constexpr (PANEL >= 2) Fill<Op, 2, tile_rows(2)>::into(at[1]);
    if constexpr (PANEL >= 3) Fill<Op, 3, tile_rows(3)>::into(at[2]);
    if constexpr (PANEL >= 4) Fill<Op, 4, tile_rows(4)>::into(at[3]);
  }
};

// How a product goes over whole faces: in register tiles, unless amx.hpp specialises it.
template <class Op>
class Multiplier {
 public:
  static constexpr int panel = PANEL;      // vectors in a panel of the packed query
  static constexpr int word_multiple = 1;  // a product takes a multiple of so many words

  // Tiles of one face, that is, steps of its prefetch.
  static Index tiles(int words, int rows, int vectors) {
    const int panels = (vectors + PANEL - 1) / PANEL;
    return static_cast<Index>((words + BLOCK - 1) / BLOCK) * panels *
           ((rows + MOST_ROWS - 1) / MOST_ROWS);
  }

  // out[j * out_stride + i] = product of query patch i and gallery row j (raw sums of Op),
  // added to what is there where the words are not the first.
  void operator()(const PanelWords& query, const GalleryRows& gallery, float* out, Index out_stride,
                  Ahead& ahead) const {
    const int end = query.first + query.count;
    for (int w = query.first; w < end; w += BLOCK) {
      const int now = end - w < BLOCK ? end - w : BLOCK;
      for (int n = 0; n < query.panels.vectors; n += PANEL) {
        const int left = query.panels.vectors - n, vectors = left < PANEL ? left : PANEL;
        const std::uint32_t* panel =
            query.panels.words +
            (static_cast<Index>(n) * query.panels.depth + static_cast<Index>(w) * vectors) * LANES;
        const Bytes words = gallery.at + 4 * (w - query.first);
        const int most = tile_rows(vectors), blocks = (gallery.count + most - 1) / most;
        for (int b = 0; b < blocks; ++b) {
          const int begin = gallery.count * b / blocks;
          const int rows = gallery.count * (b + 1) / blocks - begin;
          ahead.step();
          table_.at[vectors - 1][rows - 1](panel, words + begin * gallery.stride, gallery.stride,
                                           now, out + begin * out_stride + n * LANES, out_stride,
                                           w == 0);
        }
      }
    }
  }

  // Twelve independent sums in registers, operands in L1; returns how many multiply-accumulates.
  static double peak(std::int64_t rounds, float* sink) {
    typename Op::Acc acc[6][2];
    for (int j = 0; j < 6; ++j) {
      for (int n = 0; n < 2; ++n) acc[j][n] = Op::zero();
    }
    for (std::int64_t k = 0; k < rounds; ++k) {
      const float* at = sink + (k & 1) * 8 * LANES;
      const Ints q[2] = {iload(at), iload(at + LANES)};
      for (int j = 0; j < 6; ++j) {
        const Ints g = iload(at + (2 + j) * LANES);
        for (int n = 0; n < 2; ++n) acc[j][n] = Op::madd(acc[j][n], q[n], g);
      }
    }
    for (int j = 0; j < 6; ++j) {
      for (int n = 0; n < 2; ++n) Op::write(sink + (j * 2 + n) * LANES, acc[j][n]);
    }
    return static_cast<double>(rounds) * 12.0 * LANES * Op::group;
  }

 private:
  static const Tiles<Op>& all_tiles() {
    static const Tiles<Op> tiles;
    return tiles;
  }
  const Tiles<Op>& table_ = all_tiles();
};

}  // namespace
