#include "engine/generation_defaults.h"

#include "base/concat.h"

namespace carat::engine {
namespace {

using base::concat;
using formats::Json;

// A token id or a list of them.
Result<std::vector<TokenId>> token_list(const Json& value, const std::string& where) {
  std::vector<TokenId> out;
  const auto add = [&](const Json& entry) {
    if (!entry.is_number_integer() || entry.get<std::int64_t>() < 0 || entry.get<std::int64_t>() > INT32_MAX)
      return false;
    out.push_back(entry.get<TokenId>());
    return true;
  };
  bool good = true;
  if (value.is_array()) {
    for (const Json& entry : value) good = good && add(entry);
  } else if (!value.is_null()) {
    good = add(value);
  }
  if (!good) return fail(ErrorCode::bad_file, concat(where, ": expected a token id or a list of them"));
  return out;
}

Result<void> read_number(const Json& json, const char* key, const std::string& where, float& out) {
  if (!json.contains(key) || json.at(key).is_null()) return {};
  if (!json.at(key).is_number()) return fail(ErrorCode::bad_file, concat(where, ": ", key, " is no number"));
  out = json.at(key).get<float>();
  return {};
}

Result<GenerationDefaults> from_huggingface(const formats::Checkpoint& checkpoint) {
  GenerationDefaults out;
  const Json& generation = checkpoint.generation_config();
  const std::string where = (checkpoint.path() / "generation_config.json").string();
  if (generation.is_object()) {
    SamplerSettings& s = out.sampling;
    for (const auto& [key, field] : {std::pair{"temperature", &s.temperature},
                                     {"top_p", &s.top_p},
                                     {"min_p", &s.min_p},
                                     {"typical_p", &s.typical_p},
                                     {"repetition_penalty", &s.repetition_penalty}}) {
      if (auto ok = read_number(generation, key, where, *field); !ok) return forward(ok);
    }
    if (generation.contains("top_k") && !generation.at("top_k").is_null()) {
      const Json& top_k = generation.at("top_k");
      if (!top_k.is_number_integer() || top_k.get<std::int64_t>() < 0 || top_k.get<std::int64_t>() > INT32_MAX) {
        return fail(ErrorCode::bad_file,
                    concat(where, ": top_k is ", top_k.dump().substr(0, 40), "; expected a whole number from 0"));
      }
      s.top_k = top_k.get<int>();
    }
    if (generation.contains("do_sample") && !generation.at("do_sample").is_null()) {
      if (!generation.at("do_sample").is_boolean())
        return fail(ErrorCode::bad_file, concat(where, ": do_sample is neither true nor false"));
      if (!generation.at("do_sample").get<bool>()) s.temperature = 0;
    }
    if (generation.contains("suppress_tokens")) {
      auto list = token_list(generation.at("suppress_tokens"), where + ": suppress_tokens");
      if (!list) return forward(list);
      s.suppress_tokens = std::move(*list);
    }
  }
  // The nearest of generation_config.json, config.json and its text_config that names an end wins.
  const Json* sources[] = {&generation, &checkpoint.config(), nullptr};
  if (checkpoint.config().contains("text_config")) sources[2] = &checkpoint.config().at("text_config");
  for (const Json* source : sources) {
    if (source == nullptr || !source->is_object() || !source->contains("eos_token_id")) continue;
    auto list = token_list(source->at("eos_token_id"), concat(checkpoint.path(), ": eos_token_id"));
    if (!list) return forward(list);
    out.stop_tokens = std::move(*list);
    if (!out.stop_tokens.empty()) break;
  }
  return out;
}

}  // namespace

Result<GenerationDefaults> read_generation_defaults(const formats::Checkpoint& checkpoint,
                                                    const text::Tokenizer* tokenizer) {
  GenerationDefaults out;
  if (checkpoint.format() == formats::Format::huggingface) {
    auto read = from_huggingface(checkpoint);
    if (!read) return read;
    out = std::move(*read);
    if (!out.stop_tokens.empty()) return out;
  } else {
    auto suppressed = checkpoint.metadata().integers("tokenizer.ggml.suppress_tokens");
    if (!suppressed) return forward(suppressed);
    if (*suppressed) {
      for (const std::int64_t id : **suppressed) {
        if (id < 0 || id > INT32_MAX) {
          return fail(ErrorCode::bad_file,
                      concat(checkpoint.path(), ": tokenizer.ggml.suppress_tokens holds ", id, "; expected token ids"));
        }
        out.sampling.suppress_tokens.push_back(static_cast<TokenId>(id));
      }
    }
  }
  // No list in the file: the end token and whatever ends a turn in this vocabulary (<|tool_response> hands over to the
  // tool executor).
  if (tokenizer != nullptr) {
    if (const auto eos = tokenizer->eos()) out.stop_tokens.push_back(*eos);
    for (const char* literal : {"<turn|>", "<|tool_response>", "<end_of_turn>"}) {
      if (const auto id = tokenizer->find_special(literal)) out.stop_tokens.push_back(*id);
    }
  }
  return out;
}

}  // namespace carat::engine
