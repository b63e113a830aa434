// How fast the kernels of this machine are, each beside its own limit: bytes per second when decoding against the
// memory's bandwidth, multiply-adds per second for prompts and attention against what the arithmetic units do in
// registers, row operations against a plain copy of the same row. Google Benchmark runs and prints them; "limit_%" is
// the share reached.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/best_time.h"
#include "base/concat.h"
#include "base/cpu_features.h"
#include "base/thread_pool.h"
#include "base/usable_cores.h"
#include "kernels/abi.h"
#include "kernels/machine_limits.h"
#include "kernels/ops.h"

namespace {

using namespace carat;
using base::concat;

struct Options {
  std::string isa = "auto";
  int threads = base::usable_cores();
  bool packed = true;
};

/// What every benchmark needs, and the limits they are held against.
struct Machine {
  base::ThreadPool pool;
  kernels::Dispatch dispatch;
  kernels::Context context;
  bool packed;
  kernels::MachineLimits limits;

  Machine(const Options& options, kernels::Dispatch chosen)
      : pool(options.threads),
        dispatch(std::move(chosen)),
        context(dispatch.table, pool),
        packed(options.packed),
        limits(kernels::measure_limits(context, 1.0)) {}

  /// Multiply-adds a second of what the kernels of `type` are made of.
  double limit_of_products(tensor::DType type) const {
    switch (dispatch.table->takes[static_cast<std::size_t>(type)]) {
      case kernels::Activations::int8:
        return limits.int8_macs_per_second;
      case kernels::Activations::bf16:
        return limits.bf16_macs_per_second;
      default:
        return limits.float_macs_per_second;
    }
  }
};

/// Runs `body` as often as Google Benchmark asks for and reports `amount` per run (bytes or multiply-adds), in 10^9 a
/// second under `unit`, and its share of `limit` a second.
void measure(benchmark::State& state, const char* unit, double amount, double limit,
             const std::function<void()>& body) {
  using Clock = std::chrono::steady_clock;
  body();  // pages, caches and the clock of the processor are warm
  const auto from = Clock::now();
  for ([[maybe_unused]] auto _ : state) body();
  const double seconds = std::chrono::duration<double>(Clock::now() - from).count();
  const double rate = amount * static_cast<double>(state.iterations()) / seconds;
  state.counters[unit] = rate / 1e9;
  if (limit > 0) state.counters["limit_%"] = 100 * rate / limit;
}

/// Matrices of one type and shape, as many as no cache keeps.
class Matrices {
 public:
  Matrices(Machine& machine, tensor::DType type, std::int64_t out, std::int64_t in) {
    const auto& info = tensor::info(type);
    matrix_bytes_ = out * (in / info.block_elements) * info.block_bytes;
    const std::int64_t copies = std::max<std::int64_t>(1, (std::int64_t{192} << 20) / matrix_bytes_);
    bytes_.resize(static_cast<std::size_t>(copies * matrix_bytes_));
    std::mt19937_64 random(1);
    const Bits bits = bits_of(type);
    for (std::size_t i = 0; i + 8 <= bytes_.size(); i += 8) {
      const std::uint64_t word = (random() & bits.random) | bits.set;
      std::memcpy(bytes_.data() + i, &word, 8);
    }
    const kernels::Packing packing{machine.pool, memory_};
    for (std::int64_t c = 0; c < copies; ++c) {
      weights_.push_back(*kernels::pack(*machine.dispatch.table,
                                        {type, tensor::Shape{out, in}, bytes_.data() + c * matrix_bytes_},
                                        machine.packed ? &packing : nullptr));
    }
  }

  std::int64_t matrix_bytes() const { return matrix_bytes_; }
  /// The next matrix in turn.
  const kernels::PackedMatrix& next() { return weights_[at_++ % weights_.size()]; }

 private:
  std::int64_t matrix_bytes_ = 0;
  std::vector<std::byte> bytes_;
  base::Arena memory_;
  std::vector<kernels::PackedMatrix> weights_;
  std::size_t at_ = 0;

  struct Bits {
    std::uint64_t random, set;
  };
  // Which bits of eight bytes are random. Numbers are 2^-7 to 2^-6: with tiny ones some processors take twenty times
  // as long for a matrix. Blocks: no exponent of a scale becomes large, so that the products stay finite.
  static Bits bits_of(tensor::DType type) {
    switch (type) {
      case tensor::DType::f32:
        return {0x807FFFFF807FFFFFULL, 0x3C0000003C000000ULL};
      case tensor::DType::bf16:
        return {0x807F807F807F807FULL, 0x3C003C003C003C00ULL};
      case tensor::DType::f16:
        return {0x83FF83FF83FF83FFULL, 0x2000200020002000ULL};
      default:
        return {0xBBBBBBBBBBBBBBBBULL, 0};
    }
  }
};

void add_matmul(Machine& machine, tensor::DType type, std::int64_t out, std::int64_t in,
                std::initializer_list<std::int64_t> counts = {1, 4, 16, 64, 512}) {
  // Made by the first of these benchmarks that runs, freed when those of another matrix begin.
  struct Shared {
    std::unique_ptr<Matrices> matrices;
  };
  const auto shared = std::make_shared<Shared>();
  for (const std::int64_t tokens : counts) {
    const std::string name = concat("matmul/", tensor::info(type).name, "/", out, "x", in, "/tokens:", tokens);
    benchmark::RegisterBenchmark(name.c_str(), [&machine, shared, type, out, in, tokens](benchmark::State& state) {
      static std::weak_ptr<Shared> previous;
      if (const auto other = previous.lock(); other != nullptr && other != shared) other->matrices.reset();
      previous = shared;
      if (shared->matrices == nullptr) shared->matrices = std::make_unique<Matrices>(machine, type, out, in);
      std::vector<float> x(static_cast<std::size_t>(tokens * in)), y(static_cast<std::size_t>(tokens * out));
      std::mt19937_64 random(2);
      std::normal_distribution<float> normal;
      for (float& v : x) v = normal(random);
      const auto body = [&] {
        const kernels::MatmulTarget target{&shared->matrices->next(), y.data(), 0};
        kernels::matmul(machine.context, x.data(), tokens, {&target, 1});
      };
      if (tokens == 1) {
        measure(state, "GB/s", static_cast<double>(shared->matrices->matrix_bytes()),
                machine.limits.read_bytes_per_second, body);
      } else {
        measure(state, "GMAC/s", static_cast<double>(tokens * out * in), machine.limit_of_products(type), body);
      }
    })->UseRealTime();
  }
}

// The last of `keys` positions attend to those before them, or, in an encoder, every row to every other.
void add_attention(Machine& machine, tensor::DType type, std::int64_t heads, std::int64_t kv_heads, std::int64_t dim,
                   std::int64_t keys, std::int64_t tokens, bool causal = true) {
  const std::string name = concat("attention/", tensor::info(type).name, "/", heads, "q_", kv_heads, "kv_x", dim,
                                  "/keys:", keys, "/tokens:", tokens);
  benchmark::RegisterBenchmark(name.c_str(), [=, &machine](benchmark::State& state) {
    const std::int64_t half = kv_heads * keys / kernels::kKvBlock * kernels::kv_block_bytes(type, dim);
    // Several caches in turn, as the layers of a model have them.
    const std::int64_t copies = std::max<std::int64_t>(1, (std::int64_t{96} << 20) / (2 * half));
    base::Arena arena;
    std::byte* const memory = arena.allocate(static_cast<std::size_t>(2 * half * copies)).value();
    std::vector<float> k(static_cast<std::size_t>(kv_heads * dim * keys));
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    for (float& v : k) v = normal(random);
    std::vector<kernels::KvView> caches;
    for (std::int64_t c = 0; c < copies; ++c) {
      std::byte* at = memory + 2 * half * c;
      caches.push_back({type, at, at + half, keys, kv_heads, dim});
      kernels::kv_store(machine.context, caches.back(), k.data(), k.data(), keys, 0);
    }
    std::vector<float> q(static_cast<std::size_t>(tokens * heads * dim), 0.01F), out(q.size());
    std::vector<std::int64_t> begin(static_cast<std::size_t>(tokens), 0), end(begin.size());
    std::int64_t pairs = 0;
    for (std::int64_t t = 0; t < tokens; ++t)
      pairs += end[static_cast<std::size_t>(t)] = causal ? keys - tokens + t + 1 : keys;
    std::size_t at = 0;
    const auto body = [&] {
      kernels::attention(machine.context, q.data(), tokens, heads, caches[at++ % caches.size()], begin.data(),
                         end.data(), 1.0F, out.data());
    };
    if (tokens == 1) {
      measure(state, "GB/s", static_cast<double>(2 * half), machine.limits.read_bytes_per_second, body);
    } else {
      measure(state, "GMAC/s", 2.0 * static_cast<double>(pairs * heads * dim), machine.limits.float_macs_per_second,
              body);
    }
  })->UseRealTime();
}

/// Row operations of one thread; their limit is a copy of the same row, which moves `bytes` as well.
void add_rows(Machine& machine) {
  constexpr std::int64_t kWidth = 12288;
  struct Rows {
    std::vector<float> x = std::vector<float>(kWidth), y = std::vector<float>(kWidth, 1.0F),
                       out = std::vector<float>(kWidth);
    Rows() {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 97) * 0.1F - 5;
    }
  };
  constexpr double kCopied = 2.0 * kWidth * sizeof(float);  // read and written
  const auto rows = std::make_shared<Rows>();
  const auto copy = [rows] {
    std::memcpy(rows->out.data(), rows->x.data(), kWidth * sizeof(float));
    benchmark::ClobberMemory();
  };
  const double limit = kCopied / base::best_time(0.1, copy);
  const auto add = [&](const char* name, double bytes, std::function<void()> body) {
    benchmark::RegisterBenchmark(concat("rows/", name, "/", kWidth).c_str(), [=](benchmark::State& state) {
      measure(state, "GB/s", bytes, limit, body);
    })->UseRealTime();
  };
  constexpr double kRow = kWidth * sizeof(float);
  add("copy", kCopied, copy);
  add("rms_norm", 3 * kRow, [rows, &machine] {
    kernels::rms_norm(machine.context, rows->x.data(), 1, kWidth, rows->y.data(), 1e-6F, rows->out.data());
  });
  add("gelu_tanh_mul", 3 * kRow, [rows, &machine] {
    kernels::gelu_tanh_mul(machine.context, rows->x.data(), rows->y.data(), kWidth, rows->out.data());
  });
  add("softcap", 2 * kRow, [rows, &machine] { kernels::softcap(machine.context, rows->out.data(), kWidth, 30.0F); });
}

void add_all(Machine& machine) {
  benchmark::RegisterBenchmark("pool/empty_loop", [&machine](benchmark::State& state) {
    for ([[maybe_unused]] auto _ : state) {
      machine.pool.parallel_for(machine.pool.threads(), 1, [](std::int64_t, std::int64_t, int) {});
    }
  })->UseRealTime();
  add_rows(machine);
  using tensor::DType;
  for (const DType type :
       {DType::q4_0, DType::q8_0, DType::q4_k, DType::q6_k, DType::q5_0, DType::bf16, DType::f16, DType::f32,
        DType::q4_1, DType::q5_1, DType::q2_k, DType::q3_k, DType::q5_k, DType::iq4_nl, DType::iq4_xs, DType::mxfp4}) {
    add_matmul(machine, type, 6144, 1536);
  }
  add_matmul(machine, DType::q4_0, 1536, 12288);
  add_matmul(machine, DType::q6_k, 65536, 1536);
  add_matmul(machine, DType::q4_0, 1408, 2816);
  // The vision tower of the E sizes, a picture of 280 soft tokens.
  for (const DType type : {DType::bf16, DType::f16}) {
    add_matmul(machine, type, 768, 768, {2520});
    add_matmul(machine, type, 3072, 768, {2520});
    add_matmul(machine, type, 768, 3072, {2520});
  }
  // Their audio tower, 10 s and 30 s.
  for (const std::int64_t tokens : {250, 750}) {
    add_matmul(machine, DType::bf16, 4096, 1024, {tokens});
    add_matmul(machine, DType::bf16, 1024, 4096, {tokens});
  }
  for (const DType type : {DType::f32, DType::bf16}) add_attention(machine, type, 12, 12, 64, 2560, 2560, false);
  for (const DType type : {DType::f16, DType::q8_0, DType::f32}) {
    add_attention(machine, type, 8, 1, 256, 512, 1);
    add_attention(machine, type, 8, 1, 512, 8192, 1);
    add_attention(machine, type, 16, 8, 256, 1024, 1);
    add_attention(machine, type, 8, 1, 256, 1024, 512);
    add_attention(machine, type, 16, 8, 256, 1024, 512);
  }
}

constexpr const char* kUsage =
    "bench_kernels [--isa NAME] [--threads N] [--weights packed|mapped] [Google Benchmark's options]\n"
    "  --benchmark_filter=REGEX      only some: pool, rows, attention, matmul/q4_0, tokens:1/, …\n"
    "  --benchmark_out=FILE.json     everything measured, as JSON as well\n"
    "  --benchmark_min_time=SECONDS  per figure (default 0.5)\n";

}  // namespace

int main(int argc, char** argv) {
  Options options;
  // The columns of the counters stand below their names; an option given by hand comes later and wins.
  std::vector<char*> rest{argv[0], const_cast<char*>("--benchmark_counters_tabular=true")};
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name.starts_with("--benchmark_")) {
      rest.push_back(argv[i]);
      continue;
    }
    if (i + 1 == argc) return std::fputs(kUsage, stderr), 2;
    const std::string_view value = argv[++i];
    if (name == "--isa") {
      options.isa = value;
    } else if (name == "--weights" && (value == "packed" || value == "mapped")) {
      options.packed = value == "packed";
    } else if (name == "--threads") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), options.threads);
      if (error != std::errc{} || end != value.data() + value.size() || options.threads < 1 || options.threads > 1024)
        return std::fputs(kUsage, stderr), 2;
    } else {
      return std::fputs(kUsage, stderr), 2;
    }
  }
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 2;
  auto chosen = kernels::select_kernels(options.isa);
  if (!chosen) {
    std::fprintf(stderr, "%s\n", chosen.error().message.c_str());
    return 1;
  }
  Machine machine(options, std::move(*chosen));
  const auto giga = [](double value) { return std::to_string(value / 1e9); };
  benchmark::AddCustomContext("cpu", base::cpu_name());
  benchmark::AddCustomContext("threads", std::to_string(options.threads));
  benchmark::AddCustomContext("kernels", machine.dispatch.name);
  benchmark::AddCustomContext("weights", options.packed ? "packed" : "mapped");
  benchmark::AddCustomContext("limit_memory_GB/s", giga(machine.limits.read_bytes_per_second));
  benchmark::AddCustomContext("limit_int8_GMAC/s", giga(machine.limits.int8_macs_per_second));
  benchmark::AddCustomContext("limit_bf16_GMAC/s", giga(machine.limits.bf16_macs_per_second));
  benchmark::AddCustomContext("limit_float_GMAC/s", giga(machine.limits.float_macs_per_second));
  add_all(machine);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
