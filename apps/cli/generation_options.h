// The options of commands that generate: how the next token is chosen, and when to stop.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "carat/options.h"

namespace carat::cli {

/// Declares -n, --stop and the sampling options, which write straight into `options`.
void add_generation_options(CLI::App& app, GenerateOptions& options);

}  // namespace carat::cli
