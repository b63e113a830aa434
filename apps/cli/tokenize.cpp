// carat tokenize: text to token ids.
#include <memory>
#include <optional>
#include <string>

#include "carat/checkpoint.h"
#include "cli/command.h"
#include "cli/id_list.h"
#include "cli/input.h"
#include "cli/model_options.h"
#include "cli/option_values.h"

namespace carat::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  carat tokenize gemma-4-E2B-it "Hello world"
  carat tokenize vocabulary.gguf --file book.txt
  printf 'no line break added' | carat tokenize gemma-4-E2B-it --json
  carat tokenize gemma-4-E2B-it --special "<|turn>user"
  carat tokenize gemma-4-E2B-it -- "--text that begins with a dash"

Text is taken byte for byte. Without --special no text can become a control
token. A GGUF file that holds a vocabulary alone will do.)";

struct TokenizeOptions {
  std::string model;
  std::optional<std::string> text;
  std::string file;
  bool special = false, bos = false, json = false;
};

Result<std::string> input_text(const TokenizeOptions& options) {
  if (options.text) return *options.text;
  if (!options.file.empty() && options.file != "-") return read_file(options.file);
  if (options.file.empty() && standard_input_is_terminal())
    usage_error("nothing to tokenize: give TEXT or --file FILE, or pipe a text in");
  return read_standard_input();
}

Result<ExitCode> tokenize(const TokenizeOptions& options, Output& output) {
  auto text = input_text(options);
  if (!text) return forward(text);
  auto checkpoint = Checkpoint::open(options.model);
  if (!checkpoint) return forward(checkpoint);
  auto ids = checkpoint->tokenize(*text, options.special, options.bos);
  if (!ids) return forward(ids);
  output.write(options.json ? "{\"ids\":[" + join_ids(*ids, ',') + "]}\n" : join_ids(*ids, ' ') + "\n");
  return ExitCode::success;
}

}  // namespace

Command add_tokenize(CLI::App& program) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App& app = *program.add_subcommand("tokenize", "Turn text into token ids");
  app.footer(kExamples);
  add_model_path(app, options->model);
  auto* text = app.add_option("TEXT", options->text, "The text (default: what is piped in)");
  app.add_option("--file", options->file, "Read the text from a file; - is standard input")
      ->type_name("FILE")
      ->excludes(text);
  app.add_flag("--special", options->special, "Let control tokens written in the text (<|turn>, …) become their ids");
  app.add_flag("--bos", options->bos, "Put the beginning-of-text token first");
  app.add_flag("--json", options->json, "Print {\"ids\":[…]}");
  return {&app, [options](Output& output) { return tokenize(*options, output); }};
}

}  // namespace carat::cli
