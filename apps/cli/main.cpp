// The carat program. Everything it does lives in program.cpp and one file per subcommand.
#include "cli/program.h"

int main(int argc, char** argv) { return carat::cli::run_program(argc, argv); }
