// JSON as Carat reads it: a thin wrapper of nlohmann::json that adds limits and turns every failure into a Result.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

#include "carat/result.h"

namespace carat::formats {

/// Keeps the order of keys, as templates and messages need.
using Json = nlohmann::ordered_json;

struct JsonLimits {
  std::size_t max_bytes = std::size_t{256} << 20;
  std::size_t max_depth = 200;
};

/// Parses UTF-8 JSON text. `origin` names it in errors (a path, "request body"). Refuses invalid UTF-8, lone
/// surrogates, numbers out of range (1e999), trailing bytes, duplicate keys, and anything past the limits; the error
/// gives the byte.
Result<Json> parse_json(std::string_view text, std::string_view origin, const JsonLimits& limits = {});

}  // namespace carat::formats
