// The options every command shares that computes something: where the model is, threads, kernels, cache; and opening
// and loading it with a progress bar.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "carat/checkpoint.h"
#include "carat/model.h"
#include "carat/options.h"
#include "carat/result.h"
#include "cli/interrupt.h"

namespace carat::cli {

/// Declares the positional MODEL, a path or a name that model_path knows.
CLI::Option* add_optional_model_path(CLI::App& app, std::string& path, const std::string& help);
/// The same where there must be one.
void add_model_path(CLI::App& app, std::string& path);
/// Declares --threads and --isa.
void add_compute_options(CLI::App& app, ModelOptions& options);
/// Declares --image-mask.
void add_image_mask(CLI::App& app, ModelOptions& options);
/// Declares --cache-type; `fallback` says what it is when not given.
void add_cache_type(CLI::App& app, std::string& cache_type,
                    const std::string& fallback = "auto, f32 for f32 models, else f16");
/// Declares --ctx and --cache-type.
void add_session_options(CLI::App& app, SessionOptions& options);

/// Renders messages as a prompt, showing a progress bar while sound and video are read; an InterruptScope of its own
/// lives meanwhile. Errors: those of Checkpoint::render; cancelled on Ctrl-C.
Result<RenderedPrompt> render(const Checkpoint& checkpoint, const std::string& messages, const std::string& tools,
                              PromptOptions options);
/// Loads the weights, showing a progress bar. Errors: those of Model::load; cancelled on Ctrl-C.
Result<Model> load_model(const Checkpoint& checkpoint, const ModelOptions& options, const InterruptScope& interrupt);

}  // namespace carat::cli
