// Messages as the library takes them: OpenAI-style JSON, built from the command line or read from a file.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"
#include "cli/input.h"

namespace carat::cli {

/// A system message (when `system` is not empty) and one user message, its media before its text. Errors:
/// invalid_argument when not UTF-8.
Result<std::string> make_messages(std::string_view system, std::string_view user, const std::vector<Json>& media = {});

/// The messages of a file ("-" = standard input), with a system message put in front when `system` is not empty.
/// Errors: bad_file, invalid_argument (not a JSON array; a system message on both sides).
Result<std::string> read_messages(const std::string& path, std::string_view system);

/// The folder paths inside a messages file start from: that of the file, nothing for standard input.
std::filesystem::path messages_folder(const std::string& path);

/// The JSON of a tools file as it is; empty for an empty path. Errors: bad_file, invalid_argument (not a JSON array).
Result<std::string> read_tools(const std::string& path);

}  // namespace carat::cli
