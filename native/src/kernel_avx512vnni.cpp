#define FACEFLOW_VNNI 1
#include "simd_avx512.hpp"

#include "kernel.hpp"

EXPORT_FORMAT(avx512vnni_int8, "avx512vnni", Vnni8Format)
