#include "dispatch.hpp"

#include <cstdint>
#include <stdexcept>

#if defined(FACEFLOW_X86)
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif
#if defined(FACEFLOW_AMX_BUILT)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace faceflow {
namespace {

struct Level {
  const char* name;
  bool runs;
  const Format* formats[3];  // f32, bf16, int8
  ScanKernel scan;
  const ContributionKernel* contribution;
};

#if defined(FACEFLOW_X86)
struct Registers {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(std::uint32_t leaf, std::uint32_t sub) {
  Registers r;
#if defined(_MSC_VER)
  int out[4];
  __cpuid(out, 0);
  if (static_cast<std::uint32_t>(out[0]) < leaf) return r;
  __cpuidex(out, static_cast<int>(leaf), static_cast<int>(sub));
  r = {static_cast<std::uint32_t>(out[0]), static_cast<std::uint32_t>(out[1]),
       static_cast<std::uint32_t>(out[2]), static_cast<std::uint32_t>(out[3])};
#else
  __get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d);
#endif
  return r;
}

// The registers the operating system saves on a context switch.
std::uint64_t saved_state() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  std::uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
#endif
}

#if defined(FACEFLOW_AMX_BUILT)
// Linux gives a process the tile registers only when it asks for them (8 KB more to save on a
// context switch); once given, its threads and forks have them too. Refused where a signal
// stack is too small for them, as under some debuggers.
bool tiles_granted() {
  constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
}
#endif

bool bit(std::uint32_t word, int n) {
  return (word >> n) & 1u;
}
#endif

const std::vector<Level>& levels() {
  static const std::vector<Level> all = [] {
    std::vector<Level> found{{"portable",
                              true,
                              {&portable_f32, &portable_bf16, &portable_int8},
                              scan_portable,
                              &portable_contribution}};
#if defined(FACEFLOW_X86)
    const Registers one = cpuid(1, 0), seven = cpuid(7, 0), more = cpuid(7, 1);
    const std::uint64_t state = bit(one.c, 27) ? saved_state() : 0;
    const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6;
    const bool avx2 = ymm && bit(seven.b, 5) && bit(one.c, 12);
    const bool avx512 = avx2 && zmm && bit(seven.b, 16) && bit(seven.b, 30) && bit(seven.b, 31);
    const bool vnni = avx512 && bit(seven.c, 11);
    const bool bf16 = vnni && bit(more.a, 5);
    found.push_back(
        {"avx2", avx2, {&avx2_f32, &avx2_bf16, &avx2_int8}, scan_avx2, &avx2_contribution});
#if defined(FACEFLOW_AVXVNNI_BUILT)
    found.push_back({"avxvnni",
                     avx2 && bit(more.a, 4),
                     {&avx2_f32, &avx2_bf16, &avxvnni_int8},
                     scan_avx2,
                     &avxvnni_contribution});
#endif
    found.push_back({"avx512",
                     avx512,
                     {&avx512_f32, &avx512_bf16, &avx512_int8},
                     scan_avx2,
                     &avx512_contribution});
    found.push_back({"avx512vnni",
                     vnni,
                     {&avx512_f32, &avx512_bf16, &avx512vnni_int8},
                     scan_avx512vnni,
                     &avx512vnni_contribution});
    found.push_back({"avx512bf16",
                     bf16,
                     {&avx512_f32, &avx512bf16_bf16, &avx512vnni_int8},
                     scan_avx512vnni,
                     &avx512vnni_contribution});
#if defined(FACEFLOW_AMX_BUILT)
    const bool tiles = bf16 && (state & 0x60000) == 0x60000 && bit(seven.d, 22) &&
                       bit(seven.d, 24) && bit(seven.d, 25) && tiles_granted();
    found.push_back({"amx",
                     tiles,
                     {&avx512_f32, &amx_bf16, &amx_int8},
                     scan_avx512vnni,
                     &avx512vnni_contribution});
#endif
#endif
    return found;
  }();
  return all;
}

}  // namespace

std::vector<std::string> built_levels() {
  std::vector<std::string> names;
  for (const Level& level : levels()) names.emplace_back(level.name);
  return names;
}

std::vector<std::string> available_levels() {
  std::vector<std::string> names;
  for (const Level& level : levels()) {
    if (level.runs) names.emplace_back(level.name);
  }
  return names;
}

namespace {

const Level& best_level(const std::string& name) {
  const Level* best = nullptr;
  for (const Level& level : levels()) {
    if (level.runs && (name.empty() || name == level.name)) best = &level;
  }
  if (best) return *best;
  std::string known;
  for (const std::string& other : available_levels()) known += (known.empty() ? "" : ", ") + other;
  throw std::invalid_argument("this machine has no instruction set '" + name + "'; it has " +
                              known);
}

}  // namespace

const Format& choose(Dtype dtype, const std::string& name) {
  return *best_level(name).formats[static_cast<int>(dtype)];
}

ScanKernel choose_scan(const std::string& name) {
  return best_level(name).scan;
}

const ContributionKernel& choose_contribution(const std::string& name) {
  return *best_level(name).contribution;
}

}  // namespace faceflow
