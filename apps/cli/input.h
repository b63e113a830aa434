// Bytes and JSON from files, standard input and the command line, exactly as they are. Limits keep a hostile file from
// exhausting memory or the stack.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "carat/result.h"

namespace carat::cli {

/// Keeps the order of keys.
using Json = nlohmann::ordered_json;

/// Every byte of a file. Errors: bad_file, naming the path.
Result<std::string> read_file(const std::filesystem::path& path);

/// Every byte of standard input. Errors: io.
Result<std::string> read_standard_input();

/// True when standard input is a terminal, where waiting for a pipe would look like hanging.
bool standard_input_is_terminal();

/// Parses JSON of at most 200 levels. `origin` names it in errors. Errors: invalid_argument.
Result<Json> parse_json(std::string_view text, std::string_view origin);

/// JSON on one line; invalid UTF-8 becomes U+FFFD, so that what is printed always parses.
std::string dump_json(const Json& json);

/// Refuses text that is not UTF-8, naming the first bad byte. Errors: invalid_argument.
Result<void> check_utf8(std::string_view text, std::string_view what);

}  // namespace carat::cli
