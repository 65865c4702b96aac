#define FACEFLOW_AVX512 1
#define FACEFLOW_AMX 1
#include "kernel.hpp"

EXPORT_FORMAT(amx_bf16, "amx", AmxBf16Format)
EXPORT_FORMAT(amx_int8, "amx", Amx8Format)
