// Which released size a model's configuration is, for people: nothing computes by it.
#pragma once

#include <optional>
#include <string>

#include "carat/checkpoint.h"

namespace carat {

/// "Gemma 4 E2B", … when the family, the vocabulary, every layer and every width of `summary` are those of that
/// release; nothing otherwise. The context length may differ, and so may the tensors.
std::optional<std::string> released_size(const CheckpointSummary& summary);

}  // namespace carat
