// What is said about an answer once it is complete: the JSON document of `--json`, and the statistics on standard
// error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "carat/checkpoint.h"
#include "carat/session.h"
#include "cli/input.h"

namespace carat::cli {

/// {"text","thought","tool_calls","ids","finish_reason","usage","timings","logprobs"}; logprobs is null unless asked
/// for.
Json answer_json(const Generation& answer, const Checkpoint& checkpoint, double load_seconds, bool with_logprobs);

/// Lines for people: times and speeds, why the answer ended, memory and seed.
std::vector<std::string> answer_statistics(const Generation& answer, const GenerateOptions& options,
                                           double load_seconds, std::int64_t context_length);

/// Why the answer ended, as the rest of "ended: …".
std::string finish_text(const Generation& answer, const GenerateOptions& options, std::int64_t context_length);

/// Tokens of the answer per second. The first token comes with the prompt and is not counted.
double decode_rate(const Generation& answer);
/// Computed prompt tokens (those not found in the cache) per second.
double prompt_rate(const Generation& answer);

/// Most memory this process ever held (VmHWM), mapped weights included; 0 when the system does not say.
std::int64_t peak_memory_bytes();

}  // namespace carat::cli
