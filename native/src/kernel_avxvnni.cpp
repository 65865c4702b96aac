// AVX2 with the 8-bit and 16-bit products of AVX-VNNI: processors that have these but no AVX-512.
#define FACEFLOW_AVX2 1
#define FACEFLOW_VNNI 1
#include "contribute.hpp"
#include "kernel.hpp"

EXPORT_FORMAT(avxvnni_int8, "avxvnni", Vnni8Format)
EXPORT_CONTRIBUTION(avxvnni_contribution)
