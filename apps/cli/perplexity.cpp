// carat perplexity: how well a model predicts a text, with the windows and scoring rule of llama-perplexity.
#include <limits>
#include <memory>
#include <string>

#include "carat/model.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/number_text.h"
#include "cli/option_values.h"
#include "cli/terminal.h"

namespace carat::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  carat perplexity model.gguf --file wiki.test.raw
  carat perplexity model.gguf --file wiki.test.raw --ctx 2048 --chunks 20 --json

The text is cut into windows of --ctx tokens; the first token of each becomes the
beginning-of-text token, and the second half of each is scored. llama-perplexity
does the same, so its figures compare directly.)";

struct PerplexityCommandOptions {
  std::string model, file;
  bool json = false;
  PerplexityOptions scoring;
  ModelOptions loading;
};

Result<ExitCode> perplexity(const PerplexityCommandOptions& options, Output& output) {
  auto text = options.file == "-" ? read_standard_input() : read_file(options.file);
  if (!text) return forward(text);
  auto checkpoint = Checkpoint::open(options.model);
  if (!checkpoint) return forward(checkpoint);
  const InterruptScope interrupt;
  auto model = load_model(*checkpoint, options.loading, interrupt);
  if (!model) return forward(model);

  ProgressBar bar("Scoring", "tokens");
  auto scored = model->perplexity(*text, options.scoring, [&](const Perplexity& so_far, std::int64_t total_windows) {
    // Every window costs the same, so whole windows of tokens measure speed and time left.
    bar.update(so_far.windows * options.scoring.window, total_windows * options.scoring.window,
               so_far.windows > 0 ? "perplexity " + fixed(so_far.perplexity, 3) : "");
    return !interrupt.stopped();
  });
  bar.finish();
  if (!scored) return forward(scored);
  if (options.json) {
    output.write(
        dump_json(
            {{"perplexity", scored->perplexity}, {"stderr", scored->standard_error}, {"tokens", scored->tokens}}) +
        "\n");
  } else {
    output.write("perplexity " + fixed(scored->perplexity, 4) + " +/- " + fixed(scored->standard_error, 4) + " over " +
                 grouped(scored->tokens) + " tokens in " + grouped(scored->windows) + " windows\n");
  }
  return ExitCode::success;
}

}  // namespace

Command add_perplexity(CLI::App& program) {
  auto options = std::make_shared<PerplexityCommandOptions>();
  CLI::App& app = *program.add_subcommand("perplexity", "Measure how well a model predicts a text");
  app.footer(kExamples);
  add_model_path(app, options->model);
  app.add_option("--file", options->file, "The text to score; - is standard input")->type_name("TEXT")->required();
  add_integer(app, "--ctx", options->scoring.window, 4, std::numeric_limits<std::int32_t>::max(),
              "Tokens per window (default: 512)");
  add_integer(app, "--chunks", options->scoring.max_windows, 1, std::numeric_limits<std::int32_t>::max(),
              "Windows to score at most (default: all)");
  app.add_flag("--json", options->json, "Print {\"perplexity\":…,\"stderr\":…,\"tokens\":…}");
  add_compute_options(app, options->loading);
  add_cache_type(app, options->scoring.cache_type);
  return {&app, [options](Output& output) { return perplexity(*options, output); }};
}

}  // namespace carat::cli
