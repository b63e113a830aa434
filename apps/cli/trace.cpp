// carat trace: every named intermediate of one forward pass into a file, and the comparison of two such files: the
// proof of correctness on a user's own machine.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "carat/model.h"
#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/number_text.h"
#include "cli/option_values.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace carat::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  carat trace gemma-4-E2B-it --tokens 2,9259,1902 --out trace.safetensors
  carat trace gemma-4-E2B-it --messages chat.json --compare reference.safetensors
  carat trace model.gguf --tokens 2,9259 --compare bf16.safetensors --tolerance 0.01

Media of the messages come first: image.K.patches, .positions, .tower, .projected,
audio.K.mel, … and video.K.frame.J.….

The file holds ids, embedding, per_layer_inputs, layer.0, layer.1, …, norm and
logits, in f32, one row per token. --compare looks at the tensors both files name:
max|a-b| / max|b| of each must not exceed the tolerance, else exit code 3.)";

/// The kernels whose traces of bf16 weights are those of a reference run in bf16 (docs/numerics.md).
constexpr std::string_view kRoundingIsa = "avx512_bf16";

struct TraceOptions {
  std::string model, messages, out, reference;
  std::vector<TokenId> tokens;
  bool has_tokens = false, json = false;
  double tolerance = 1e-4;
  PromptOptions rendering;
  ModelOptions loading;
  MediaArguments media;
};

// A file of its own in the temporary folder, removed with the object.
class TemporaryFile {
 public:
  TemporaryFile() = default;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  Result<std::filesystem::path> create() {
    std::error_code error;
    const auto folder = std::filesystem::temp_directory_path(error);
    std::string name = (error ? std::filesystem::path("/tmp") : folder) / "carat-trace-XXXXXX.safetensors";
    const int descriptor = ::mkstemps(name.data(), static_cast<int>(std::strlen(".safetensors")));
    if (descriptor < 0) {
      return fail(ErrorCode::io,
                  name + ": cannot create a temporary file: " + std::strerror(errno) + "; give --out FILE");
    }
    ::close(descriptor);
    path_ = name;
    return path_;
  }

 private:
  std::filesystem::path path_;
};

Result<RenderedPrompt> trace_prompt(const TraceOptions& options, const Checkpoint& checkpoint) {
  if (options.has_tokens) {
    RenderedPrompt prompt;
    prompt.ids = options.tokens;
    return prompt;
  }
  auto messages = read_messages(options.messages, "");
  if (!messages) return forward(messages);
  PromptOptions rendering = options.rendering;
  rendering.media = options.media.options;
  rendering.media.folder = messages_folder(options.messages);
  return render(checkpoint, *messages, "", rendering);
}

Json comparison_json(const TraceComparison& comparison, double tolerance) {
  Json rows = Json::array();
  for (const auto& row : comparison.rows) {
    rows.push_back({{"name", row.name},
                    {"position", row.position},
                    {"absolute_error", row.absolute_error},
                    {"relative_error", row.relative_error},
                    {"within", row.within}});
  }
  const auto* first = comparison.first_divergence();
  return {{"equal", first == nullptr},
          {"tolerance", tolerance},
          {"first_divergence", first == nullptr ? Json() : Json(first->name)},
          {"tensors", std::move(rows)}};
}

std::string comparison_text(const TraceComparison& comparison) {
  Table table({{"tensor", false}, {"position"}, {"absolute error"}, {"relative error"}, {"", false}});
  for (const auto& row : comparison.rows) {
    table.add({row.name, std::to_string(row.position), scientific(row.absolute_error, 2),
               scientific(row.relative_error, 2), row.within ? "ok" : "DIFFERS"});
  }
  return table.text();
}

Result<ExitCode> compare(const TraceOptions& options, const std::filesystem::path& trace, const std::string& isa,
                         Output& output) {
  auto comparison = compare_traces(trace, options.reference, options.tolerance);
  if (!comparison) return forward(comparison);
  output.write(options.json ? dump_json(comparison_json(*comparison, options.tolerance)) + "\n"
                            : comparison_text(*comparison));
  const auto* first = comparison->first_divergence();
  if (first == nullptr) {
    if (!options.json) {
      output.write("equal: all " + std::to_string(comparison->rows.size()) + " shared tensors within " +
                   scientific(options.tolerance, 0) + "\n");
    }
    return ExitCode::success;
  }
  output.flush();
  print_error(
      first->name + " is the first tensor that diverges from " + options.reference + ": at position " +
      std::to_string(first->position) + " by " + scientific(first->absolute_error, 2) + " (relative " +
      scientific(first->relative_error, 2) + ", tolerance " + scientific(options.tolerance, 0) + ")" +
      // A user cannot guess it from the numbers.
      (isa == kRoundingIsa ? "; beside bf16 weights " + isa + " rounds activations: --isa avx512 does not" : ""));
  return ExitCode::comparison_failed;
}

Result<ExitCode> trace(const TraceOptions& options, Output& output) {
  if (!options.has_tokens && options.messages.empty())
    usage_error("nothing to trace: give --tokens IDS or --messages FILE");
  if (options.out.empty() && options.reference.empty())
    usage_error("give --out FILE to keep the trace, --compare FILE to check it, or both");
  if (options.has_tokens && options.tokens.empty()) usage_error("--tokens: no ids");
  // A trace of a large model takes minutes; a reference that cannot be read is found out first.
  if (!options.reference.empty() && ::access(options.reference.c_str(), R_OK) != 0) {
    return fail(ErrorCode::bad_file, options.reference + ": cannot open: " + std::strerror(errno));
  }
  auto checkpoint = Checkpoint::open(options.model, options.media.projector);
  if (!checkpoint) return forward(checkpoint);
  auto prompt = trace_prompt(options, *checkpoint);
  if (!prompt) return forward(prompt);

  const InterruptScope interrupt;
  auto model = load_model(*checkpoint, options.loading, interrupt);
  if (!model) return forward(model);
  TemporaryFile temporary;
  std::filesystem::path path = options.out;
  if (path.empty()) {
    auto created = temporary.create();
    if (!created) return forward(created);
    path = *created;
  }
  {
    ProgressBar bar("Tracing", "");
    auto traced = model->trace(*prompt, path, [&](std::int64_t done, std::int64_t total) {
      bar.update(done, total);
      return !interrupt.stopped();
    });
    bar.finish();
    if (!traced) return forward(traced);
  }
  if (!options.reference.empty()) return compare(options, path, model->isa(), output);
  if (options.json) {
    output.write(dump_json({{"out", options.out}, {"tokens", prompt->ids.size()}}) + "\n");
  } else {
    output.write("wrote " + options.out + " (" + std::to_string(prompt->ids.size()) + " tokens)\n");
  }
  return ExitCode::success;
}

}  // namespace

Command add_trace(CLI::App& program) {
  auto options = std::make_shared<TraceOptions>();
  CLI::App& app =
      *program.add_subcommand("trace", "Write every intermediate of the forward pass, or compare with a reference");
  app.footer(kExamples);
  add_model_path(app, options->model);
  auto* tokens = app.add_option_function<std::string>(
                        "--tokens",
                        [options](const std::string& text) {
                          options->tokens = parse_ids(text, "--tokens");
                          options->has_tokens = true;
                        },
                        "Token ids separated by commas, taken as they are (nothing is added)")
                     ->type_name("IDS");
  app.add_option("--messages", options->messages, "A conversation instead: a JSON array of OpenAI-style messages")
      ->type_name("FILE")
      ->excludes(tokens);
  app.add_flag("--think", options->rendering.think, "With --messages: ask the model to think first");
  add_choice(app, "--template", options->rendering.prompt_template, {"small", "large", "gemma3"},
             "With --messages: prompt format (default: the model's own)");
  app.add_option("--out", options->out, "The safetensors file to write (with --compare: not kept unless named)")
      ->type_name("FILE");
  auto* reference = app.add_option("--compare", options->reference,
                                   "A trace to compare with, for example one written by the reference implementation")
                        ->type_name("FILE");
  add_number(app, "--tolerance", options->tolerance, 0, kAnyNumber,
             "Largest relative error that counts as equal (default: 1e-4)")
      ->needs(reference);
  app.add_flag("--json", options->json, "Print the result as JSON");
  add_media_options(app, options->media);
  add_image_mask(app, options->loading);
  add_compute_options(app, options->loading);
  return {&app, [options](Output& output) { return trace(*options, output); }};
}

}  // namespace carat::cli
