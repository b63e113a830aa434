// carat prompt: a conversation to the text and ids the model would be given.
#include <memory>
#include <string>

#include "carat/checkpoint.h"
#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/id_list.h"
#include "cli/input.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/option_values.h"
#include "cli/terminal.h"

namespace carat::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  carat prompt gemma-4-E2B-it --messages chat.json
  carat prompt gemma-4-E2B-it --messages chat.json --tools tools.json --think
  echo '[{"role":"user","content":"Hi"}]' | carat prompt gemma-4-E2B-it

Prints the rendered text as it is, then, on the last line, its ids.)";

struct PromptCommandOptions {
  std::string model, messages, system, tools;
  bool no_generation_prompt = false, json = false;
  PromptOptions rendering;
  MediaArguments media;
};

Result<ExitCode> prompt(PromptCommandOptions options, Output& output) {
  if (options.messages.empty()) {
    if (standard_input_is_terminal()) usage_error("no conversation: give --messages FILE, or pipe one in");
    options.messages = "-";
  }
  if (options.rendering.continue_final_message && options.no_generation_prompt) {
    usage_error("--continue-final and --no-generation-prompt do not go together");
  }
  auto messages = read_messages(options.messages, options.system);
  if (!messages) return forward(messages);
  auto tools = read_tools(options.tools);
  if (!tools) return forward(tools);
  auto checkpoint = Checkpoint::open(options.model, options.media.projector);
  if (!checkpoint) return forward(checkpoint);
  options.rendering.add_generation_prompt = !options.no_generation_prompt && !options.rendering.continue_final_message;
  options.rendering.media = options.media.options;
  options.rendering.media.folder = messages_folder(options.messages);
  auto rendered = render(*checkpoint, *messages, *tools, options.rendering);
  if (!rendered) return forward(rendered);
  for (const std::string& line : media_report(rendered->media)) print_note(line);
  if (options.json) {
    output.write("{\"text\":" + dump_json(rendered->text) + ",\"ids\":[" + join_ids(rendered->ids, ',') + "]}\n");
    return ExitCode::success;
  }
  output.write(Terminal::standard_output().present ? displayable(rendered->text) : rendered->text);
  output.write("\n" + join_ids(rendered->ids, ' ') + "\n");
  return ExitCode::success;
}

}  // namespace

Command add_prompt(CLI::App& program) {
  auto options = std::make_shared<PromptCommandOptions>();
  CLI::App& app = *program.add_subcommand("prompt", "Show the prompt a conversation becomes, as text and ids");
  app.footer(kExamples);
  add_model_path(app, options->model);
  app.add_option("--messages", options->messages, "A JSON array of OpenAI-style messages (default: what is piped in)")
      ->type_name("FILE");
  app.add_option("--tools", options->tools, "A JSON array of OpenAI-style tools")->type_name("FILE");
  app.add_option("--system", options->system, "A system prompt to put in front")->type_name("TEXT");
  auto* think = app.add_flag("--think", options->rendering.think, "Ask the model to think first");
  app.add_flag("--no-think")->description("Do not (default)")->excludes(think);
  app.add_flag("--preserve-thinking", options->rendering.preserve_thinking,
               "Keep the thoughts of earlier turns that called tools");
  add_choice(app, "--template", options->rendering.prompt_template, {"small", "large", "gemma3"},
             "Prompt format, for a model whose own is missing or unknown (default: the model's own)");
  app.add_flag("--continue-final", options->rendering.continue_final_message,
               "Leave the last message, of the assistant, open to be continued");
  app.add_flag("--no-generation-prompt", options->no_generation_prompt, "Do not open a turn for the model at the end");
  add_media_options(app, options->media);
  app.add_flag("--json", options->json, "Print {\"text\":…,\"ids\":[…]}");
  return {&app, [options](Output& output) { return prompt(*options, output); }};
}

}  // namespace carat::cli
