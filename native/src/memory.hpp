// Plain memory: indices, bits of numbers, and the scratch of one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

typedef std::ptrdiff_t Index;
typedef const unsigned char* Bytes;

constexpr Index round_up(Index n, Index to) {
  return (n + to - 1) / to * to;
}

inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// Scratch of one thread, cut from one block of memory. Without a block it only counts, so that
// the same constructors tell how much they need and take it.
struct Scratch {
  unsigned char* at;
  std::size_t used = 0;
  template <class T>
  T* take(Index n) {
    T* start = at ? reinterpret_cast<T*>(at + used) : nullptr;
    used += static_cast<std::size_t>(round_up(n * static_cast<Index>(sizeof(T)), 64));
    return start;
  }
};

}  // namespace
