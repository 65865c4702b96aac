#include <immintrin.h>

#include <cstring>

#include "scan.hpp"

namespace faceflow {
namespace {

// |q| * sign(q) x: the unsigned-by-signed product then takes signed queries, and two of them,
// 2 * 127 * 127 at most, fit 16 bits.
inline __m256i add_products(__m256i sum, __m256i x, __m256i q) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(x, q));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

template <int N>
void one_block(const Scan& scan, std::int64_t block, std::int64_t query, const float* thresholds,
               float* upper, std::uint16_t* masks) {
  const std::int8_t* codes = scan.codes + block * scan.words * 64;
  const std::int8_t* asked = scan.query + query * scan.words * 4;
  __m256i sum[N][2];
  for (int q = 0; q < N; ++q) sum[q][0] = sum[q][1] = _mm256_setzero_si256();
  for (std::int64_t w = 0; w < scan.words; ++w) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + w * 64));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + w * 64 + 32));
    for (int q = 0; q < N; ++q) {
      std::int32_t word;
      std::memcpy(&word, asked + (q * scan.words + w) * 4, 4);
      const __m256i four = _mm256_set1_epi32(word);
      sum[q][0] = add_products(sum[q][0], low, four);
      sum[q][1] = add_products(sum[q][1], high, four);
    }
  }
  for (int q = 0; q < N; ++q) {
    const __m256 scale = _mm256_set1_ps(scan.query_scale[query + q]);
    const __m256 length = _mm256_set1_ps(scan.query_length[query + q]);
    const __m256 slack = _mm256_set1_ps(scan.slack[query + q]);
    unsigned mask = 0;
    for (int half = 0; half < 2; ++half) {
      const std::int64_t at = block * SCAN_LANES + half * 8;
      const __m256 error =
          _mm256_add_ps(_mm256_mul_ps(length, _mm256_loadu_ps(scan.residues + at)), slack);
      const __m256 score = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[q][half]),
                                         _mm256_mul_ps(scale, _mm256_loadu_ps(scan.scales + at)));
      const __m256 most = _mm256_add_ps(score, error);
      _mm256_storeu_ps(upper + q * SCAN_BLOCKS * SCAN_LANES + half * 8, most);
      const __m256 reached = _mm256_cmp_ps(most, _mm256_set1_ps(thresholds[q]), _CMP_GE_OQ);
      mask |= static_cast<unsigned>(_mm256_movemask_ps(reached)) << (8 * half);
    }
    masks[q * SCAN_BLOCKS] = static_cast<std::uint16_t>(mask);
  }
}

}  // namespace

void scan_avx2(const Scan& scan, std::int64_t begin, std::int64_t end, std::int64_t query,
               int count, const float* thresholds, float* upper, std::uint16_t* masks) {
  for (std::int64_t block = begin; block < end; ++block) {
    float* out = upper + (block - begin) * SCAN_LANES;
    std::uint16_t* bits = masks + (block - begin);
    if (count == SCAN_QUERIES) {
      one_block<SCAN_QUERIES>(scan, block, query, thresholds, out, bits);
      continue;
    }
    for (int q = 0; q < count; ++q) {
      one_block<1>(scan, block, query + q, thresholds + q, out + q * SCAN_BLOCKS * SCAN_LANES,
                   bits + q * SCAN_BLOCKS);
    }
  }
}

}  // namespace faceflow
