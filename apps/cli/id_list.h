// Token ids as text: what `tokenize` and `prompt` print and `detokenize` reads.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/options.h"
#include "carat/result.h"

namespace carat::cli {

std::string join_ids(std::span<const TokenId> ids, char separator);

/// Ids separated by white space or commas, or any of the JSON this program prints them in: [2,9] or {"ids":[2,9]}.
/// `origin` names the text in errors. Errors: invalid_argument.
Result<std::vector<TokenId>> read_ids(std::string_view text, std::string_view origin);

}  // namespace carat::cli
