// The memory a session takes, worked out before anything is allocated.
#include <algorithm>

#include "api/state.h"
#include "base/concat.h"
#include "base/reserved_memory.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace carat {

using base::concat;

Result<tensor::DType> resolve_cache_type(const formats::Checkpoint& file, const model::Config& config,
                                         const std::string& name) {
  if (name == "f32") return tensor::DType::f32;
  if (name == "f16") return tensor::DType::f16;
  if (name == "bf16") return tensor::DType::bf16;
  if (name == "q8_0") return tensor::DType::q8_0;
  if (name != "auto") {
    return fail(ErrorCode::invalid_argument,
                concat("cache type: found \"", name, "\"; expected auto, f32, f16, bf16 or q8_0"));
  }
  const char* table = file.format() == formats::Format::gguf ? "token_embd.weight" : "embed_tokens.weight";
  const std::string prefix = file.format() == formats::Format::gguf ? std::string() : config.tensor_prefix;
  const formats::NamedTensor* embed = file.find(prefix + table);
  return embed != nullptr && embed->view.dtype == tensor::DType::f32 ? tensor::DType::f32 : tensor::DType::f16;
}

Result<std::int64_t> resolve_context_length(const model::Config& config, const SessionOptions& options) {
  if (options.prompt_chunk < 1 || options.prompt_chunk > 4096) {
    return fail(ErrorCode::invalid_argument,
                concat("prompt chunk: found ", options.prompt_chunk, "; expected 1 to 4096"));
  }
  if (options.context_length < 0 || options.context_length > config.max_position_embeddings) {
    return fail(ErrorCode::invalid_argument,
                concat("context length: found ", options.context_length, "; expected 1 to ",
                       config.max_position_embeddings, ", the model's maximum"));
  }
  return options.context_length == 0 ? config.max_position_embeddings : options.context_length;
}

std::int64_t resident_weight_bytes(const formats::Checkpoint& file, const model::Config& config) {
  std::int64_t bytes = 0;
  for (const formats::NamedTensor& tensor : file.tensors()) {
    const std::string_view part = model::part_of_tensor(file, config, tensor.name);
    if (model::belongs_to_text(part) && part != model::kPerLayerTablePart) bytes += tensor.view.size_bytes();
  }
  return bytes;
}

Result<bool> resolve_packing(const formats::Checkpoint& file, const model::Config& config, const std::string& name) {
  if (name == "packed") return true;
  if (name == "mapped") return false;
  if (name != "auto") {
    return fail(ErrorCode::invalid_argument, concat("weights: found \"", name, "\"; expected auto, packed or mapped"));
  }
  return resident_weight_bytes(file, config) <= base::free_memory_bytes() / 5 * 4;
}

Result<void> check_prompt(std::span<const TokenId> prompt, std::int64_t vocab_size, std::int64_t context_length,
                          std::int64_t model_maximum) {
  if (prompt.empty()) return fail(ErrorCode::invalid_argument, "prompt: found no tokens; expected at least one");
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] < 0 || prompt[i] >= vocab_size) {
      return fail(ErrorCode::invalid_argument,
                  concat("prompt: token ", i, " is ", prompt[i], "; expected 0 to ", vocab_size - 1));
    }
  }
  const auto count = static_cast<std::int64_t>(prompt.size());
  if (count <= context_length) return {};
  const std::string advice =
      context_length < model_maximum
          ? concat("raise the context length (--ctx; the model allows ", model_maximum, ") or shorten the prompt")
          : std::string("shorten the prompt; this is the model's maximum");
  return fail(ErrorCode::context_full,
              concat("prompt has ", count, " tokens; the context holds ", context_length, "; ", advice));
}

Result<void> Checkpoint::fits(const SessionOptions& options) const {
  const auto& config = state_->config();
  if (!config) return std::unexpected(config.error());
  auto context = resolve_context_length(*config, options);
  if (!context) return std::unexpected(context.error());
  auto dtype = resolve_cache_type(state_->file, *config, options.cache_type);
  if (!dtype) return std::unexpected(dtype.error());
  const std::int64_t weights = resident_weight_bytes(state_->file, *config);
  const std::int64_t memory = base::usable_memory_bytes();
  const auto needed = [&](std::int64_t length) {
    return weights + model::plan_kv_cache(*config, *dtype, length, std::min(length, options.prompt_chunk)).total_bytes;
  };
  if (needed(*context) <= memory) return {};
  std::int64_t low = 0, high = *context;  // the longest context that fits lies in [low, high)
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (needed(middle) <= memory ? low : high) = middle;
  }
  const auto gib = [](std::int64_t bytes) {
    const std::int64_t tenths = bytes * 10 >> 30;
    return concat(tenths / 10, ".", tenths % 10, " GiB");
  };
  if (low == 0) {
    return fail(ErrorCode::out_of_memory,
                concat("memory: the weights alone take ", gib(weights), " of the ", gib(memory),
                       " this process may use; take a smaller or quantised model"));
  }
  return fail(ErrorCode::out_of_memory,
              concat("memory: a context of ", *context, " takes ", gib(needed(*context)), " with the weights, but ",
                     gib(memory), " may be used; --ctx ", low, " fits"));
}

Result<void> Checkpoint::accepts(const RenderedPrompt& prompt, const SessionOptions& options) const {
  if (auto room = fits(options); !room) return room;
  const model::Config& config = *state_->config();
  return check_prompt(prompt.ids, config.vocab_size, *resolve_context_length(config, options),
                      config.max_position_embeddings);
}

}  // namespace carat
