// The exit codes the program promises, and which of them an error of the library becomes.
#pragma once

#include "carat/result.h"

namespace carat::cli {

enum class ExitCode : int {
  success = 0,
  bad_input = 1,          ///< a file, prompt or request is wrong, or the machine cannot serve it
  wrong_usage = 2,        ///< the command line itself is wrong
  comparison_failed = 3,  ///< `carat trace --compare` found a difference
  interrupted = 130,      ///< Ctrl-C
};

/// Cancelling is what Ctrl-C does; every other failure is bad input.
inline ExitCode exit_code(ErrorCode code) {
  return code == ErrorCode::cancelled ? ExitCode::interrupted : ExitCode::bad_input;
}

}  // namespace carat::cli
