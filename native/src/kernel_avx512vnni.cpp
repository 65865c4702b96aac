#define FACEFLOW_AVX512 1
#define FACEFLOW_VNNI 1
#include "contribute.hpp"
#include "kernel.hpp"

EXPORT_FORMAT(avx512vnni_int8, "avx512vnni", Vnni8Format)
EXPORT_CONTRIBUTION(avx512vnni_contribution)
