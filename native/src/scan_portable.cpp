#include "scan.hpp"

namespace faceflow {

void scan_portable(const Scan& scan, std::int64_t begin, std::int64_t end, std::int64_t query,
                   int count, const float* thresholds, float* upper, std::uint16_t* masks) {
  for (std::int64_t block = begin; block < end; ++block) {
    const std::int8_t* codes = scan.codes + block * scan.words * 64;
    const float* scales = scan.scales + block * SCAN_LANES;
    const float* residues = scan.residues + block * SCAN_LANES;
    for (int q = 0; q < count; ++q) {
      const std::int8_t* asked = scan.query + (query + q) * scan.words * 4;
      std::int32_t dot[SCAN_LANES] = {};
      for (std::int64_t w = 0; w < scan.words; ++w) {
        for (int lane = 0; lane < SCAN_LANES; ++lane) {
          const std::int8_t* x = codes + w * 64 + lane * 4;
          for (int i = 0; i < 4; ++i) dot[lane] += x[i] * asked[w * 4 + i];
        }
      }
      float* out = upper + (q * SCAN_BLOCKS + (block - begin)) * SCAN_LANES;
      unsigned mask = 0;
      for (int lane = 0; lane < SCAN_LANES; ++lane) {
        const float error = scan.query_length[query + q] * residues[lane] + scan.slack[query + q];
        const float scale = scan.query_scale[query + q] * scales[lane];
        out[lane] = static_cast<float>(dot[lane]) * scale + error;
        if (out[lane] >= thresholds[q]) mask |= 1u << lane;
      }
      masks[q * SCAN_BLOCKS + (block - begin)] = static_cast<std::uint16_t>(mask);
    }
  }
}

}  // namespace faceflow
