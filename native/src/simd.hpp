// The vectors of the level this file is compiled for: a kernel_*.cpp says which before it
// includes anything. Every header below the kernel includes this one, so each can be read alone.
#pragma once

#if defined(FACEFLOW_AVX512)
#include "simd_avx512.hpp"
#elif defined(FACEFLOW_AVX2)
#include "simd_avx2.hpp"
#else
#include "simd_portable.hpp"
#endif
