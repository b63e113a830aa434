// Command lines that are wrong end with exit code 2 and one line on standard error; help and version go to standard
// output.
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "carat/version.h"
#include "cli/program.h"

namespace carat::tests {
namespace {

struct UsageCase {
  std::string line, message;
};

std::vector<UsageCase> usage_cases() {
  std::vector<UsageCase> cases;
  std::istringstream file(read_whole(CARAT_TEST_DATA "/cli/cases/usage.txt"));
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    if (line.starts_with("  "))
      cases.back().message = line.substr(2);
    else
      cases.push_back({line, ""});
  }
  return cases;
}

std::vector<std::string> words(const std::string& line) {
  std::vector<std::string> out;
  bool quoted = false, begun = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
      if (!begun) out.emplace_back();
      begun = true;
    } else if (c == ' ' && !quoted) {
      begun = false;
    } else {
      if (!begun) out.emplace_back();
      begun = true;
      out.back() += c;
    }
  }
  return out;
}

TEST(Usage, WrongCommandLinesAreRefused) {
  const auto cases = usage_cases();
  ASSERT_GT(cases.size(), 50u);
  for (const UsageCase& each : cases) {
    const Finished result = run(words(each.line));
    EXPECT_EQ(result.code, 2) << each.line << "\n" << result.err;
    EXPECT_EQ(result.err, each.message + "\n") << each.line;
    EXPECT_EQ(result.out, "") << each.line;
  }
}

TEST(Usage, NoCommandShowsTheHelp) {
  const Finished result = run(std::vector<std::string>{});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("Usage: carat COMMAND"), std::string::npos);
  EXPECT_TRUE(result.err.ends_with("carat: error: no command given\n"));
}

TEST(Usage, Version) {
  const Finished result = run({"--version"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, std::string("carat ") + version() + "\n");
  EXPECT_EQ(result.err, "");
}

TEST(Usage, EveryHelpPageHasUsageExamplesAndFitsTheScreen) {
  for (const std::string command :
       {"run", "chat", "inspect", "tokenize", "detokenize", "prompt", "trace", "perplexity", "bench", "doctor"}) {
    const Finished result = run({command, "--help"});
    EXPECT_EQ(result.code, 0) << command;
    EXPECT_EQ(result.err, "") << command;
    const std::string model = command == "doctor" ? " [MODEL]" : " MODEL";
    EXPECT_NE(result.out.find("Usage: carat " + command + model), std::string::npos) << command;
    EXPECT_NE(result.out.find("\nExamples:\n"), std::string::npos) << command;
    EXPECT_NE(result.out.find("\n  carat " + command + " "), std::string::npos) << command;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 84u) << command << ": " << line;
    EXPECT_EQ(run({"help", command}).out, result.out);
  }
}

TEST(Usage, TheMainHelpListsEveryCommand) {
  const Finished result = run({"--help"});
  EXPECT_EQ(result.code, 0);
  for (const std::string command :
       {"run", "chat", "inspect", "tokenize", "detokenize", "prompt", "trace", "perplexity", "bench", "doctor"}) {
    EXPECT_NE(result.out.find("\n  " + command + " "), std::string::npos) << command;
  }
}

}  // namespace
}  // namespace carat::tests
