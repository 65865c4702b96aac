// The avx512bf16 sources over emulated instructions: checks their logic, not their speed.
#include "emulated.hpp"
#include "simde_avx512.hpp"
#define FACEFLOW_BF16 1
#define FACEFLOW_AVX512 1
#include "kernel.hpp"

EXPORT_FORMAT(emulated_avx512bf16_bf16, "avx512bf16", Bf16Format)
