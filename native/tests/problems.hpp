// What the native tests share: random numbers, blocks of exact size, and a run of one format.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "dispatch.hpp"
#include "job.hpp"
#include "pool.hpp"
#if defined(FACEFLOW_EMULATED)
#include "emulated.hpp"
#endif

namespace {

using namespace faceflow;

std::mt19937_64 random_bits(7);

double uniform() {
  return std::uniform_real_distribution<double>(0, 1)(random_bits);
}
int between(int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random_bits);
}

template <class T>
struct Block {  // exactly n values on the heap, no spare capacity behind them
  std::unique_ptr<T[]> data;
  std::size_t n;
  explicit Block(std::size_t size) : data(new T[size]()), n(size) {}
  T* get() const { return data.get(); }
  T& operator[](std::size_t i) const { return data[i]; }
};

struct Result {
  std::vector<double> similarity;
  std::vector<std::int32_t> iterations;
  std::vector<float> error, flow;
  std::vector<std::int8_t> status;
};

Result run(const Format& format, Job job, int parts) {
  const std::size_t pairs = static_cast<std::size_t>(job.queries * job.candidates);
  Block<double> similarity(pairs);
  Block<std::int32_t> iterations(pairs);
  Block<float> error(pairs), flow(pairs * static_cast<std::size_t>(job.R * job.S));
  Block<std::int8_t> status(pairs);
  job.similarity = similarity.get();
  job.iterations = iterations.get();
  job.marginal_error = error.get();
  job.status = status.get();
  job.flow = flow.get();
  const std::int64_t all = static_cast<std::int64_t>(pairs);
  run_parts(parts, [&](int part) {
    format.run(job, all * part / parts, all * (part + 1) / parts,
               thread_scratch(format.workspace(job)));
  });
  const auto copy = [](const auto& block) {
    return std::vector<std::decay_t<decltype(block[0])>>(block.get(), block.get() + block.n);
  };
  return {copy(similarity), copy(iterations), copy(error), copy(flow), copy(status)};
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(T)));
}
bool same_bits(const Result& a, const Result& b) {
  return same_bits(a.similarity, b.similarity) && same_bits(a.iterations, b.iterations) &&
         same_bits(a.error, b.error) && same_bits(a.flow, b.flow) && same_bits(a.status, b.status);
}

// Every level's kernel for a dtype, emulated ones included.
std::vector<const Format*> formats_of(Dtype dtype) {
  std::vector<const Format*> all;
  for (const std::string& level : available_levels()) all.push_back(&choose(dtype, level));
#if defined(FACEFLOW_EMULATED)
  if (dtype == Dtype::f32) all.push_back(&emulated_avx512_f32);
  if (dtype == Dtype::bf16) {
    all.push_back(&emulated_avx512_bf16);
    all.push_back(&emulated_avx512bf16_bf16);
  }
  if (dtype == Dtype::int8) {
    all.push_back(&emulated_avx512_int8);
    all.push_back(&emulated_avx512vnni_int8);
  }
#endif
  return all;
}

}  // namespace
