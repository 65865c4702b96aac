// The problem handed to a kernel, and what each instruction set offers.
//
// Plain pointers and strides only: the per-instruction-set files must not instantiate anything
// from the standard library, or the linker might keep an AVX-512 copy of it for every machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace faceflow {

enum class Dtype : int { f32 = 0, bf16 = 1, int8 = 2 };
enum class Weighting : int { given = 0, uniform = 1, apc = 2, sc = 3 };
enum Status : std::int8_t { CONVERGED = 0, MAX_ITERATIONS = 1, NO_MASS = 2, INVALID = 3 };

// B queries, N candidates each: pair p is query p / N with candidate p % N.
struct Job {
  std::int64_t queries = 0;     // B
  std::int64_t candidates = 0;  // N, per query
  std::int64_t R = 0, S = 0, C = 0;
  Dtype dtype = Dtype::f32;

  const float* query = nullptr;  // (B, R, C), last axis contiguous; strides in elements
  std::int64_t query_face = 0, query_patch = 0;

  // Faces lie either in one array with strides (bytes), or each in a buffer of its own (S, C).
  const unsigned char* gallery = nullptr;
  std::int64_t gallery_face = 0, gallery_patch = 0;
  const void* const* buffers = nullptr;
  const std::int64_t* index = nullptr;  // (B, N) gallery face of each candidate; null: n itself
  const float* scales = nullptr;        // int8: (M, S) inverse lengths; null: computed here
  std::int64_t scales_face = 0;

  Weighting weighting = Weighting::given;
  const float* u = nullptr;  // given: (B, N, R), any stride but the last may be 0
  std::int64_t u_query = 0, u_candidate = 0;
  const float* v = nullptr;  // given: (B, N, S)
  std::int64_t v_query = 0, v_candidate = 0;
  const float* pooled_query = nullptr;  // apc: (B, C)
  std::int64_t pooled_query_face = 0;
  const float* pooled_gallery = nullptr;  // apc: (M, C), indexed like the gallery
  std::int64_t pooled_gallery_face = 0;

  double epsilon = 0.05;
  double tolerance = 1e-3;
  int max_iterations = 1000;

  double* similarity = nullptr;  // (B, N)
  std::int32_t* iterations = nullptr;
  float* marginal_error = nullptr;
  std::int8_t* status = nullptr;
  float* flow = nullptr;  // (B, N, R, S) or null
};

// N faces' patches, each place through a linear map of its own.
struct Projection {
  std::int64_t N = 0, R = 0, C = 0, D = 0;
  const float* x = nullptr;  // (N, R, C), last axis contiguous; strides in elements
  std::int64_t x_face = 0, x_patch = 0;
  const float* map = nullptr;  // (R, C, D)
  float* out = nullptr;        // (N, R, D), made unit
  float* lengths = nullptr;    // (N, R), what they were before
};

// N faces' int8 patches, each place through a 16-bit map of its own, see contribute.hpp.
struct Contribution {
  std::int64_t N = 0, R = 0, C = 0, D = 0;
  const signed char* codes = nullptr;     // (N, R, C), last axis contiguous
  const signed char* residues = nullptr;  // the same with the same strides, or null
  std::int64_t codes_face = 0, codes_patch = 0;
  const unsigned char* packed = nullptr;  // the map, packed for this very kernel
  const float* map_scale = nullptr;       // (R, D) what a map's numbers are multiplied with
  const std::int16_t* cover = nullptr;    // (R, C)
  signed char* out = nullptr;             // (N, R, D)
  signed char* out_residue = nullptr;     // (N, R, D)
  float* unit = nullptr;                  // (N, R) what `out` is multiplied with to be y
  std::int64_t* squares = nullptr;        // (N, R) 2^16 times the squared length of the codes
  std::int64_t* covered = nullptr;        // (N, R) 2^8 times their product with `cover`
};

// What one query and N faces both show, see visible.hpp.
struct Visible {
  std::int64_t N = 0, R = 0, D = 0;
  const float* shown = nullptr;           // (N, R)
  const float* query = nullptr;           // (R, D) contributions less the usual ones
  const float* usual = nullptr;           // (R, D)
  const std::int8_t* codes = nullptr;     // (N, R, D)
  const std::int8_t* residues = nullptr;  // (N, R, D)
  const float* factor = nullptr;          // (N, R)
  double* cosine = nullptr;               // (N,)
};

// What each instruction set offers for contributions.
struct ContributionKernel {
  std::size_t (*packed_bytes)(const Contribution&);
  void (*pack)(const Contribution&, const std::int16_t* map, unsigned char* packed);
  std::size_t (*workspace)(const Contribution&);  // bytes one thread needs
  void (*run)(const Contribution&, std::int64_t begin, std::int64_t end, unsigned char* workspace);
  // `room`: 2 D floats.
  void (*visible)(const Visible&, std::int64_t begin, std::int64_t end, float* room);
};

// One number format at one instruction set.
struct Format {
  const char* isa;
  std::size_t (*workspace)(const Job&);  // bytes one thread needs, 64-byte aligned
  void (*run)(const Job&, std::int64_t begin, std::int64_t end, unsigned char* workspace);
  // Do `rounds` of independent products in registers; returns how many multiply-accumulates.
  double (*peak)(std::int64_t rounds, float* sink);
  void (*project)(const Projection&, std::int64_t begin, std::int64_t end);
};

extern const Format portable_f32, portable_bf16, portable_int8;
extern const ContributionKernel portable_contribution;
#if defined(FACEFLOW_X86)
extern const Format avx2_f32, avx2_bf16, avx2_int8;
extern const Format avx512_f32, avx512_bf16, avx512_int8;
extern const Format avx512vnni_int8;
extern const Format avx512bf16_bf16;
extern const ContributionKernel avx2_contribution, avx512_contribution, avx512vnni_contribution;
#endif
#if defined(FACEFLOW_AVXVNNI_BUILT)
extern const Format avxvnni_int8;
extern const ContributionKernel avxvnni_contribution;
#endif
#if defined(FACEFLOW_AMX_BUILT)
extern const Format amx_bf16, amx_int8;
#endif

// Float64 scaling with logarithmic steps where they are needed, for what float32 cannot carry:
// small epsilon and tight tolerances. similarity is (S, stride) float32, gallery patch by row.
struct StablePlan {
  double similarity;
  double marginal_error;
  int iterations;
  Status status;
};
std::size_t stable_workspace(std::int64_t R, std::int64_t S);
StablePlan stable_sinkhorn(const float* similarity, std::int64_t stride, std::int64_t R,
                           std::int64_t S, const double* u, const double* v, double epsilon,
                           double tolerance, int max_iterations, double* workspace, float* flow);

}  // namespace faceflow
