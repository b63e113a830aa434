// The program around the subcommands: parsing, help, version, and how every failure becomes a message and an exit code.
// Subcommands return a Result; only here is anything turned into text on standard error.
#include "cli/program.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "carat/version.h"
#include "cli/command.h"
#include "cli/help_formatter.h"
#include "cli/interrupt.h"
#include "cli/output.h"

namespace carat::cli {
namespace {

constexpr const char* kDescription =
    "carat runs Google's Gemma 4 models (and Gemma 3 text models) on this machine.\n"
    "A model is a path: a Hugging Face directory as published, or a GGUF file.";

constexpr const char* kExamples = R"(Examples:
  carat run gemma-4-E2B-it -p "Why is the sky blue?"      ask once
  carat chat gemma-4-E2B-it                               talk
  carat run base.gguf --raw -p "Once upon a time" -n 50   continue a text
  carat inspect model.gguf                                see what a file holds

Exit codes: 0 done, 1 bad input, 2 wrong usage, 3 a comparison failed, 130 Ctrl-C.)";

// A closed standard descriptor would be taken by the next file opened, and our output would land in it. Descriptors are
// opened so that using them still fails: standard input for writing only, the others for reading only.
void keep_standard_descriptors() {
  for (int descriptor = 0; descriptor < 3; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) < 0) ::open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY);
  }
}

void set_character_locale() {
  // Only characters: numbers keep their point. Containers often set no locale at all; UTF-8 is the better guess then.
  const char* named = std::setlocale(LC_CTYPE, "");
  if (named == nullptr || std::string_view(named) == "C" || std::string_view(named) == "POSIX") {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
}

std::string usage_message(const CLI::ParseError& error, const CLI::App& program) {
  std::string message = error.what();
  // CLI11's words, made plain.
  constexpr std::string_view kUnexpected = "The following argument was not expected: ";
  constexpr std::string_view kTwice = "At Most 1 required but received ";
  if (const auto at = message.find(kTwice); at != std::string::npos) {
    message.replace(at, kTwice.size(), "may be given once, was given ");
    message += " times";
  } else if (const auto excludes = message.find(" excludes "); excludes != std::string::npos) {
    message.replace(excludes, std::string_view(" excludes ").size(), " does not go with ");
  } else if (message.starts_with(kUnexpected) && program.get_subcommands().empty()) {
    const std::string word = message.substr(kUnexpected.size());
    message = (word.starts_with('-') ? "no such option: " : "no such command: ") + word;
  } else if (message.starts_with(kUnexpected)) {
    message.replace(0, kUnexpected.size(), "unexpected argument: ");
  }
  std::string command = "carat";
  for (const CLI::App* chosen : program.get_subcommands()) command += " " + chosen->get_name();
  return message + " (see " + command + " --help)";
}

int run_parsed(const std::vector<Command>& commands, Output& output) {
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    Result<ExitCode> result = command.run(output);
    ExitCode code = ExitCode::success;
    if (!result) {
      code = exit_code(result.error().code);
      if (code == ExitCode::interrupted) {
        print_note("stopped");
      } else {
        print_error(result.error().message);
      }
    } else {
      code = *result;
    }
    if (auto written = output.finish(); !written) {
      print_error(written.error().message);
      if (code == ExitCode::success) code = ExitCode::bad_input;
    }
    return static_cast<int>(code);
  }
  return static_cast<int>(ExitCode::wrong_usage);
}

int print_and_finish(Output& output, const std::string& text) {
  output.write(text);
  if (auto written = output.finish(); !written) {
    print_error(written.error().message);
    return static_cast<int>(ExitCode::bad_input);
  }
  return static_cast<int>(ExitCode::success);
}

}  // namespace

int run_program(int argc, char** argv) {
  keep_standard_descriptors();
  ::signal(SIGPIPE, SIG_DFL);  // `carat … | head` ends quietly even where the parent ignores the signal
  install_interrupt_handling();
  set_character_locale();

  Output output;
  CLI::App program(kDescription, "carat");
  program.formatter(std::make_shared<HelpFormatter>());
  program.set_help_flag("-h,--help", "Show this help");
  program.add_flag("--version")->description("Show the version");
  program.require_subcommand(0, 1);
  program.footer(kExamples);
  const std::vector<Command> commands = {
      add_run(program),    add_chat(program),  add_inspect(program),    add_tokenize(program), add_detokenize(program),
      add_prompt(program), add_trace(program), add_perplexity(program), add_bench(program),    add_doctor(program)};
  for (const Command& command : commands) {
    command.app->formatter(program.get_formatter());
    command.app->group("Commands");
  }

  try {
    // `carat help run` is what people type before they know `carat run --help`.
    std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
    if (!arguments.empty() && arguments.front() == "help") {
      arguments.erase(arguments.begin());
      arguments.emplace_back("--help");
    }
    std::reverse(arguments.begin(), arguments.end());
    program.parse(std::move(arguments));
    if (program.count("--version") > 0) return print_and_finish(output, std::string("carat ") + version() + "\n");
    if (program.get_subcommands().empty()) {
      std::fputs(program.help().c_str(), stderr);
      print_error("no command given");
      return static_cast<int>(ExitCode::wrong_usage);
    }
    return run_parsed(commands, output);
  } catch (const CLI::CallForHelp&) {
    return print_and_finish(output, program.help());
  } catch (const CLI::ParseError& error) {
    print_error(usage_message(error, program));
    return static_cast<int>(ExitCode::wrong_usage);
  } catch (const std::bad_alloc&) {
    print_error("out of memory");
    return static_cast<int>(ExitCode::bad_input);
  } catch (const std::exception& error) {
    print_error(std::string("internal error: ") + error.what());
    return static_cast<int>(ExitCode::bad_input);
  }
}

}  // namespace carat::cli
