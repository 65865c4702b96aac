// The avx512vnni sources over emulated instructions: checks their logic, not their speed.
#include "emulated.hpp"
#include "simde_avx512.hpp"
#define FACEFLOW_VNNI 1
#define FACEFLOW_AVX512 1
#include "kernel.hpp"

EXPORT_FORMAT(emulated_avx512vnni_int8, "avx512vnni", Vnni8Format)
