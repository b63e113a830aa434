// A machine and its limits as people read them.
#pragma once

#include <string>

#include "carat/benchmark.h"

namespace carat::cli {

/// The arithmetic that bounds a model: 8-bit integers for quantised weights, bf16 for bf16 ones, where the kernels have
/// them; else f32.
double arithmetic_peak(const Machine& machine, const BenchmarkResult& result);

/// CPU, threads, kernels and measured limits, a line each, indented by two spaces.
std::string machine_lines(const Machine& machine);

}  // namespace carat::cli
