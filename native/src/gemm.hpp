// Products of every query patch with every gallery patch of one face.
//
// All number formats share one loop: a gallery patch is a row of 32-bit words (one float, two
// bf16 or int16, four int8), one word is broadcast at a time and multiplied with the same word
// of W query patches. The query is packed once into panels; the gallery is read where it lies.
// Every output is summed over the words in order, whatever the vector width, which is why
// machines with different vectors agree to the last bit wherever they use the same products.
#pragma once

namespace {

typedef std::ptrdiff_t Index;
typedef const unsigned char* Bytes;

struct Float32Op {
  static constexpr int group = 1;
  using Acc = F;
  static Acc zero() { return set1(0.0f); }
  static Acc load(const float* p) { return ld(p); }
  static void store(float* p, Acc a) { st(p, a); }
  static Acc madd(Acc acc, I q, I g) { return fma(as_float(q), as_float(g), acc); }
};
struct Int16Op {
  static constexpr int group = 2;
  using Acc = I;
  static Acc zero() { return izero(); }
  static Acc load(const float* p) { return ildu(p); }
  static void store(float* p, Acc a) { ist(p, a); }
  static Acc madd(Acc acc, I q, I g) {
    return madd16_tile(acc, q, g);
  }
};
#if defined(FACEFLOW_VNNI)
struct Vnni8Op {
  static constexpr int group = 4;
  using Acc = I;
  static Acc zero() { return izero(); }
  static Acc load(const float* p) { return ildu(p); }
  static void store(float* p, Acc a) { ist(p, a); }
  static Acc madd(Acc acc, I q, I g) { return dot_u8s8(acc, q, g); }
};
#endif
#if defined(FACEFLOW_BF16)
struct Bf16Op {
  static constexpr int group = 2;
  using Acc = F;
  static Acc zero() { return set1(0.0f); }
  static Acc load(const float* p) { return ld(p); }
  static void store(float* p, Acc a) { st(p, a); }
  static Acc madd(Acc acc, I q, I g) { return dot_bf16(acc, q, g); }
};
#endif
#if defined(FACEFLOW_AMX)
struct AmxOp {};  // whole 16 x 16 blocks at a time: see amx.hpp
#endif

// One register tile: NV vectors of query patches against NJ gallery patches.
template <class Op, int NV, int NJ>
void tile(const std::uint32_t* query, Bytes gallery, Index stride, int words, float* out,
          Index out_stride, bool first) {
  typename Op::Acc acc[NJ][NV];
  for (int j = 0; j < NJ; ++j) {
    for (int n = 0; n < NV; ++n) {
      acc[j][n] = first ? Op::zero() : Op::load(out + j * out_stride + n * W);
    }
  }
  for (int w = 0; w < words; ++w) {
    I q[NV];
    for (int n = 0; n < NV; ++n) q[n] = ildu(query + n * W);
    query += NV * W;
    for (int j = 0; j < NJ; ++j) {
      const I g = word(gallery + j * stride);
      for (int n = 0; n < NV; ++n) acc[j][n] = Op::madd(acc[j][n], q[n], g);
    }
    gallery += 4;
  }
  for (int j = 0; j < NJ; ++j) {
    for (int n = 0; n < NV; ++n) Op::store(out + j * out_stride + n * W, acc[j][n]);
  }
}

typedef void (*Tile)(const std::uint32_t*, Bytes, Index, int, float*, Index, bool);

constexpr int tile_rows(int vectors) { return vectors == 1 ? TILE1 : TILE2; }

// The table of tiles for 1..PV vectors and 1..tile_rows gallery patches, filled by recursion.
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
  Tile at[PV][TILE1 > TILE2 ? TILE1 : TILE2];
  Tiles() {
    Fill<Op, 1, tile_rows(1)>::into(at[0]);
    if constexpr (PV >= 2) Fill<Op, 2, tile_rows(2)>::into(at[1]);
    if constexpr (PV >= 3) Fill<Op, 3, tile_rows(3)>::into(at[2]);
    if constexpr (PV >= 4) Fill<Op, 4, tile_rows(4)>::into(at[3]);
  }
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

// Packed query: panels of up to PV vectors; within a panel, word by word.
struct Panels {
  const std::uint32_t* words;
  int vectors;  // of W patches each, over all panels
  int depth;    // words per patch
};

// out[j * out_stride + i] = product of query patch i and gallery row j (raw sums of Op).
template <class Op>
void multiply(const Tiles<Op>& tiles, const Panels& query, int word0, int words, Bytes gallery,
              Index stride, int rows, float* out, Index out_stride, Ahead& ahead) {
  const int end = word0 + words;
  for (int w = word0; w < end; w += BLOCK) {
    const int now = end - w < BLOCK ? end - w : BLOCK;
    for (int n = 0; n < query.vectors; n += PV) {
      const int nv = query.vectors - n < PV ? query.vectors - n : PV;
      const std::uint32_t* panel =
          query.words + (static_cast<Index>(n) * query.depth + static_cast<Index>(w) * nv) * W;
      const int most = tile_rows(nv), blocks = (rows + most - 1) / most;
      for (int b = 0; b < blocks; ++b) {
        const int j0 = rows * b / blocks, j1 = rows * (b + 1) / blocks;
        ahead.step();
        tiles.at[nv - 1][j1 - j0 - 1](panel, gallery + j0 * stride + 4 * (w - word0), stride, now,
                                      out + j0 * out_stride + n * W, out_stride, w == 0);
      }
    }
  }
}

}  // namespace
