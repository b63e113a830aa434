// carat run: one prompt in, one answer out, streamed as it is generated.
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "carat/session.h"
#include "cli/answer_printer.h"
#include "cli/answer_report.h"
#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/generation_options.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/option_values.h"

namespace carat::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  carat run gemma-4-E2B-it -p "Why is the sky blue?"
  carat run gemma-4-E2B-it --think -p "What is 17 * 23?" --temp 0
  carat run gemma-4-E2B-it --image receipt.jpg -p "What does it add up to?"
  cat report.txt | carat run gemma-4-E2B-it --system "Summarise this."
  carat run base.gguf --raw -p "Once upon a time" -n 50
  carat run gemma-4-E2B-it --messages chat.json --tools tools.json --json

Standard output receives the answer alone: the thought is shown (dimmed) only on
a terminal, and a tool call is one line of JSON in a pipe. Statistics go to
standard error. With --raw a pipe receives exactly the continuation.)";

struct RunOptions {
  std::string model;
  std::optional<std::string> prompt;
  std::string messages, system, tools;
  bool think = false, raw = false, json = false;
  std::optional<int> logprobs;
  MediaArguments media;
  PromptOptions rendering;
  ModelOptions loading;
  SessionOptions session;
  GenerateOptions generation;
};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Combinations that make no sense are refused before anything is opened.
void check_usage(const RunOptions& options) {
  if (options.logprobs && !options.json) usage_error("--logprobs needs --json");
  if (options.raw) {
    const auto refuse = [](const char* name) {
      usage_error(std::string("--raw continues plain text; ") + name + " does not go with it");
    };
    if (!options.messages.empty()) refuse("--messages");
    if (!options.system.empty()) refuse("--system");
    if (!options.tools.empty()) refuse("--tools");
    if (options.think) refuse("--think");
    if (!options.rendering.prompt_template.empty()) refuse("--template");
    if (!options.media.parts.empty()) refuse("a picture, sound or video");
  }
  if (!options.messages.empty() && !options.media.parts.empty()) {
    usage_error("--messages holds the whole conversation: put media into its content parts");
  }
  if (!options.prompt && options.messages.empty() && standard_input_is_terminal()) {
    usage_error("nothing to answer: give -p PROMPT or --messages FILE, or pipe a text in");
  }
}

// The prompt's text: that of -p, else every byte of standard input.
Result<std::string> prompt_text(const RunOptions& options) {
  if (options.prompt) return *options.prompt;
  auto text = read_standard_input();
  if (text && text->empty()) {
    return fail(ErrorCode::invalid_argument,
                "standard input is empty: give -p PROMPT or --messages FILE, or pipe a text in");
  }
  return text;
}

Result<RenderedPrompt> make_prompt(const RunOptions& options, const Checkpoint& checkpoint, const std::string& tools) {
  if (options.raw) {
    auto text = prompt_text(options);
    if (!text) return forward(text);
    auto ids = checkpoint.tokenize(*text, /*special=*/false, /*bos=*/true);
    if (!ids) return forward(ids);
    RenderedPrompt prompt;
    prompt.text = std::move(*text);
    prompt.ids = std::move(*ids);
    return prompt;
  }
  Result<std::string> messages;
  if (!options.messages.empty()) {
    messages = read_messages(options.messages, options.system);
  } else if (auto text = prompt_text(options); text) {
    messages = make_messages(options.system, *text, options.media.parts);
  } else {
    return forward(text);
  }
  if (!messages) return forward(messages);
  return render(checkpoint, *messages, tools, options.rendering);
}

Result<ExitCode> run(RunOptions options, Output& output) {
  check_usage(options);
  auto tools = read_tools(options.tools);
  if (!tools) return forward(tools);

  Clock::time_point start = Clock::now();
  auto checkpoint = Checkpoint::open(options.model, options.media.projector);
  if (!checkpoint) return forward(checkpoint);
  double load_seconds = seconds_since(start);
  options.rendering.think = options.think;
  options.rendering.media = options.media.options;
  options.rendering.media.folder = messages_folder(options.messages);
  auto prompt = make_prompt(options, *checkpoint, *tools);
  if (!prompt) return forward(prompt);
  options.session.snapshot_bytes = 0;  // there is no later turn
  if (auto good = checkpoint->accepts(*prompt, options.session); !good) return forward(good);

  const InterruptScope interrupt;
  start = Clock::now();
  auto model = load_model(*checkpoint, options.loading, interrupt);
  if (!model) return forward(model);
  auto session = Session::create(*model, options.session);
  if (!session) return forward(session);
  load_seconds += seconds_since(start);

  GenerateOptions& generation = options.generation;
  generation.raw = options.raw;
  generation.starts_in_thought = prompt->starts_in_thought;
  generation.tools_json = *tools;
  generation.report_logprobs = options.logprobs.has_value();
  generation.logprobs = options.logprobs.value_or(0);
  generation.cancel = interrupt.token();
  AnswerPrinter printer(output, Terminal::standard_output(), options.raw);
  for (const std::string& line : media_report(prompt->media)) print_note(line);
  ProgressBar encoding("Encoding media", ""), bar("Reading the prompt", "tokens");
  if (prompt->media.empty()) bar.update(0, static_cast<std::int64_t>(prompt->ids.size()));
  auto answer = session->generate(*prompt, generation, [&](const GenerationEvent& event) {
    if (event.kind == GenerationEvent::Kind::media) {
      encoding.update(event.done, event.total);
      return true;
    }
    if (event.kind == GenerationEvent::Kind::prompt) {
      encoding.finish();
      bar.update(event.done, event.total);
      return true;
    }
    bar.finish();
    if (!options.json) printer.print(event);
    return !output.failed();
  });
  encoding.finish();
  bar.finish();
  if (!options.json) printer.finish();
  if (!answer) return forward(answer);

  if (options.json) {
    output.write(dump_json(answer_json(*answer, *checkpoint, load_seconds, generation.report_logprobs)) + "\n");
    output.flush();
  }
  if (output.failed()) return ExitCode::bad_input;  // said by the program; the answer was cut short
  for (const std::string& line : answer_statistics(*answer, generation, load_seconds, session->context_length())) {
    print_note(line);
  }
  return interrupt.stopped() ? ExitCode::interrupted : ExitCode::success;
}

}  // namespace

Command add_run(CLI::App& program) {
  auto options = std::make_shared<RunOptions>();
  CLI::App& app = *program.add_subcommand("run", "Answer one prompt, or continue a text");
  app.footer(kExamples);
  add_model_path(app, options->model);

  constexpr const char* kPrompt = "Prompt";
  auto* prompt = app.add_option("-p,--prompt", options->prompt, "The prompt (default: what is piped in, byte for byte)")
                     ->type_name("PROMPT")
                     ->group(kPrompt);
  app.add_option("--messages", options->messages,
                 "A conversation instead: a JSON array of OpenAI-style messages; - reads it from standard input")
      ->type_name("FILE")
      ->excludes(prompt)
      ->group(kPrompt);
  app.add_option("--system", options->system, "System prompt: how the model should behave")
      ->type_name("TEXT")
      ->group(kPrompt);
  auto* think = app.add_flag("--think", options->think, "Let the model think before it answers")->group(kPrompt);
  app.add_flag("--no-think")->description("Let it answer at once (default)")->excludes(think)->group(kPrompt);
  app.add_option("--tools", options->tools, "Functions the model may call: a JSON array of OpenAI-style tools")
      ->type_name("FILE")
      ->group(kPrompt);
  add_media_files(app, options->media, kPrompt);
  add_choice(
      app, "--template", options->rendering.prompt_template, {"small", "large", "gemma3"},
      "Prompt format, for a model whose own is missing or unknown: small (Gemma 4 E2B, E4B), large (Gemma 4 12B, "
      "26B, 31B), gemma3 (default: the model's own)")
      ->group(kPrompt);
  app.add_flag("--raw", options->raw, "Continue the prompt as plain text, without any conversation around it")
      ->group(kPrompt);

  add_media_options(app, options->media);
  add_image_mask(app, options->loading);
  add_generation_options(app, options->generation);
  constexpr const char* kResult = "Result";
  app.add_flag(
         "--json", options->json,
         "Print one JSON document when done: text, thought, tool_calls, ids, finish_reason, usage, timings, logprobs")
      ->group(kResult);
  add_integer(app, "--logprobs", options->logprobs, 0, 64,
              "With --json, report the log probability of each token and of the N likeliest in its place")
      ->group(kResult);
  add_session_options(app, options->session);
  add_compute_options(app, options->loading);
  return {&app, [options](Output& output) { return run(*options, output); }};
}

}  // namespace carat::cli
