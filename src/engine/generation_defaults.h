// What a checkpoint says about generating from it: sampling defaults, stop tokens, suppressed tokens.
#pragma once

#include <vector>

#include "carat/result.h"
#include "engine/sampler.h"
#include "formats/checkpoint.h"
#include "text/tokenizer.h"

namespace carat::engine {

struct GenerationDefaults {
  SamplerSettings sampling;
  std::vector<TokenId> stop_tokens;
};

/// From generation_config.json, else config.json (eos_token_id), else the published defaults (temperature 1, top_k 64,
/// top_p 0.95); from a GGUF file its eos and the end-of-turn tokens of its vocabulary. `tokenizer` may be nullptr.
/// Errors: bad_file naming the field.
Result<GenerationDefaults> read_generation_defaults(const formats::Checkpoint& checkpoint,
                                                    const text::Tokenizer* tokenizer);

}  // namespace carat::engine
