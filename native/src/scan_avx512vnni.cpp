#include <immintrin.h>

#include <cstring>

#include "scan.hpp"

namespace faceflow {
namespace {

template <int N, int B>  // N queries by B blocks of faces
void tile(const Scan& scan, std::int64_t block, std::int64_t query, const __m512i* start,
          const float* thresholds, float* upper, std::uint16_t* masks) {
  const std::int64_t bytes = scan.words * 64;
  const std::int8_t* codes = scan.codes + block * bytes;
  const std::int8_t* asked = scan.query + query * scan.words * 4;
  const __m512i flip = _mm512_set1_epi32(static_cast<int>(0x80808080u));
  __m512i sum[N][B];
  for (int q = 0; q < N; ++q) {
    for (int b = 0; b < B; ++b) sum[q][b] = start[q];
  }
  for (std::int64_t w = 0; w < scan.words; ++w) {
    __m512i x[B];
    for (int b = 0; b < B; ++b) {
      // + 128, because the first factor is unsigned; `start` takes it off again.
      x[b] = _mm512_xor_si512(_mm512_loadu_si512(codes + b * bytes + w * 64), flip);
    }
    for (int q = 0; q < N; ++q) {
      std::int32_t word;
      std::memcpy(&word, asked + (q * scan.words + w) * 4, 4);
      const __m512i four = _mm512_set1_epi32(word);
      for (int b = 0; b < B; ++b) sum[q][b] = _mm512_dpbusd_epi32(sum[q][b], x[b], four);
    }
  }
  for (int q = 0; q < N; ++q) {
    const __m512 scale = _mm512_set1_ps(scan.query_scale[query + q]);
    const __m512 length = _mm512_set1_ps(scan.query_length[query + q]);
    const __m512 slack = _mm512_set1_ps(scan.slack[query + q]);
    for (int b = 0; b < B; ++b) {
      const std::int64_t at = (block + b) * SCAN_LANES;
      const __m512 error =
          _mm512_add_ps(_mm512_mul_ps(length, _mm512_loadu_ps(scan.residues + at)), slack);
      const __m512 score = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[q][b]),
                                         _mm512_mul_ps(scale, _mm512_loadu_ps(scan.scales + at)));
      const __m512 most = _mm512_add_ps(score, error);
      _mm512_storeu_ps(upper + (q * SCAN_BLOCKS + b) * SCAN_LANES, most);
      masks[q * SCAN_BLOCKS + b] =
          _mm512_cmp_ps_mask(most, _mm512_set1_ps(thresholds[q]), _CMP_GE_OQ);
    }
  }
}

template <int N>
void blocks(const Scan& scan, std::int64_t begin, std::int64_t end, std::int64_t query,
            const float* thresholds, float* upper, std::uint16_t* masks) {
  __m512i start[N];
  for (int q = 0; q < N; ++q) {
    const std::int8_t* asked = scan.query + (query + q) * scan.words * 4;
    std::int32_t total = 0;
    for (std::int64_t i = 0; i < scan.words * 4; ++i) total += asked[i];
    start[q] = _mm512_set1_epi32(-128 * total);
  }
  std::int64_t block = begin;
  for (; block + 4 <= end; block += 4) {
    tile<N, 4>(scan, block, query, start, thresholds, upper + (block - begin) * SCAN_LANES,
               masks + (block - begin));
  }
  for (; block < end; ++block) {
    tile<N, 1>(scan, block, query, start, thresholds, upper + (block - begin) * SCAN_LANES,
               masks + (block - begin));
  }
}

}  // namespace

void scan_avx512vnni(const Scan& scan, std::int64_t begin, std::int64_t end, std::int64_t query,
                     int count, const float* thresholds, float* upper, std::uint16_t* masks) {
  if (count == SCAN_QUERIES) {
    blocks<SCAN_QUERIES>(scan, begin, end, query, thresholds, upper, masks);
    return;
  }
  for (int q = 0; q < count; ++q) {
    blocks<1>(scan, begin, end, query + q, thresholds + q, upper + q * SCAN_BLOCKS * SCAN_LANES,
              masks + q * SCAN_BLOCKS);
  }
}

}  // namespace faceflow
