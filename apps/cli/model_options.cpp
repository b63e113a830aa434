// The options every command shares that computes something: where the model is, threads, kernels, cache; and opening
// and loading it with a progress bar.
#include "cli/model_options.h"

#include <limits>
#include <optional>

#include "cli/model_name.h"
#include "cli/option_values.h"
#include "cli/terminal.h"

namespace carat::cli {

CLI::Option* add_optional_model_path(CLI::App& app, std::string& path, const std::string& help) {
  return app.add_option("MODEL", path, help)->transform([](const std::string& argument) {
    return model_path(argument);
  });
}

void add_model_path(CLI::App& app, std::string& path) {
  add_optional_model_path(
      app, path,
      "A Hugging Face directory or a GGUF file (of a split file, its first part), or demo, or demo-moe: "
      "small models that come with Carat")
      ->required();
}

void add_compute_options(CLI::App& app, ModelOptions& options) {
  add_integer(app, "-t,--threads", options.threads, 1, 1024, "Threads to compute with (default: the physical cores)")
      ->group("Machine");
  add_choice(app, "--isa", options.isa, Model::isa_names(),
             "Kernels to compute with (default: auto, the best this processor has)")
      ->group("Machine");
  add_choice(app, "--weights", options.weights, {"auto", "packed", "mapped"},
             "Weights rearranged in memory for speed, or used where they lie in the file (default: auto, "
             "packed where the model takes at most 80 % of the free memory)")
      ->group("Machine");
}

void add_image_mask(CLI::App& app, ModelOptions& options) {
  add_choice(
      app, "--image-mask", options.image_mask, {"auto", "causal", "sliding", "all"},
      "Layers in which the tokens of one picture see one another: auto (default: as the reference has the model), "
      "causal (none), sliding, all")
      ->group("Media");
}

void add_cache_type(CLI::App& app, std::string& cache_type, const std::string& fallback) {
  add_choice(app, "--cache-type", cache_type, {"auto", "f32", "f16", "bf16", "q8_0"},
             "Type of cached keys and values (default: " + fallback + ")")
      ->group("Machine");
}

void add_session_options(CLI::App& app, SessionOptions& options) {
  add_integer(app, "--ctx", options.context_length, 1, std::numeric_limits<std::int32_t>::max(),
              "Tokens the context may hold, prompt and answer together; memory is taken as it fills (default: the "
              "model's maximum)")
      ->group("Machine");
  add_cache_type(app, options.cache_type);
}

Result<RenderedPrompt> render(const Checkpoint& checkpoint, const std::string& messages, const std::string& tools,
                              PromptOptions options) {
  const InterruptScope interrupt;
  std::optional<ProgressBar> bar;  // from the first medium on: most prompts have none
  options.media.progress = [&](std::int64_t done, std::int64_t total) {
    if (!bar) bar.emplace("Reading media", "");
    bar->update(done, total);
    return !interrupt.stopped();
  };
  return checkpoint.render(messages, tools, options);
}

Result<Model> load_model(const Checkpoint& checkpoint, const ModelOptions& options, const InterruptScope& interrupt) {
  ProgressBar bar("Loading the model", "");
  return Model::load(checkpoint, options, [&](std::int64_t done, std::int64_t total) {
    bar.update(done, total);
    return !interrupt.stopped();
  });
}

}  // namespace carat::cli
