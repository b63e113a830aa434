#include "kernels/machine_limits.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "base/best_time.h"
#include "base/thread_pool.h"
#include "kernels/abi.h"

namespace carat::kernels {
namespace {

// `ahead`: how many bytes before they are read lines are asked for.
double read_bandwidth(base::ThreadPool& pool, double seconds, std::int64_t ahead) {
  std::vector<std::uint64_t> data(std::size_t{256} << 17, 1);
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(pool.threads()));
  const double time = base::best_time(seconds, [&] {
    constexpr std::int64_t kPiece = 1 << 15;
    const auto read = [&](std::int64_t begin, std::int64_t end, int thread) {
      std::uint64_t sum[8] = {};
      for (const std::uint64_t* p = data.data() + begin * kPiece; p != data.data() + end * kPiece; p += 8) {
        for (int i = 0; i < 8; ++i) sum[i] += p[i];
        if (ahead != 0) __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(p) + ahead, 0, 2);
      }
      for (const std::uint64_t s : sum) sums[static_cast<std::size_t>(thread)] += s;
    };
    pool.parallel_for(static_cast<std::int64_t>(data.size()) / kPiece, 8, std::ref(read));
  });
  return static_cast<double>(data.size() * sizeof data[0]) / time;
}

double arithmetic(base::ThreadPool& pool, double seconds, std::int64_t (*busy)(std::int64_t, float*)) {
  if (busy == nullptr) return 0;
  constexpr std::int64_t kRounds = 20000;
  std::vector<float> sinks(static_cast<std::size_t>(pool.threads()) * 64);
  std::vector<std::int64_t> macs(static_cast<std::size_t>(pool.threads()));
  const auto work = [&](std::int64_t begin, std::int64_t, int) {
    const auto piece = static_cast<std::size_t>(begin);
    macs[piece] = busy(kRounds, sinks.data() + 64 * piece);
  };
  const double time = base::best_time(seconds, [&] { pool.parallel_for(pool.threads(), 1, std::ref(work)); });
  return static_cast<double>(macs[0]) * pool.threads() / time;
}

}  // namespace

MachineLimits measure_limits(const Context& context, double seconds) {
  MachineLimits out;
  out.int8_macs_per_second = arithmetic(context.pool(), seconds, context.table().busy_int8);
  out.bf16_macs_per_second = arithmetic(context.pool(), seconds, context.table().busy_bf16);
  out.float_macs_per_second = arithmetic(context.pool(), seconds, context.table().busy_float);
  // Whichever way this processor reads faster: it is a limit.
  out.read_bytes_per_second =
      std::max(read_bandwidth(context.pool(), seconds / 2, 0), read_bandwidth(context.pool(), seconds / 2, 4096));
  return out;
}

}  // namespace carat::kernels
