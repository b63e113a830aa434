// carat doctor: what this machine is, which kernels run on it and why better ones do not, and what it can do at best;
// with a model, what share of that the model reaches.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "carat/benchmark.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/machine_text.h"
#include "cli/model_options.h"
#include "cli/number_text.h"
#include "cli/option_values.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace carat::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  carat doctor
  carat doctor model.gguf
  carat doctor --isa portable --json)";

struct DoctorOptions {
  std::string model;
  bool json = false;
  ModelOptions loading;
};

constexpr BenchmarkTest kPrompt{.prompt = 128, .generate = 0, .depth = 0, .sequences = 1};
constexpr BenchmarkTest kDecode{.prompt = 0, .generate = 16, .depth = 0, .sequences = 1};

Json json_of(const Machine& machine) {
  Json kernels = Json::array();
  for (const KernelChoice& choice : machine.kernels) {
    kernels.push_back({{"operation", choice.operation}, {"chosen", choice.chosen}, {"refused", choice.refused}});
  }
  return {{"cpu", machine.cpu},
          {"threads", machine.threads},
          {"isa", machine.isa},
          {"memory_bytes", machine.memory_bytes},
          {"read_bytes_per_second", machine.read_bytes_per_second},
          {"int8_macs_per_second", machine.int8_macs_per_second},
          {"bf16_macs_per_second", machine.bf16_macs_per_second},
          {"float_macs_per_second", machine.float_macs_per_second},
          {"kernels", std::move(kernels)}};
}

Result<ExitCode> doctor(const DoctorOptions& options, Output& output) {
  const InterruptScope interrupt;
  auto machine = measure_machine(options.loading);
  if (!machine) return forward(machine);
  std::vector<BenchmarkResult> results;
  if (!options.model.empty()) {
    auto checkpoint = Checkpoint::open(options.model);
    if (!checkpoint) return forward(checkpoint);
    auto model = load_model(*checkpoint, options.loading, interrupt);
    if (!model) return forward(model);
    for (const BenchmarkTest& test : {kPrompt, kDecode}) {
      ProgressBar bar("Measuring", "runs");
      auto result =
          benchmark(*model, test, {.repetitions = 3, .cache_type = "auto"}, [&](std::int64_t done, std::int64_t total) {
            bar.update(done, total);
            return !interrupt.stopped();
          });
      bar.finish();
      if (!result) return forward(result);
      results.push_back(std::move(*result));
    }
  }
  const auto bandwidth = [&](const BenchmarkResult& r) {
    return r.bytes_per_token * r.tokens_per_second() / machine->read_bytes_per_second;
  };
  const auto compute = [&](const BenchmarkResult& r) {
    return r.macs_per_token * r.tokens_per_second() / arithmetic_peak(*machine, r);
  };
  if (options.json) {
    Json json = json_of(*machine);
    if (!results.empty()) {
      json["prompt"] = {{"tokens_per_second", results[0].tokens_per_second()}, {"compute_share", compute(results[0])}};
      json["decode"] = {{"tokens_per_second", results[1].tokens_per_second()},
                        {"bandwidth_share", bandwidth(results[1])}};
    }
    output.write(dump_json(json) + "\n");
    return ExitCode::success;
  }
  output.write(machine_lines(*machine) + "\n");
  Table table({{"operation", false}, {"kernels", false}, {"why not better ones", false}});
  for (const KernelChoice& choice : machine->kernels) table.add({choice.operation, choice.chosen, choice.refused});
  output.write(table.text());
  if (!results.empty()) {
    output.write("\n  prompts     " + fixed(results[0].tokens_per_second(), 1) + " tokens/s, " +
                 fixed(100 * compute(results[0]), 0) + " % of the arithmetic (" + grouped(kPrompt.prompt) +
                 " tokens)\n");
    output.write("  decoding    " + fixed(results[1].tokens_per_second(), 1) + " tokens/s, " +
                 fixed(100 * bandwidth(results[1]), 0) + " % of the bandwidth\n");
  }
  return ExitCode::success;
}

}  // namespace

Command add_doctor(CLI::App& program) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App& app = *program.add_subcommand("doctor", "Show what this machine is and can do");
  app.footer(kExamples);
  add_optional_model_path(app, options->model,
                          "A model to measure as well: a Hugging Face directory, a GGUF file, demo or demo-moe");
  app.add_flag("--json", options->json, "Print an object");
  add_compute_options(app, options->loading);
  return {&app, [options](Output& output) { return doctor(*options, output); }};
}

}  // namespace carat::cli
