#pragma once

#include "job.hpp"

namespace faceflow {
extern const Format emulated_avx512_f32, emulated_avx512_bf16, emulated_avx512_int8;
extern const Format emulated_avx512vnni_int8, emulated_avx512bf16_bf16;
}  // namespace faceflow
