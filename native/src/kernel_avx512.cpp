#define FACEFLOW_AVX512 1
#include "kernel.hpp"

EXPORT_FORMAT(avx512_f32, "avx512", FloatFormat)
EXPORT_FORMAT(avx512_bf16, "avx512", WideBf16Format)
EXPORT_FORMAT(avx512_int8, "avx512", Int16Format)
