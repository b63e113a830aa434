// What a subcommand is to the program: its options, declared on a CLI11 app, and what runs once they are parsed.
// One file per subcommand defines one of the functions below; program.cpp lists them.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "carat/result.h"
#include "cli/exit_code.h"
#include "cli/output.h"

namespace carat::cli {

struct Command {
  CLI::App* app = nullptr;
  /// Runs with parsed options. Throws CLI::ParseError for wrong usage that only shows up here (no prompt and nothing
  /// piped in); every other failure is the Result.
  std::function<Result<ExitCode>(Output&)> run;
};

Command add_run(CLI::App& program);
Command add_chat(CLI::App& program);
Command add_inspect(CLI::App& program);
Command add_tokenize(CLI::App& program);
Command add_detokenize(CLI::App& program);
Command add_prompt(CLI::App& program);
Command add_trace(CLI::App& program);
Command add_perplexity(CLI::App& program);
Command add_bench(CLI::App& program);
Command add_doctor(CLI::App& program);

}  // namespace carat::cli
