// Stage 1 in int8: which faces can be among the k of largest cosine, from rounded embeddings.
//
// Embeddings are held as int8 codes with a scale and the length of what rounding took away, so
// that every score comes with a proven bound on its error. Layout: blocks of 16 faces; within a
// block, for each 4 values, the 16 faces' codes of them side by side (64 bytes). One register then
// holds 16 faces, and no sum over lanes is ever needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace faceflow {

constexpr int SCAN_LANES = 16;   // faces in a block
constexpr int SCAN_QUERIES = 4;  // most queries per kernel call
constexpr int SCAN_BLOCKS = 16;  // most blocks per kernel call: 64 KB of codes at D = 256

struct Scan {
  std::int64_t faces = 0, words = 0;   // words = ceil(D / 4); the rest is zero
  const std::int8_t* codes = nullptr;  // (blocks, words, 16, 4), each in -127..127
  const float* scales = nullptr;       // (blocks * 16,): embedding = scale * code + residue
  const float* residues = nullptr;     // (blocks * 16,): length of the residue, or more
  std::int64_t queries = 0, k = 0;
  const std::int8_t* query = nullptr;   // (Q, words * 4)
  const float* query_scale = nullptr;   // (Q,)
  const float* query_length = nullptr;  // (Q,): of scale * code; multiplies the residues
  const float* slack = nullptr;         // (Q,): error that does not depend on the face
};

// For `count` queries from `query` on and the faces of blocks begin..end: the largest cosine each
// can have, upper[query][SCAN_BLOCKS * 16], and by bit the faces for which it reaches the query's
// threshold, masks[query][SCAN_BLOCKS].
using ScanKernel = void (*)(const Scan&, std::int64_t begin, std::int64_t end, std::int64_t query,
                            int count, const float* thresholds, float* upper, std::uint16_t* masks);

void scan_portable(const Scan&, std::int64_t, std::int64_t, std::int64_t, int, const float*, float*,
                   std::uint16_t*);
#if defined(FACEFLOW_X86)
void scan_avx2(const Scan&, std::int64_t, std::int64_t, std::int64_t, int, const float*, float*,
               std::uint16_t*);
void scan_avx512vnni(const Scan&, std::int64_t, std::int64_t, std::int64_t, int, const float*,
                     float*, std::uint16_t*);
#endif

// Round rows begin..end of an (n, D) float matrix into codes, scales and residues; other rows of
// the same blocks are left as they are.
void scan_pack(const float* matrix, std::int64_t stride, std::int64_t begin, std::int64_t end,
               std::int64_t D, std::int8_t* codes, float* scales, float* residues);

// For each query the rows, ascending, of every face whose cosine may be among the k largest.
std::vector<std::vector<std::int64_t>> scan_survivors(const Scan& scan, ScanKernel kernel,
                                                      int threads);

}  // namespace faceflow
