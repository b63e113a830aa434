#include "engine/benchmark.h"

#include <algorithm>
#include <chrono>
#include <random>

namespace carat::engine {
namespace {

using Clock = std::chrono::steady_clock;

struct Run {
  const Compute& compute;
  const BenchmarkShape& shape;
  std::vector<model::KvCache> caches;
  std::vector<Sampler> samplers;
  std::vector<TokenId> last;  // what each sequence goes on with
  std::mt19937 random{1};

  std::int64_t vocab() const { return compute.transformer.config().vocab_size; }
  TokenId any_token() { return static_cast<TokenId>(random() % static_cast<std::uint32_t>(vocab())); }

  Result<void> read(model::KvCache& cache, std::int64_t tokens, bool logits) {
    std::vector<TokenId> ids(static_cast<std::size_t>(tokens));
    for (TokenId& id : ids) id = any_token();
    for (std::int64_t begin = 0; begin < tokens; begin += shape.prompt_chunk) {
      const std::int64_t count = std::min(shape.prompt_chunk, tokens - begin);
      const bool wanted = logits && begin + count == tokens;
      const model::SequenceChunk chunk{
          &cache, std::span(ids).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
          wanted ? count - 1 : count};
      auto done = compute.transformer.forward(compute.context, compute.workspace, {&chunk, 1});
      if (!done) return std::unexpected(done.error());
    }
    return {};
  }

  Result<void> prompts() {
    for (model::KvCache& cache : caches) {
      if (auto done = read(cache, shape.prompt, true); !done) return done;
    }
    return {};
  }

  Result<void> decode(std::int64_t steps) {
    std::vector<model::SequenceChunk> chunks(caches.size());
    for (std::int64_t step = 0; step < steps; ++step) {
      for (std::size_t s = 0; s < caches.size(); ++s) chunks[s] = {&caches[s], {&last[s], 1}, 0};
      auto logits = compute.transformer.forward(compute.context, compute.workspace, chunks);
      if (!logits) return std::unexpected(logits.error());
      for (std::size_t s = 0; s < caches.size(); ++s) {
        const auto row = logits->subspan(s * static_cast<std::size_t>(vocab()), static_cast<std::size_t>(vocab()));
        last[s] = samplers[s].sample(row, {}, 0);
      }
    }
    return {};
  }
};

}  // namespace

Result<std::vector<double>> benchmark(const Compute& compute, const BenchmarkShape& shape,
                                      const SamplerSettings& sampling, tensor::DType cache_type,
                                      std::int64_t repetitions, const std::function<bool(std::int64_t)>& progress) {
  Run run{compute, shape, {}, {}, {}};
  const std::int64_t context = shape.depth + std::max(shape.prompt, shape.generate);
  std::vector<model::KvCache::RingSnapshot> filled;
  for (std::int64_t s = 0; s < shape.sequences; ++s) {
    auto cache = model::KvCache::create(compute.transformer.config(), cache_type, context, shape.prompt_chunk);
    if (!cache) return forward(cache);
    run.caches.push_back(std::move(*cache));
    if (auto done = run.read(run.caches.back(), shape.depth, false); !done) return std::unexpected(done.error());
    filled.push_back(run.caches.back().snapshot());
    run.samplers.emplace_back(sampling);
    run.last.push_back(run.any_token());
  }
  std::vector<double> seconds;
  for (std::int64_t repetition = 0; repetition <= repetitions; ++repetition) {
    for (std::size_t s = 0; s < run.caches.size(); ++s) {
      if (shape.depth > 0)
        run.caches[s].restore(filled[s]);
      else
        run.caches[s].truncate(0);
    }
    const auto from = Clock::now();
    // Two steps warm decoding up: what is allocated once is there after the first.
    auto done = shape.prompt > 0
                    ? run.prompts()
                    : run.decode(repetition == 0 ? std::min<std::int64_t>(2, shape.generate) : shape.generate);
    if (!done) return std::unexpected(done.error());
    if (repetition > 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - from).count());
    if (progress && !progress(repetition)) return fail(ErrorCode::cancelled, "cancelled while measuring");
  }
  return seconds;
}

}  // namespace carat::engine
