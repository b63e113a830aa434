// Measuring through the public interface: limits of the machine, speed of a model.
#include "carat/benchmark.h"

#include <algorithm>
#include <cmath>

#include "api/state.h"
#include "base/concat.h"
#include "base/cpu_features.h"
#include "base/reserved_memory.h"
#include "engine/benchmark.h"
#include "kernels/machine_limits.h"
#include "model/pass_cost.h"

namespace carat {

using base::concat;

Result<Machine> measure_machine(const ModelOptions& options, double seconds) {
  auto threads = resolve_threads(options.threads);
  if (!threads) return forward(threads);
  auto dispatch = kernels::select_kernels(options.isa);
  if (!dispatch) return forward(dispatch);
  Machine out;
  out.cpu = base::cpu_name();
  out.threads = *threads;
  out.isa = dispatch->name;
  for (const auto& row : dispatch->report) out.kernels.push_back({row.operation, row.chosen, row.refused});
  out.memory_bytes = base::usable_memory_bytes();
  if (seconds > 0) {
    base::ThreadPool pool(out.threads);
    const kernels::MachineLimits limits = kernels::measure_limits({dispatch->table, pool}, seconds);
    out.read_bytes_per_second = limits.read_bytes_per_second;
    out.int8_macs_per_second = limits.int8_macs_per_second;
    out.bf16_macs_per_second = limits.bf16_macs_per_second;
    out.float_macs_per_second = limits.float_macs_per_second;
  }
  return out;
}

double BenchmarkResult::tokens_per_second() const {
  double sum = 0;
  for (const double s : seconds) sum += static_cast<double>(tokens) / s;
  return seconds.empty() ? 0 : sum / static_cast<double>(seconds.size());
}

double BenchmarkResult::standard_deviation() const {
  if (seconds.size() < 2) return 0;
  const double mean = tokens_per_second();
  double sum = 0;
  for (const double s : seconds)
    sum += (static_cast<double>(tokens) / s - mean) * (static_cast<double>(tokens) / s - mean);
  return std::sqrt(sum / static_cast<double>(seconds.size() - 1));
}

Result<BenchmarkResult> benchmark(const Model& model, const BenchmarkTest& test, const BenchmarkOptions& options,
                                  const Progress& progress) {
  const auto& state = *model.state();
  const model::Config& config = state.transformer->config();
  if (test.prompt < 0 || test.generate < 0 || (test.prompt > 0) == (test.generate > 0)) {
    return fail(ErrorCode::invalid_argument, concat("benchmark: found ", test.prompt, " prompt and ", test.generate,
                                                    " generated tokens; expected one of them to be 0"));
  }
  constexpr std::int64_t kMostSequences = 256;
  if (test.sequences < 1 || test.sequences > kMostSequences) {
    return fail(ErrorCode::invalid_argument,
                concat("benchmark: found ", test.sequences, " sequences; expected 1 to ", kMostSequences));
  }
  if (options.repetitions < 1) {
    return fail(ErrorCode::invalid_argument,
                concat("benchmark: found ", options.repetitions, " repetitions; expected 1 or more"));
  }
  const std::int64_t tokens = test.prompt + test.generate;
  if (test.depth < 0 || test.depth > config.max_position_embeddings ||
      tokens > config.max_position_embeddings - test.depth) {
    return fail(ErrorCode::invalid_argument,
                concat("benchmark: depth ", test.depth, " and ", tokens, " tokens; expected no more than ",
                       config.max_position_embeddings, " together, the model's maximum"));
  }
  auto cache_type = resolve_cache_type(state.checkpoint.state()->file, config, options.cache_type);
  if (!cache_type) return forward(cache_type);
  engine::SamplerSettings sampling = state.defaults.sampling;
  sampling.seed = 1;
  const engine::BenchmarkShape shape{test.prompt, test.generate, test.depth, test.sequences,
                                     SessionOptions{}.prompt_chunk};
  const Model::State::Turn turn = state.take_turn();
  auto seconds = engine::benchmark(turn.compute, shape, sampling, *cache_type, options.repetitions,
                                   [&](std::int64_t done) { return !progress || progress(done, options.repetitions); });
  if (!seconds) return forward(seconds);

  BenchmarkResult out;
  out.test = test;
  out.seconds = std::move(*seconds);
  out.tokens = test.sequences * tokens;
  // Prompts pass in chunks, one sequence after the other; decoding steps grow the depth by one each.
  model::PassCost cost;
  double pass_tokens = 0;
  const auto add = [&](const model::PassShape& pass) {
    cost += model::pass_cost(config, state.transformer->weights(), *cache_type, pass);
    pass_tokens += static_cast<double>(pass.sequences * pass.tokens);
  };
  if (test.prompt > 0) {
    for (std::int64_t begin = 0; begin < test.prompt; begin += shape.prompt_chunk) {
      const std::int64_t count = std::min(shape.prompt_chunk, test.prompt - begin);
      add({1, count, test.depth + begin, begin + count == test.prompt ? 1 : 0});
    }
  } else {
    add({test.sequences, 1, test.depth + test.generate / 2, 1});
  }
  out.bytes_per_token = static_cast<double>(cost.bytes()) / pass_tokens;
  out.macs_per_token = static_cast<double>(cost.macs()) / pass_tokens;
  out.quantised = 2 * cost.quantised_macs > cost.macs();
  out.bf16 = 2 * cost.bf16_macs > cost.macs();
  return out;
}

}  // namespace carat
