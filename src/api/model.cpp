// carat::Model: weights prepared for this machine, and the whole-text computations on them.
#include "carat/model.h"

#include "api/state.h"
#include "base/concat.h"
#include "base/usable_cores.h"
#include "engine/perplexity.h"

namespace carat {

using base::concat;

Result<int> resolve_threads(int threads) {
  constexpr int kMaxThreads = 1024;
  if (threads < 0 || threads > kMaxThreads) {
    return fail(ErrorCode::invalid_argument,
                concat("threads: found ", threads, "; expected 1 to ", kMaxThreads, ", or 0 for all cores"));
  }
  return threads == 0 ? base::usable_cores() : threads;
}

Result<Model> Model::load(const Checkpoint& checkpoint, const ModelOptions& options, const Progress& progress) {
  const auto& config = checkpoint.state()->config();
  if (!config) return std::unexpected(config.error());
  auto threads = resolve_threads(options.threads);
  if (!threads) return forward(threads);
  auto state = std::make_shared<State>();
  state->checkpoint = checkpoint;
  auto dispatch = kernels::select_kernels(options.isa);
  if (!dispatch) return forward(dispatch);
  state->dispatch = std::move(*dispatch);
  state->pool = std::make_unique<base::ThreadPool>(*threads);
  auto blocks = resolve_vision_blocks(*checkpoint.state(), *config, options.image_mask);
  if (!blocks) return forward(blocks);
  auto pack = resolve_packing(checkpoint.state()->file, *config, options.weights);
  if (!pack) return forward(pack);
  auto weights = model::load_weights(checkpoint.state()->file, *config, *state->dispatch.table,
                                     *pack ? state->pool.get() : nullptr, progress);
  if (!weights) return forward(weights);
  model::Config settled = *config;
  settled.vision_blocks = *blocks;
  state->transformer = std::make_unique<const model::Transformer>(std::move(settled), std::move(*weights));
  state->context.emplace(state->dispatch.table, *state->pool);
  const auto& tokenizer = checkpoint.state()->tokenizer();
  auto defaults = engine::read_generation_defaults(checkpoint.state()->file, tokenizer ? &*tokenizer : nullptr);
  if (!defaults) return forward(defaults);
  state->defaults = std::move(*defaults);
  Model out;
  out.state_ = std::move(state);
  return out;
}

const Checkpoint& Model::checkpoint() const { return state_->checkpoint; }
std::int64_t Model::max_context_length() const { return state_->transformer->config().max_position_embeddings; }
std::int64_t Model::vocab_size() const { return state_->transformer->config().vocab_size; }
int Model::threads() const { return state_->pool->threads(); }
const std::string& Model::isa() const { return state_->dispatch.name; }
bool Model::packed() const { return state_->transformer->weights().owned_bytes > 0; }

std::vector<KernelChoice> Model::kernels() const {
  std::vector<KernelChoice> out;
  for (const auto& row : state_->dispatch.report) out.push_back({row.operation, row.chosen, row.refused});
  return out;
}

std::vector<std::string> Model::isa_names() { return kernels::isa_names(); }

Result<Perplexity> Model::perplexity(std::string_view text, const PerplexityOptions& options,
                                     const std::function<bool(const Perplexity&, std::int64_t)>& progress) const {
  if (options.window < 4 || options.window > max_context_length()) {
    return fail(ErrorCode::invalid_argument, concat("perplexity: window is ", options.window, "; expected 4 to ",
                                                    max_context_length(), ", the model's maximum"));
  }
  const auto& tokenizer = state_->checkpoint.state()->tokenizer();
  if (!tokenizer) return std::unexpected(tokenizer.error());
  const auto bos = tokenizer->bos();
  if (!bos) return fail(ErrorCode::unsupported, "perplexity: the tokenizer has no BOS token");
  const std::vector<TokenId> ids = tokenizer->encode(text, {.special = false, .bos = true});
  auto cache_type =
      resolve_cache_type(state_->checkpoint.state()->file, state_->transformer->config(), options.cache_type);
  if (!cache_type) return forward(cache_type);
  const auto convert = [](const engine::PerplexitySum& sum) {
    return Perplexity{sum.perplexity(), sum.standard_error(), sum.tokens, sum.windows};
  };
  const State::Turn turn = state_->take_turn();
  auto sum = engine::perplexity(turn.compute, ids, *bos, options.window, options.max_windows, *cache_type,
                                [&](const engine::PerplexitySum& so_far, std::int64_t total) {
                                  return !progress || progress(convert(so_far), total);
                                });
  if (!sum) return forward(sum);
  return convert(*sum);
}

}  // namespace carat
