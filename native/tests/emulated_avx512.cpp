// The avx512 sources over emulated instructions: checks their logic, not their speed.
#include "emulated.hpp"
#include "simde_avx512.hpp"
#define FACEFLOW_AVX512 1
#include "kernel.hpp"

EXPORT_FORMAT(emulated_avx512_f32, "avx512", FloatFormat)
EXPORT_FORMAT(emulated_avx512_bf16, "avx512", WideBf16Format)
EXPORT_FORMAT(emulated_avx512_int8, "avx512", Int16Format)
