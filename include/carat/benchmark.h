// Measuring: what this machine can do, and how fast a model runs on it.
//
//   auto limits = carat::measure_machine({});
//   auto result = carat::benchmark(*model, {.generate = 64});
//   if (limits && result) {
//     std::cout << result->tokens_per_second() << " tokens/s of "
//               << limits->read_bytes_per_second / result->bytes_per_token << " that memory allows\n";
//   }
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "carat/model.h"
#include "carat/options.h"
#include "carat/result.h"

namespace carat {

/// What the machine is and what it can do at best, measured with the kernels and threads asked for.
struct Machine {
  std::string cpu;
  int threads = 0;
  std::string isa;                    ///< name of the best kernel table in use
  std::vector<KernelChoice> kernels;  ///< what serves each operation, and why better ones do not
  std::int64_t memory_bytes = 0;      ///< this process may use
  double read_bytes_per_second = 0;   ///< all threads reading memory that no cache holds
  double int8_macs_per_second = 0;    ///< products of 8-bit integers; 0 where the kernels have none
  double bf16_macs_per_second = 0;    ///< products of bf16; 0 where the kernels have none
  double float_macs_per_second = 0;   ///< f32 multiply-adds
};

/// Describes the machine and measures its limits for about `seconds` each (0 leaves them out). Errors: invalid_argument
/// (isa, threads). Thread-safe; takes 256 MiB while it measures.
Result<Machine> measure_machine(const ModelOptions& options, double seconds = 0.25);

/// One measurement: prompt tokens or generated ones, never both.
struct BenchmarkTest {
  std::int64_t prompt = 0;     ///< tokens read together; the logits of the last one only
  std::int64_t generate = 0;   ///< tokens generated one after the other, head and sampling included
  std::int64_t depth = 0;      ///< positions filled before, untimed
  std::int64_t sequences = 1;  ///< side by side
};

struct BenchmarkOptions {
  std::int64_t repetitions = 5;    ///< timed runs, after one that is not
  std::string cache_type = "f16";  ///< keys and values: "f32", "f16", "bf16", "q8_0", or "auto" as a session chooses
};

struct BenchmarkResult {
  BenchmarkTest test;
  std::vector<double> seconds;  ///< of each repetition
  std::int64_t tokens = 0;      ///< of one repetition, all sequences
  double bytes_per_token = 0;   ///< weights and cache the model must read, shared by the tokens of a pass
  double macs_per_token = 0;    ///< multiply-adds with weights, and of attention
  bool quantised = false;       ///< most multiply-adds are with quantised weights
  bool bf16 = false;            ///< most multiply-adds are with bf16 weights

  /// Mean over the repetitions. Needs at least one, as every result of benchmark() has.
  double tokens_per_second() const;
  /// Of tokens per second, over the repetitions; 0 for a single one.
  double standard_deviation() const;
};

/// Runs one measurement on random tokens. `progress(done, total)` counts repetitions; false cancels. Errors:
/// invalid_argument (a test of both kinds or neither, more positions than the model has), out_of_memory, not_finite,
/// cancelled. Takes its turn with the model's sessions.
Result<BenchmarkResult> benchmark(const Model& model, const BenchmarkTest& test, const BenchmarkOptions& options = {},
                                  const Progress& progress = {});

}  // namespace carat
