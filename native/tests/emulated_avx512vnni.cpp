// The avx512vnni sources over emulated instructions: checks their logic, not their speed.
#include "simde_avx512.hpp"
#include "emulated.hpp"
#define FACEFLOW_VNNI 1
#include "simd_avx512.hpp"

#include "kernel.hpp"

EXPORT_FORMAT(emulated_avx512vnni_int8, "avx512vnni", Vnni8Format)
