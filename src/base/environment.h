// The only place that reads environment variables, so that every variable Carat listens to is listed here.
#pragma once

#include <optional>
#include <string>

namespace carat::base {

/// What the user asked for through the environment. Command-line options and API options go before it.
struct Environment {
  std::optional<std::string> isa;      ///< CARAT_ISA: kernel table to force, as select_kernels accepts it
  std::optional<std::string> threads;  ///< CARAT_THREADS: number of threads, not yet parsed
  bool no_color = false;               ///< NO_COLOR set and not empty (https://no-color.org)
};

/// Reads the variables. An empty variable counts as unset.
Environment read_environment();

}  // namespace carat::base
