// carat detokenize: token ids to text.
#include <memory>
#include <string>
#include <vector>

#include "carat/checkpoint.h"
#include "cli/command.h"
#include "cli/id_list.h"
#include "cli/input.h"
#include "cli/model_options.h"
#include "cli/option_values.h"
#include "cli/terminal.h"

namespace carat::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  carat detokenize gemma-4-E2B-it 9259 1902
  carat detokenize gemma-4-E2B-it 2,9259,1902 --skip-special
  carat tokenize gemma-4-E2B-it --file book.txt | carat detokenize gemma-4-E2B-it

A pipe receives exactly the text, without a line break at the end.)";

struct DetokenizeOptions {
  std::string model;
  std::vector<std::string> ids;
  bool skip_special = false, json = false;
};

Result<ExitCode> detokenize(const DetokenizeOptions& options, Output& output) {
  std::vector<TokenId> ids;
  if (!options.ids.empty()) {
    for (const std::string& text : options.ids) {
      const auto more = parse_ids(text, "IDS");
      ids.insert(ids.end(), more.begin(), more.end());
    }
  } else {
    if (standard_input_is_terminal()) usage_error("nothing to detokenize: give IDS, or pipe them in");
    auto text = read_standard_input();
    if (!text) return forward(text);
    auto read = read_ids(*text, "standard input");
    if (!read) return forward(read);
    ids = std::move(*read);
  }
  auto checkpoint = Checkpoint::open(options.model);
  if (!checkpoint) return forward(checkpoint);
  auto text = checkpoint->detokenize(ids, !options.skip_special);
  if (!text) return forward(text);
  if (options.json) {
    output.write(dump_json({{"text", *text}}) + "\n");
  } else if (const Terminal terminal = Terminal::standard_output(); terminal.present) {
    output.write(displayable(*text) + (text->ends_with('\n') ? "" : "\n"));
  } else {
    output.write(*text);
  }
  return ExitCode::success;
}

}  // namespace

Command add_detokenize(CLI::App& program) {
  auto options = std::make_shared<DetokenizeOptions>();
  CLI::App& app = *program.add_subcommand("detokenize", "Turn token ids into text");
  app.footer(kExamples);
  add_model_path(app, options->model);
  app.add_option("IDS", options->ids,
                 "Token ids, separated by spaces or commas (default: what is piped in; JSON will do)");
  app.add_flag("--skip-special", options->skip_special, "Leave control tokens out instead of writing them");
  app.add_flag("--json", options->json, "Print {\"text\":…}");
  return {&app, [options](Output& output) { return detokenize(*options, output); }};
}

}  // namespace carat::cli
