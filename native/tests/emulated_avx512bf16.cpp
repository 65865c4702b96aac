// The avx512bf16 sources over emulated instructions: checks their logic, not their speed.
#include "simde_avx512.hpp"
#include "emulated.hpp"
#define FACEFLOW_BF16 1
#include "simd_avx512.hpp"

#include "kernel.hpp"

EXPORT_FORMAT(emulated_avx512bf16_bf16, "avx512bf16", Bf16Format)
