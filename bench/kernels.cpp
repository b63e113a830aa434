// How fast the kernels of this machine are: bytes per second when decoding, multiply-adds per second for prompts,
// attention, and the memory bandwidth beside them. Each figure is the best of many short runs, which is what a busy
// machine lets through.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/best_time.h"
#include "base/cpu_features.h"
#include "base/thread_pool.h"
#include "kernels/machine_limits.h"
#include "kernels/ops.h"

namespace {

using namespace carat;
using base::best_time;

struct Options {
  std::string isa = "auto";
  int threads = base::usable_cores();
  double budget = 0.5;  // seconds per figure
  std::string only;
  bool packed = true;
};

struct Bench {
  Options options;
  base::ThreadPool pool;
  kernels::Dispatch dispatch;
  kernels::Context context;

  explicit Bench(const Options& o)
      : options(o), pool(o.threads), dispatch(*kernels::select_kernels(o.isa)), context(dispatch.table, pool) {}

  bool wanted(std::string_view name) const {
    return options.only.empty() || name.find(options.only) != std::string_view::npos;
  }

  void limits() {
    if (!wanted("memory")) return;
    const kernels::MachineLimits found = kernels::measure_limits(context, 2 * options.budget);
    std::printf("memory read                  %8.1f GB/s\n", found.read_bytes_per_second / 1e9);
    std::printf("8-bit products in registers  %8.1f GMAC/s\n", found.int8_macs_per_second / 1e9);
    std::printf("f32 in registers             %8.1f GMAC/s\n", found.float_macs_per_second / 1e9);
  }

  void pool_overhead() {
    if (!wanted("pool")) return;
    const double time = best_time(options.budget, [&] {
      for (int i = 0; i < 100; ++i) pool.parallel_for(pool.threads(), 1, [](std::int64_t, std::int64_t, int) {});
    });
    std::printf("parallel_for, empty          %8.2f us\n", time / 100 * 1e6);
  }

  void matmul(tensor::DType type, std::int64_t out, std::int64_t in) {
    const auto& info = tensor::info(type);
    if (!wanted(std::string("matmul ") + std::string(info.name))) return;
    const std::int64_t matrix_bytes = out * (in / info.block_elements) * info.block_bytes;
    // Enough matrices that no cache keeps them.
    const std::int64_t copies = std::max<std::int64_t>(1, (std::int64_t{192} << 20) / matrix_bytes);
    std::vector<std::byte> bytes(static_cast<std::size_t>(copies * matrix_bytes));
    std::mt19937_64 random(1);
    for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      // No exponent becomes large: the products stay finite whatever the type makes of the bits.
      const std::uint64_t word = random() & 0xBBBBBBBBBBBBBBBBULL;
      std::memcpy(bytes.data() + i, &word, 8);
    }
    base::Arena memory;
    const kernels::Packing packing{pool, memory};
    std::vector<kernels::PackedMatrix> weights;
    for (std::int64_t c = 0; c < copies; ++c) {
      weights.push_back(*kernels::pack(*dispatch.table, {type, tensor::Shape{out, in}, bytes.data() + c * matrix_bytes},
                                       options.packed ? &packing : nullptr));
    }
    std::printf("matmul %-8s %6lld x %5lld", std::string(info.name).c_str(), static_cast<long long>(out),
                static_cast<long long>(in));
    constexpr std::int64_t kMostTokens = 512;
    std::vector<float> x(static_cast<std::size_t>(kMostTokens * in)), y(static_cast<std::size_t>(kMostTokens * out));
    std::normal_distribution<float> normal;
    for (float& v : x) v = normal(random);
    // One token: every matrix once, so that all bytes come from memory.
    const double decode = best_time(2 * options.budget, [&] {
      for (const kernels::PackedMatrix& w : weights) {
        const kernels::MatmulTarget target{&w, y.data(), 0};
        kernels::matmul(context, x.data(), 1, {&target, 1});
      }
    });
    std::printf("  T=1 %6.1f GB/s", static_cast<double>(copies * matrix_bytes) / decode / 1e9);
    for (const std::int64_t tokens : {4, 16, 64, 512}) {
      std::size_t at = 0;
      const double time = best_time(options.budget, [&] {
        const kernels::MatmulTarget target{&weights[at++ % weights.size()], y.data(), 0};
        kernels::matmul(context, x.data(), tokens, {&target, 1});
      });
      std::printf("  T=%lld %6.1f", static_cast<long long>(tokens),
                  static_cast<double>(tokens * out * in) / time / 1e9);
    }
    std::printf(" GMAC/s\n");
    std::fflush(stdout);
  }

  void attention(tensor::DType type, std::int64_t heads, std::int64_t kv_heads, std::int64_t dim, std::int64_t keys,
                 std::int64_t tokens) {
    if (!wanted("attention")) return;
    const std::int64_t half = kv_heads * keys / kernels::kKvBlock * kernels::kv_block_bytes(type, dim);
    // Several caches in turn, as the layers of a model have them.
    const std::int64_t copies = std::max<std::int64_t>(1, (std::int64_t{96} << 20) / (2 * half));
    std::vector<std::byte> memory(static_cast<std::size_t>(2 * half * copies));
    std::vector<float> k(static_cast<std::size_t>(kv_heads * dim * keys));
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    for (float& v : k) v = normal(random);
    std::vector<kernels::KvView> caches;
    for (std::int64_t c = 0; c < copies; ++c) {
      std::byte* at = memory.data() + 2 * half * c;
      caches.push_back({type, at, at + half, keys, kv_heads, dim});
      kernels::kv_store(context, caches.back(), k.data(), k.data(), keys, 0);
    }
    std::vector<float> q(static_cast<std::size_t>(tokens * heads * dim), 0.01F), out(q.size());
    std::vector<std::int64_t> begin(static_cast<std::size_t>(tokens), 0), end(begin.size());
    std::int64_t pairs = 0;
    for (std::int64_t t = 0; t < tokens; ++t) pairs += end[static_cast<std::size_t>(t)] = keys - tokens + t + 1;
    std::size_t at = 0;
    const double time = best_time(options.budget, [&] {
      kernels::attention(context, q.data(), tokens, heads, caches[at++ % caches.size()], begin.data(), end.data(), 1.0F,
                         out.data());
    });
    std::printf("attention %-4s %lldq/%lldkv x %lld, %lld keys, T=%lld: %8.1f us  %6.1f GB/s  %6.1f GMAC/s\n",
                std::string(tensor::info(type).name).c_str(), static_cast<long long>(heads),
                static_cast<long long>(kv_heads), static_cast<long long>(dim), static_cast<long long>(keys),
                static_cast<long long>(tokens), time * 1e6, static_cast<double>(2 * half) / time / 1e9,
                2e-9 * static_cast<double>(pairs * heads * dim) / time);
    std::fflush(stdout);
  }

  void rows() {
    if (!wanted("rows")) return;
    constexpr std::int64_t kWidth = 12288;
    std::vector<float> x(kWidth), y(kWidth, 1.0F);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 97) * 0.1F - 5;
    std::vector<float> out(kWidth);
    const auto report = [&](const char* name, const std::function<void()>& body) {
      const double time = best_time(options.budget / 4, [&] {
        for (int i = 0; i < 100; ++i) body();
      });
      std::printf("%-16s of %lld        %8.2f us\n", name, static_cast<long long>(kWidth), time / 100 * 1e6);
    };
    report("rms_norm", [&] { kernels::rms_norm(context, x.data(), 1, kWidth, y.data(), 1e-6F, out.data()); });
    report("gelu_tanh_mul", [&] { kernels::gelu_tanh_mul(context, x.data(), y.data(), kWidth, out.data()); });
    report("softcap", [&] { kernels::softcap(context, out.data(), kWidth, 30.0F); });
  }
};

constexpr const char* kUsage =
    "bench_kernels [--isa NAME] [--threads N] [--seconds S] [--weights mapped] [--only TEXT]\n"
    "  --only keeps the lines whose name contains TEXT: memory, pool, rows, attention, \"matmul q4_0\", …\n";

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i], value = argv[i + 1];
    if (name == "--isa")
      options.isa = value;
    else if (name == "--only")
      options.only = value;
    else if (name == "--weights")
      options.packed = value != "mapped";
    else if (name == "--threads")
      std::from_chars(value.data(), value.data() + value.size(), options.threads);
    else if (name == "--seconds")
      std::from_chars(value.data(), value.data() + value.size(), options.budget);
    else
      return std::fputs(kUsage, stderr), 2;
  }
  if (argc % 2 == 0) return std::fputs(kUsage, stderr), 2;
  if (const auto chosen = kernels::select_kernels(options.isa); !chosen) {
    std::fprintf(stderr, "%s\n", chosen.error().message.c_str());
    return 1;
  }
  Bench bench(options);
  std::printf("%s, %d threads, kernels %s\n", base::cpu_name().c_str(), options.threads, bench.dispatch.name.c_str());
  bench.limits();
  bench.pool_overhead();
  bench.rows();
  using tensor::DType;
  for (const DType type :
       {DType::q4_0, DType::q8_0, DType::q4_k, DType::q6_k, DType::q5_0, DType::bf16, DType::f16, DType::f32,
        DType::q4_1, DType::q5_1, DType::q2_k, DType::q3_k, DType::q5_k, DType::iq4_nl, DType::iq4_xs, DType::mxfp4}) {
    bench.matmul(type, 6144, 1536);
  }
  bench.matmul(DType::q4_0, 1536, 12288);
  bench.matmul(DType::q6_k, 65536, 1536);
  bench.matmul(DType::q4_0, 1408, 2816);
  for (const DType type : {DType::f16, DType::q8_0, DType::f32}) {
    bench.attention(type, 8, 1, 256, 512, 1);
    bench.attention(type, 8, 1, 512, 8192, 1);
    bench.attention(type, 16, 8, 256, 1024, 1);
    bench.attention(type, 8, 1, 256, 1024, 512);
    bench.attention(type, 16, 8, 256, 1024, 512);
  }
}
