#define FACEFLOW_AVX512 1
#define FACEFLOW_BF16 1
#include "kernel.hpp"

EXPORT_FORMAT(avx512bf16_bf16, "avx512bf16", Bf16Format)
