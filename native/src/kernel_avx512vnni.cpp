#define FACEFLOW_AVX512 1
#define FACEFLOW_VNNI 1
#include "kernel.hpp"

EXPORT_FORMAT(avx512vnni_int8, "avx512vnni", Vnni8Format)
