#include "kernel.hpp"

EXPORT_FORMAT(portable_f32, "portable", FloatFormat)
EXPORT_FORMAT(portable_bf16, "portable", WideBf16Format)
EXPORT_FORMAT(portable_int8, "portable", Int16Format)
