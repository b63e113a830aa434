// carat bench: how fast a model reads prompts and generates here, beside what the machine could do. Option and field
// names are those of llama-bench, so that the two can be compared.
#include <limits>
#include <memory>
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
  carat bench model.gguf
  carat bench model.gguf -p 128,512 -n 64 -d 0,4096
  carat bench model.gguf -p 0 -n 64 --sequences 1,4,16 --json

Each test runs once untimed, then -r times; filling the depth is not timed. A
prompt test needs the logits of the last token only; decoding includes the output
head and sampling. Compare with: llama-bench -fa 1.)";

struct BenchOptions {
  std::string model;
  std::vector<std::int32_t> prompts = {512}, generates = {128}, depths = {0}, sequences = {1};
  bool json = false;
  BenchmarkOptions measuring;
  ModelOptions loading;
};

void add_counts(CLI::App& app, const std::string& name, std::vector<std::int32_t>& target, std::int32_t min,
                const std::string& help) {
  const auto assign = [&target, name, min](const std::string& text) {
    target = parse_ids(text, name);
    for (const std::int32_t value : target) {
      if (value < min)
        throw CLI::ValidationError(name,
                                   "found " + std::to_string(value) + "; expected " + std::to_string(min) + " or more");
    }
  };
  app.add_option_function<std::string>(name, assign, help)->type_name("N,…");
}

std::vector<BenchmarkTest> tests(const BenchOptions& options) {
  std::vector<BenchmarkTest> out;
  for (const bool prompt : {true, false}) {
    for (const std::int32_t tokens : prompt ? options.prompts : options.generates) {
      if (tokens == 0) continue;
      for (const std::int32_t depth : options.depths) {
        for (const std::int32_t sequences : options.sequences) {
          out.push_back({prompt ? tokens : 0, prompt ? 0 : tokens, depth, sequences});
        }
      }
    }
  }
  return out;
}

std::string name(const BenchmarkTest& test) {
  std::string out = test.prompt > 0 ? "prompt " + grouped(test.prompt) : "decode " + grouped(test.generate);
  if (test.depth > 0) out += " at depth " + grouped(test.depth);
  if (test.sequences > 1) out += ", " + grouped(test.sequences) + " sequences";
  return out;
}

/// A measurement and what the machine could do in the same minute.
struct Measured {
  BenchmarkResult result;
  Machine machine;

  double bandwidth_share() const {
    return result.bytes_per_token * result.tokens_per_second() / machine.read_bytes_per_second;
  }
  double compute_share() const {
    return result.macs_per_token * result.tokens_per_second() / arithmetic_peak(machine, result);
  }
};

Json json_of(const std::string& model, bool packed, const Measured& m) {
  return {{"model_filename", model},
          {"cpu_info", m.machine.cpu},
          {"n_threads", m.machine.threads},
          {"isa", m.machine.isa},
          {"weights", packed ? "packed" : "mapped"},
          {"n_prompt", m.result.test.prompt},
          {"n_gen", m.result.test.generate},
          {"n_depth", m.result.test.depth},
          {"n_sequences", m.result.test.sequences},
          {"avg_ts", m.result.tokens_per_second()},
          {"stddev_ts", m.result.standard_deviation()},
          {"bytes_per_token", m.result.bytes_per_token},
          {"macs_per_token", m.result.macs_per_token},
          {"bandwidth_share", m.bandwidth_share()},
          {"compute_share", m.compute_share()}};
}

Result<ExitCode> bench(const BenchOptions& options, Output& output) {
  const std::vector<BenchmarkTest> all = tests(options);
  if (all.empty()) usage_error("bench: -p 0 and -n 0 leave nothing to measure");
  auto checkpoint = Checkpoint::open(options.model);
  if (!checkpoint) return forward(checkpoint);
  const InterruptScope interrupt;
  auto model = load_model(*checkpoint, options.loading, interrupt);
  if (!model) return forward(model);

  Json array = Json::array();
  Table table(
      {{"test", false}, {"tokens/s"}, {"+/-"}, {"MB/token"}, {"of bandwidth"}, {"MMAC/token"}, {"of arithmetic"}});
  for (const BenchmarkTest& test : all) {
    auto machine = measure_machine(options.loading);
    if (!machine) return forward(machine);
    ProgressBar bar("Measuring " + name(test), "runs");
    auto result = benchmark(*model, test, options.measuring, [&](std::int64_t done, std::int64_t total) {
      bar.update(done, total);
      return !interrupt.stopped();
    });
    bar.finish();
    if (!result) return forward(result);
    const Measured m{std::move(*result), std::move(*machine)};
    if (options.json) {
      array.push_back(json_of(options.model, model->packed(), m));
      continue;
    }
    if (&test == &all.front()) output.write(machine_lines(m.machine) + "\n");
    table.add({name(test), fixed(m.result.tokens_per_second(), 2), fixed(m.result.standard_deviation(), 2),
               fixed(m.result.bytes_per_token / 1e6, 1), fixed(100 * m.bandwidth_share(), 0) + " %",
               fixed(m.result.macs_per_token / 1e6, 0), fixed(100 * m.compute_share(), 0) + " %"});
  }
  output.write(options.json ? dump_json(array) + "\n" : table.text());
  return ExitCode::success;
}

}  // namespace

Command add_bench(CLI::App& program) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App& app = *program.add_subcommand("bench", "Measure how fast a model runs here");
  app.footer(kExamples);
  add_model_path(app, options->model);
  add_counts(app, "-p", options->prompts, 0, "Prompt tokens of each test; 0 for none (default: 512)");
  add_counts(app, "-n", options->generates, 0, "Tokens to generate in each test; 0 for none (default: 128)");
  add_counts(app, "-d", options->depths, 0, "Positions filled before, untimed (default: 0)");
  add_counts(app, "--sequences", options->sequences, 1,
             "Sequences side by side; their tokens/s are summed (default: 1)");
  add_integer(app, "-r", options->measuring.repetitions, 1, 1000, "Timed runs of each test (default: 5)");
  app.add_flag("--json", options->json, "Print an array with one object per test");
  add_compute_options(app, options->loading);
  add_cache_type(app, options->measuring.cache_type, "f16");
  return {&app, [options](Output& output) { return bench(*options, output); }};
}

}  // namespace carat::cli
