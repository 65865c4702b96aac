// The Python face of the kernel. Shapes are checked here as well as in Python: a wrong one must
// be an exception, never a read outside an array.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "pool.hpp"

namespace nb = nanobind;
using nb::ndarray;

namespace faceflow {
namespace {

using Floats3 = ndarray<const float, nb::ndim<3>, nb::device::cpu>;
using Floats2 = ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using Candidates = ndarray<const std::int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using AnyArray = ndarray<nb::ro, nb::device::cpu>;
template <class T>
using Out2 = ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Out4 = ndarray<float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

[[noreturn]] void refuse(const std::string& message) {
  throw std::invalid_argument(message);
}

void require(bool good, const char* message) {
  if (!good) refuse(message);
}

// Buffers of Python objects (bytes, memoryview, arrays), held for the length of a call.
class Held {
 public:
  Held() = default;
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    for (Py_buffer& view : views_) PyBuffer_Release(&view);
  }

  void hold(nb::handle list, std::size_t bytes) {
    const std::size_t n = nb::len(list);
    views_.reserve(n);
    starts_.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
      const nb::object item = list[i];
      Py_buffer view;
      if (PyObject_GetBuffer(item.ptr(), &view, PyBUF_SIMPLE) != 0) throw nb::python_error();
      views_.push_back(view);
      starts_.push_back(view.buf);
      if (static_cast<std::size_t>(view.len) != bytes) {
        refuse("gallery buffer " + std::to_string(i) + " has " + std::to_string(view.len) +
               " bytes, " + std::to_string(bytes) + " are needed");
      }
    }
  }
  const void* const* starts() const { return starts_.data(); }

 private:
  std::vector<Py_buffer> views_;
  std::vector<const void*> starts_;
};

Dtype dtype_of(const std::string& name) {
  if (name == "f32") return Dtype::f32;
  if (name == "bf16") return Dtype::bf16;
  if (name == "int8") return Dtype::int8;
  refuse("unknown dtype '" + name + "'");
}

Weighting weighting_of(const std::string& name) {
  if (name == "given") return Weighting::given;
  if (name == "uniform") return Weighting::uniform;
  if (name == "apc") return Weighting::apc;
  if (name == "sc") return Weighting::sc;
  refuse("unknown weighting '" + name + "'");
}

std::int64_t bytes_of(Dtype dtype) {
  return dtype == Dtype::f32 ? 4 : dtype == Dtype::bf16 ? 2 : 1;
}

bool holds(const AnyArray& array, Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return array.dtype() == nb::dtype<float>();
    case Dtype::bf16:
      return array.dtype() == nb::dtype<std::uint16_t>();
    default:
      return array.dtype() == nb::dtype<std::int8_t>();
  }
}

// Weights (B, N, R): an axis may have stride 0, the last one is contiguous.
void take_weights(const std::optional<Floats3>& weights, const Job& job, std::int64_t size,
                  const float** data, std::int64_t* query, std::int64_t* candidate) {
  require(weights.has_value(), "given weighting needs u and v");
  require(static_cast<std::int64_t>(weights->shape(0)) == job.queries &&
              static_cast<std::int64_t>(weights->shape(1)) == job.candidates &&
              static_cast<std::int64_t>(weights->shape(2)) == size &&
              (weights->size() == 0 || size < 2 || weights->stride(2) == 1),
          "weights need shape (B, N, patches) with a contiguous last axis");
  *data = weights->data();
  *query = weights->stride(0);
  *candidate = weights->stride(1);
}

void solve(Floats3 query, nb::object gallery, std::int64_t faces, std::int64_t gallery_patches,
           const std::string& dtype, std::optional<Floats2> scales,
           std::optional<Candidates> candidates, const std::string& weighting,
           std::optional<Floats3> u, std::optional<Floats3> v, std::optional<Floats2> pooled_query,
           std::optional<Floats2> pooled_gallery, double epsilon, double tolerance,
           int max_iterations, int threads, const std::string& isa, Out2<double> similarity,
           Out2<std::int32_t> iterations, Out2<float> marginal_error, Out2<std::int8_t> status,
           std::optional<Out4> flow) {
  Job job;
  job.queries = static_cast<std::int64_t>(query.shape(0));
  job.R = static_cast<std::int64_t>(query.shape(1));
  job.C = static_cast<std::int64_t>(query.shape(2));
  job.S = gallery_patches;
  job.candidates = candidates ? static_cast<std::int64_t>(candidates->shape(1)) : faces;
  job.dtype = dtype_of(dtype);
  job.weighting = weighting_of(weighting);
  job.epsilon = epsilon;
  job.tolerance = tolerance;
  job.max_iterations = max_iterations;

  require(job.R >= 1 && job.R <= 256 && job.S >= 1 && job.S <= 256, "patches must be 1 to 256");
  require(job.C >= 1 && job.C <= 2048, "channels must be 1 to 2048");
  require(job.C < 2 || query.stride(2) == 1, "the query's last axis must be contiguous");
  require(epsilon > 0 && tolerance > 0 && max_iterations >= 1, "options out of range");
  job.query = query.data();
  job.query_face = query.stride(0);
  job.query_patch = query.stride(1);

  const std::int64_t item = bytes_of(job.dtype);
  Held held;
  AnyArray array;
  if (nb::isinstance<nb::list>(gallery)) {
    require(static_cast<std::int64_t>(nb::len(gallery)) == faces, "as many buffers as faces");
    held.hold(gallery, static_cast<std::size_t>(job.S * job.C * item));
    job.buffers = held.starts();
    job.gallery_patch = job.C * item;
  } else {
    array = nb::cast<AnyArray>(gallery);
    require(array.ndim() == 3 && holds(array, job.dtype), "gallery must be (M, S, C) of its dtype");
    require(static_cast<std::int64_t>(array.shape(0)) == faces &&
                static_cast<std::int64_t>(array.shape(1)) == job.S &&
                static_cast<std::int64_t>(array.shape(2)) == job.C &&
                (faces == 0 || job.C < 2 || array.stride(2) == 1),
            "gallery must be (M, S, C) with a contiguous last axis");
    job.gallery = static_cast<const unsigned char*>(array.data());
    job.gallery_face = array.stride(0) * item;
    job.gallery_patch = array.stride(1) * item;
  }

  if (candidates) {
    require(static_cast<std::int64_t>(candidates->shape(0)) == job.queries,
            "candidates must be (B, N)");
    job.index = candidates->data();
    for (std::int64_t p = 0; p < job.queries * job.candidates; ++p) {
      if (job.index[p] < 0 || job.index[p] >= faces) {
        throw nb::index_error("a candidate is outside the gallery");
      }
    }
  }
  if (scales) {
    require(static_cast<std::int64_t>(scales->shape(0)) == faces &&
                static_cast<std::int64_t>(scales->shape(1)) == job.S &&
                (faces == 0 || job.S < 2 || scales->stride(1) == 1),
            "scales must be (M, S) with a contiguous last axis");
    job.scales = scales->data();
    job.scales_face = scales->stride(0);
  }
  if (job.weighting == Weighting::given) {
    take_weights(u, job, job.R, &job.u, &job.u_query, &job.u_candidate);
    take_weights(v, job, job.S, &job.v, &job.v_query, &job.v_candidate);
  }
  if (job.weighting == Weighting::apc) {
    const auto fits = [&job](const std::optional<Floats2>& pooled, std::int64_t n) {
      return pooled && static_cast<std::int64_t>(pooled->shape(0)) == n &&
             static_cast<std::int64_t>(pooled->shape(1)) == job.C &&
             (n == 0 || job.C < 2 || pooled->stride(1) == 1);
    };
    require(fits(pooled_query, job.queries) && fits(pooled_gallery, faces),
            "apc weighting needs pooled features (B, C) and (M, C)");
    job.pooled_query = pooled_query->data();
    job.pooled_query_face = pooled_query->stride(0);
    job.pooled_gallery = pooled_gallery->data();
    job.pooled_gallery_face = pooled_gallery->stride(0);
  }

  const auto pairs_in = [&job](const auto& out) {
    return static_cast<std::int64_t>(out.shape(0)) == job.queries &&
           static_cast<std::int64_t>(out.shape(1)) == job.candidates;
  };
  require(
      pairs_in(similarity) && pairs_in(iterations) && pairs_in(marginal_error) && pairs_in(status),
      "outputs must be (B, N)");
  job.similarity = similarity.data();
  job.iterations = iterations.data();
  job.marginal_error = marginal_error.data();
  job.status = status.data();
  if (flow) {
    require(pairs_in(*flow) && static_cast<std::int64_t>(flow->shape(2)) == job.R &&
                static_cast<std::int64_t>(flow->shape(3)) == job.S,
            "flow must be (B, N, R, S)");
    job.flow = flow->data();
  }

  const Format& kernel = choose(job.dtype, isa);
  const std::int64_t pairs = job.queries * job.candidates;
  if (pairs == 0) return;
  const std::int64_t wanted = threads > 0 ? threads : physical_cores();
  const int parts = static_cast<int>(std::min<std::int64_t>({wanted, pairs, 256}));
  const std::size_t scratch = kernel.workspace(job);

  const nb::gil_scoped_release release;
  run_parts(parts, [&](int part) {
    kernel.run(job, pairs * part / parts, pairs * (part + 1) / parts, thread_scratch(scratch));
  });
}

using Out3 = ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Map = ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

void project(Floats3 x, Map map, Out3 out, Out2<float> lengths, int threads,
             const std::string& isa) {
  Projection job;
  job.N = static_cast<std::int64_t>(x.shape(0));
  job.R = static_cast<std::int64_t>(x.shape(1));
  job.C = static_cast<std::int64_t>(x.shape(2));
  job.D = static_cast<std::int64_t>(map.shape(2));
  require(job.C < 2 || x.stride(2) == 1, "the last axis of the patches must be contiguous");
  require(static_cast<std::int64_t>(map.shape(0)) == job.R &&
              static_cast<std::int64_t>(map.shape(1)) == job.C,
          "the map must be (R, C, D)");
  require(static_cast<std::int64_t>(out.shape(0)) == job.N &&
              static_cast<std::int64_t>(out.shape(1)) == job.R &&
              static_cast<std::int64_t>(out.shape(2)) == job.D &&
              static_cast<std::int64_t>(lengths.shape(0)) == job.N &&
              static_cast<std::int64_t>(lengths.shape(1)) == job.R,
          "outputs must be (N, R, D) and (N, R)");
  job.x = x.data();
  job.x_face = x.stride(0);
  job.x_patch = x.stride(1);
  job.map = map.data();
  job.out = out.data();
  job.lengths = lengths.data();
  if (job.N == 0) return;
  const Format& kernel = choose(Dtype::f32, isa);
  const std::int64_t wanted = threads > 0 ? threads : physical_cores();
  const int parts = static_cast<int>(std::min<std::int64_t>({wanted, (job.N + 7) / 8, 256}));
  const nb::gil_scoped_release release;
  run_parts(parts, [&](int part) {
    kernel.project(job, job.N * part / parts, job.N * (part + 1) / parts);
  });
}

using Rows = ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using Codes = ndarray<std::int8_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Floats1 = ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Words of an embedding of D values; `codes` must have room for n of them.
std::int64_t words_of(const Codes& codes, const Floats1& scales, const Floats1& residues,
                      std::int64_t n) {
  const std::int64_t blocks = (n + SCAN_LANES - 1) / SCAN_LANES;
  const auto room = static_cast<std::size_t>(blocks * SCAN_LANES);
  require(codes.shape(2) == SCAN_LANES && codes.shape(3) == 4 &&
              static_cast<std::int64_t>(codes.shape(0)) >= blocks && scales.shape(0) >= room &&
              residues.shape(0) >= room,
          "codes must be (blocks, words, 16, 4), scales and residues (blocks * 16,)");
  return static_cast<std::int64_t>(codes.shape(1));
}

void round_rows(Rows matrix, std::int64_t begin, std::int64_t end, Codes codes, Floats1 scales,
                Floats1 residues) {
  const auto n = static_cast<std::int64_t>(matrix.shape(0));
  const auto d = static_cast<std::int64_t>(matrix.shape(1));
  require(0 <= begin && begin <= end && end <= n, "rows outside the matrix");
  require(d >= 1 && (n == 0 || d < 2 || matrix.stride(1) == 1), "last axis must be contiguous");
  require(words_of(codes, scales, residues, end) == (d + 3) / 4, "codes have another width");
  const nb::gil_scoped_release release;
  scan_pack(matrix.data(), matrix.stride(0), begin, end, d, codes.data(), scales.data(),
            residues.data());
}

using QueryCodes = ndarray<const std::int8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using PerQuery = ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::vector<nb::bytes> survivors(QueryCodes query, PerQuery scale, PerQuery length, PerQuery slack,
                                 Codes codes, Floats1 scales, Floats1 residues, std::int64_t faces,
                                 std::int64_t k, int threads, const std::string& isa) {
  Scan scan;
  scan.faces = faces;
  scan.k = k;
  scan.queries = static_cast<std::int64_t>(query.shape(0));
  require(faces >= 0 && k >= 1, "faces and k out of range");
  scan.words = words_of(codes, scales, residues, faces);
  // 255 * 127 * 4 * words must stay below 2^31.
  require(scan.words >= 1 && scan.words <= 4096, "embeddings may have 1 to 16384 values");
  require(static_cast<std::int64_t>(query.shape(1)) == scan.words * 4 &&
              scale.shape(0) == query.shape(0) && length.shape(0) == query.shape(0) &&
              slack.shape(0) == query.shape(0),
          "queries must be (Q, words * 4), with three numbers each");
  scan.codes = codes.data();
  scan.scales = scales.data();
  scan.residues = residues.data();
  scan.query = query.data();
  scan.query_scale = scale.data();
  scan.query_length = length.data();
  scan.slack = slack.data();
  const ScanKernel kernel = choose_scan(isa);
  std::vector<std::vector<std::int64_t>> found;
  {
    const nb::gil_scoped_release release;
    found = scan_survivors(scan, kernel, threads);
  }
  std::vector<nb::bytes> rows;
  for (const auto& one : found) {
    rows.emplace_back(reinterpret_cast<const char*>(one.data()), one.size() * sizeof(one[0]));
  }
  return rows;
}

// Multiply-accumulates per second of one core with the products a dtype uses, best of several.
double peak(const std::string& dtype, const std::string& isa, double seconds) {
  const Format& kernel = choose(dtype_of(dtype), isa);
  alignas(64) float sink[16 * 16] = {};
  const nb::gil_scoped_release release;
  double best = 0.0;
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end) {
    const auto start = Clock::now();
    const double done = kernel.peak(20000, sink);
    const std::chrono::duration<double> spent = Clock::now() - start;
    best = std::max(best, done / spent.count());
  }
  return best;
}

}  // namespace
}  // namespace faceflow

NB_MODULE(_kernel, m) {
  m.def("solve", &faceflow::solve, nb::arg("query"), nb::arg("gallery"), nb::kw_only(),
        nb::arg("faces"), nb::arg("gallery_patches"), nb::arg("dtype"), nb::arg("scales").none(),
        nb::arg("candidates").none(), nb::arg("weighting"), nb::arg("u").none(),
        nb::arg("v").none(), nb::arg("pooled_query").none(), nb::arg("pooled_gallery").none(),
        nb::arg("epsilon"), nb::arg("tolerance"), nb::arg("max_iterations"), nb::arg("threads"),
        nb::arg("isa"), nb::arg("similarity"), nb::arg("iterations"), nb::arg("marginal_error"),
        nb::arg("status"), nb::arg("flow").none());
  m.def("project", &faceflow::project, nb::arg("x"), nb::arg("map"), nb::kw_only(), nb::arg("out"),
        nb::arg("lengths"), nb::arg("threads"), nb::arg("isa"));
  m.def("round_rows", &faceflow::round_rows, nb::arg("matrix"), nb::arg("begin"), nb::arg("end"),
        nb::kw_only(), nb::arg("codes"), nb::arg("scales"), nb::arg("residues"));
  m.def("survivors", &faceflow::survivors, nb::arg("query"), nb::kw_only(), nb::arg("scale"),
        nb::arg("length"), nb::arg("slack"), nb::arg("codes"), nb::arg("scales"),
        nb::arg("residues"), nb::arg("faces"), nb::arg("k"), nb::arg("threads"), nb::arg("isa"));
  m.def("built_levels", &faceflow::built_levels);
  m.def("isa_levels", &faceflow::available_levels);
  m.def(
      "active_isa",
      [](const std::string& dtype, const std::string& isa) {
        return std::string(faceflow::choose(faceflow::dtype_of(dtype), isa).isa);
      },
      nb::arg("dtype") = "f32", nb::kw_only(), nb::arg("isa") = "");
  m.def("physical_cores", &faceflow::physical_cores);
  m.def("peak", &faceflow::peak, nb::arg("dtype"), nb::kw_only(), nb::arg("isa") = "",
        nb::arg("seconds") = 0.2);
}
