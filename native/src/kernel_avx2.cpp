#define FACEFLOW_AVX2 1
#include "kernel.hpp"

EXPORT_FORMAT(avx2_f32, "avx2", FloatFormat)
EXPORT_FORMAT(avx2_bf16, "avx2", WideBf16Format)
EXPORT_FORMAT(avx2_int8, "avx2", Int16Format)
