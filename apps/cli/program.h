// The program around the subcommands: parsing, help, version, and how every failure becomes a message and an exit code.
#pragma once

namespace carat::cli {

/// What main does; returns the exit code of the process.
int run_program(int argc, char** argv);

}  // namespace carat::cli
