#include "scan.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "pool.hpp"

namespace faceflow {
namespace {

constexpr float NOTHING = -std::numeric_limits<float>::infinity();

// What one thread found for one query: the k largest lower bounds, as a heap with the least on
// top, and every face whose upper bound reached the least of them when it was seen.
struct Best {
  std::vector<float> lower;
  std::vector<std::pair<float, std::int64_t>> kept;
  std::size_t drop_at = 8192;

  void see(float most, float least, std::int64_t face, std::size_t k) {
    kept.emplace_back(most, face);
    if (lower.size() < k) {
      lower.push_back(least);
      std::push_heap(lower.begin(), lower.end(), std::greater<float>());
    } else if (least > lower.front()) {
      std::pop_heap(lower.begin(), lower.end(), std::greater<float>());
      lower.back() = least;
      std::push_heap(lower.begin(), lower.end(), std::greater<float>());
    }
  }
  float threshold(std::size_t k) const { return lower.size() < k ? NOTHING : lower.front(); }
  void drop_below(float threshold) {
    kept.erase(std::remove_if(kept.begin(), kept.end(),
                              [threshold](const auto& one) { return one.first < threshold; }),
               kept.end());
    drop_at = std::max<std::size_t>(8192, 2 * kept.size());
  }
};

void scan_part(const Scan& scan, ScanKernel kernel, std::int64_t begin, std::int64_t end,
               std::vector<Best>& best) {
  float upper[SCAN_QUERIES * SCAN_BLOCKS * SCAN_LANES];
  std::uint16_t masks[SCAN_QUERIES * SCAN_BLOCKS];
  float thresholds[SCAN_QUERIES];
  const std::size_t k = static_cast<std::size_t>(scan.k);
  for (std::int64_t at = begin; at < end; at += SCAN_BLOCKS) {
    const std::int64_t stop = std::min<std::int64_t>(at + SCAN_BLOCKS, end);
    // All queries pass over these codes while they are in the cache.
    for (std::int64_t query = 0; query < scan.queries; query += SCAN_QUERIES) {
      const int count =
          static_cast<int>(std::min<std::int64_t>(SCAN_QUERIES, scan.queries - query));
      for (int q = 0; q < count; ++q) thresholds[q] = best[query + q].threshold(k);
      kernel(scan, at, stop, query, count, thresholds, upper, masks);
      for (int q = 0; q < count; ++q) {
        Best& own = best[query + q];
        for (std::int64_t b = 0; b < stop - at; ++b) {
          const unsigned mask = masks[q * SCAN_BLOCKS + b];
          if (!mask) continue;
          for (int lane = 0; lane < SCAN_LANES; ++lane) {
            const std::int64_t face = (at + b) * SCAN_LANES + lane;
            if (!((mask >> lane) & 1u) || face >= scan.faces) continue;
            const float most = upper[(q * SCAN_BLOCKS + b) * SCAN_LANES + lane];
            const float error =
                scan.query_length[query + q] * scan.residues[face] + scan.slack[query + q];
            own.see(most, most - 2 * error, face, k);
          }
        }
        if (own.kept.size() > own.drop_at) own.drop_below(own.threshold(k));
      }
    }
  }
}

// The largest size among 4 * words values; four side by side, as the compiler likes it.
float largest(const float* values, std::int64_t words) {
  float a = 0, b = 0, c = 0, d = 0;
  for (; words > 0; --words, values += 4) {
    const float e = std::fabs(values[0]), f = std::fabs(values[1]);
    const float g = std::fabs(values[2]), h = std::fabs(values[3]);
    a = e > a ? e : a;
    b = f > b ? f : b;
    c = g > c ? g : c;
    d = h > d ? h : d;
  }
  return std::max(std::max(a, b), std::max(c, d));
}

// Round 4 * words values of one face; returns the squared length of what rounding took away.
double pack_words(const float* values, std::int64_t words, float scale, float inverse,
                  std::int8_t* to) {
  // Adding and taking away 1.5 * 2^23 rounds a float below 2^22 to the nearest whole number, ties
  // to even, as nearbyint does, without a call for each.
  constexpr float ROUNDER = 12582912.0f;
  constexpr std::int64_t CHUNK = 256;
  float near[CHUNK];
  double lost[4] = {};
  for (; words > 0; words -= CHUNK / 4, values += CHUNK, to += CHUNK * SCAN_LANES) {
    const std::int64_t n = std::min(words * 4, CHUNK);
    for (std::int64_t d = 0; d < n; ++d) near[d] = (values[d] * inverse + ROUNDER) - ROUNDER;
    for (std::int64_t d = 0; d < n; ++d) near[d] = near[d] > -127.0f ? near[d] : -127.0f;
    for (std::int64_t d = 0; d < n; ++d) near[d] = near[d] < 127.0f ? near[d] : 127.0f;
    double off[CHUNK];
    for (std::int64_t d = 0; d < n; ++d) {
      off[d] = static_cast<double>(values[d]) - static_cast<double>(scale) * near[d];
    }
    for (std::int64_t d = 0; d < n; ++d) off[d] *= off[d];
    for (std::int64_t d = 0; d < n; d += 4) {
      for (int j = 0; j < 4; ++j) lost[j] += off[d + j];
    }
    std::int8_t narrow[CHUNK];
    for (std::int64_t d = 0; d < n; ++d) {
      narrow[d] = static_cast<std::int8_t>(static_cast<std::int32_t>(near[d]));
    }
    for (std::int64_t d = 0; d < n; d += 4) std::memcpy(to + d * SCAN_LANES, narrow + d, 4);
  }
  return (lost[0] + lost[1]) + (lost[2] + lost[3]);
}

// The rows begin..end of scan_pack, on one thread.
void pack_rows(const float* matrix, std::int64_t stride, std::int64_t begin, std::int64_t end,
               std::int64_t D, std::int8_t* codes, float* scales, float* residues) {
  const std::int64_t words = (D + 3) / 4, whole = D / 4;
  for (std::int64_t face = begin; face < end; ++face) {
    const float* x = matrix + face * stride;
    float rest[4] = {};
    for (std::int64_t d = whole * 4; d < D; ++d) rest[d - whole * 4] = x[d];
    std::int8_t* to = codes + (face / SCAN_LANES * words * SCAN_LANES + face % SCAN_LANES) * 4;
    const float top = std::max(largest(x, whole), largest(rest, 1));
    const float scale = top / 127.0f;
    // A length whose 127th part is lost below the least float counts as rounded to nothing.
    const float inverse = scale >= std::numeric_limits<float>::min() ? 1.0f / scale : 0.0f;
    double lost = pack_words(x, whole, scale, inverse, to);
    if (words > whole) lost += pack_words(rest, 1, scale, inverse, to + whole * SCAN_LANES * 4);
    scales[face] = scale;
    residues[face] = static_cast<float>(std::sqrt(lost) * (1 + 1e-6));
  }
}

}  // namespace

void scan_pack(const float* matrix, std::int64_t stride, std::int64_t begin, std::int64_t end,
               std::int64_t D, std::int8_t* codes, float* scales, float* residues) {
  const std::int64_t rows = end - begin;
  const int parts = static_cast<int>(
      std::max<std::int64_t>(1, std::min<std::int64_t>({physical_cores(), rows / 8192, 256})));
  run_parts(parts, [&](int part) {
    pack_rows(matrix, stride, begin + rows * part / parts, begin + rows * (part + 1) / parts, D,
              codes, scales, residues);
  });
}

std::vector<std::vector<std::int64_t>> scan_survivors(const Scan& scan, ScanKernel kernel,
                                                      int threads) {
  const std::int64_t blocks = (scan.faces + SCAN_LANES - 1) / SCAN_LANES;
  // Waking a thread for less than some tenths of a millisecond costs more than it saves.
  const std::int64_t worth =
      std::max<std::int64_t>(1, std::min(blocks, blocks * scan.queries / 2048));
  const int parts = static_cast<int>(
      std::min<std::int64_t>({threads > 0 ? threads : physical_cores(), worth, 256}));
  std::vector<std::vector<Best>> best(parts, std::vector<Best>(scan.queries));
  run_parts(parts, [&](int part) {
    scan_part(scan, kernel, blocks * part / parts, blocks * (part + 1) / parts, best[part]);
  });
  const std::size_t k = static_cast<std::size_t>(scan.k);
  std::vector<std::vector<std::int64_t>> found(scan.queries);
  for (std::int64_t q = 0; q < scan.queries; ++q) {
    std::vector<float> lower;
    for (const auto& part : best) {
      lower.insert(lower.end(), part[q].lower.begin(), part[q].lower.end());
    }
    float threshold = NOTHING;
    if (lower.size() > k) {
      std::nth_element(lower.begin(), lower.begin() + (k - 1), lower.end(), std::greater<float>());
      threshold = lower[k - 1];
    } else if (lower.size() == k && k > 0) {
      threshold = *std::min_element(lower.begin(), lower.end());
    }
    // Parts are in the order of their faces, and each kept its faces in order.
    for (const auto& part : best) {
      for (const auto& [most, face] : part[q].kept) {
        if (most >= threshold) found[q].push_back(face);
      }
    }
  }
  return found;
}

}  // namespace faceflow
