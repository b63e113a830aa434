// The examples in the comments of include/carat: each stands below as it does in its header, is compiled, and runs on
// the tiny checkpoint with a tokenizer. One test holds that no example of a header is missing here or reads otherwise.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "carat/benchmark.h"
#include "carat/checkpoint.h"
#include "carat/media.h"
#include "carat/model.h"
#include "carat/options.h"
#include "carat/progress.h"
#include "carat/result.h"
#include "carat/session.h"
#include "carat/version.h"
#include "formats/temp_dir.h"

namespace carat {
namespace {

namespace fs = std::filesystem;

// ---- The examples ---------------------------------------------------------------------------------------------------

carat::Result<int> half(int number) {
  if (number % 2 != 0) {
    return carat::fail(carat::ErrorCode::invalid_argument, "half: found an odd number; expected an even one");
  }
  return number / 2;
}
carat::Result<std::string> half_as_text(int number) {
  auto result = half(number);
  if (!result) return carat::forward(result);
  return std::to_string(*result);
}

void version_example() { std::cout << "Carat " << carat::version() << '\n'; }

int checkpoint_example(std::vector<TokenId>& found) {
  auto checkpoint = carat::Checkpoint::open("gemma-4-E2B-it");
  if (!checkpoint) {
    std::cerr << checkpoint.error().message << '\n';
    return 1;
  }
  auto ids = checkpoint->tokenize("Hello world");
  if (auto summary = checkpoint->inspect()) std::cout << summary->total_parameters << " parameters\n";
  if (ids) found = *ids;
  return 0;
}

void benchmark_example(const Result<Model>& model) {
  auto limits = carat::measure_machine({});
  auto result = carat::benchmark(*model, {.generate = 64});
  if (limits && result) {
    std::cout << result->tokens_per_second() << " tokens/s of "
              << limits->read_bytes_per_second / result->bytes_per_token << " that memory allows\n";
  }
}

int model_example(const Result<Checkpoint>& checkpoint) {
  auto model = carat::Model::load(*checkpoint, {.threads = 2});
  if (!model) {
    std::cerr << model.error().message << '\n';
    return 1;
  }
  auto session = carat::Session::create(*model);
  return session ? 0 : 2;
}

bool progress_example(const Result<Checkpoint>& checkpoint) {
  auto model = carat::Model::load(*checkpoint, {.threads = 2}, [](std::int64_t done, std::int64_t total) {
    std::cout << "loaded " << done << " of " << total << '\n';
    return true;  // false cancels
  });
  return model.has_value();
}

int trace_example(const Result<Checkpoint>& checkpoint, const Result<Model>& model) {
  auto ids = checkpoint->tokenize("The quick brown fox", false, true);
  if (auto traced = model->trace(*ids, "trace.safetensors"); !traced) return 1;
  auto comparison = carat::compare_traces("trace.safetensors", "reference.safetensors");
  if (comparison && comparison->equal()) std::cout << "equal\n";
  return 0;
}

GenerateOptions options_example() {
  carat::GenerateOptions options;
  options.sampling.temperature = 0.7F;
  options.sampling.seed = 42;  // the same seed gives the same text
  options.max_tokens = 100;
  options.stop = {"\n\n"};
  return options;
}

Result<Session> loading_options_example(const Result<Checkpoint>& checkpoint) {
  auto model = carat::Model::load(*checkpoint, {.threads = 2, .isa = "portable"});
  auto session = carat::Session::create(*model, {.context_length = 256});
  return session;
}

int session_example(const Result<Checkpoint>& checkpoint, const Result<Model>& model) {
  auto session = carat::Session::create(*model, {.context_length = 256});
  auto prompt = checkpoint->render(R"([{"role":"user","content":"Hi"}])", "");
  if (!session || !prompt) return 1;
  carat::GenerateOptions options;
  options.max_tokens = 100;
  options.starts_in_thought = prompt->starts_in_thought;
  auto answer = session->generate(prompt->ids, options, [](const carat::GenerationEvent& event) {
    if (event.kind == carat::GenerationEvent::Kind::content) std::cout << event.text;
    return true;  // false stops
  });
  if (!answer) {
    std::cerr << answer.error().message << '\n';
    return 1;
  }
  std::cout << '\n' << answer->completion_tokens << " tokens, ended by " << answer->finish_reason << '\n';
  return 0;
}

int media_example(const Result<Checkpoint>& checkpoint, Result<Session>& session) {
  carat::PromptOptions options;
  options.media.image_budget = 70;  // coarser than the default of 280 tokens, and quicker
  auto prompt = checkpoint->render(R"([{"role":"user","content":[
      {"type":"image_url","image_url":{"url":"receipt.png"}},
      {"type":"text","text":"What does it add up to?"}]}])",
                                   "", options);
  if (!prompt) {
    std::cerr << prompt.error().message << '\n';
    return 1;
  }
  for (const auto& medium : prompt->media) std::cout << medium.name << ": " << medium.tokens << " tokens\n";
  auto answer = session->generate(*prompt, {});
  if (answer) std::cout << answer->text << '\n';
  return 0;
}

// ---- Running them ---------------------------------------------------------------------------------------------------

// Gathers what goes to standard output while it lives.
class Printed {
 public:
  Printed() : before_(std::cout.rdbuf(text_.rdbuf())) {}
  ~Printed() { std::cout.rdbuf(before_); }
  Printed(const Printed&) = delete;
  Printed& operator=(const Printed&) = delete;
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::streambuf* before_;
};

// Works in a folder of its own in which the names the examples use exist.
class HeaderExamples : public testing::Test {
 protected:
  HeaderExamples() {
    fs::create_directory_symlink(CARAT_TEST_DATA "/golden/e2b_like", folder_.path() / "gemma-4-E2B-it");
    fs::current_path(folder_.path());
  }
  ~HeaderExamples() override { fs::current_path(before_); }

  fs::path before_ = fs::current_path();
  tests::TempDir folder_;
};

TEST_F(HeaderExamples, Result) {
  EXPECT_EQ(half(8).value(), 4);
  EXPECT_EQ(half_as_text(8).value(), "4");
  const auto failed = half_as_text(7);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::invalid_argument);
}

TEST_F(HeaderExamples, Version) {
  const Printed printed;
  version_example();
  EXPECT_EQ(printed.text(), std::string("Carat ") + version() + "\n");
}

TEST_F(HeaderExamples, Checkpoint) {
  const Printed printed;
  std::vector<TokenId> ids;
  EXPECT_EQ(checkpoint_example(ids), 0);
  EXPECT_FALSE(ids.empty());
  EXPECT_TRUE(printed.text().ends_with(" parameters\n")) << printed.text();
}

TEST_F(HeaderExamples, Model) {
  const auto checkpoint = Checkpoint::open("gemma-4-E2B-it");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(model_example(checkpoint), 0);
  const auto model = Model::load(*checkpoint, {.threads = 1});
  ASSERT_TRUE(model) << model.error().message;
  ASSERT_TRUE(model->trace(*checkpoint->tokenize("The quick brown fox", false, true), "reference.safetensors"));
  const Printed printed;
  EXPECT_EQ(trace_example(checkpoint, model), 0);
  EXPECT_EQ(printed.text(), "equal\n");
}

TEST_F(HeaderExamples, Progress) {
  const auto checkpoint = Checkpoint::open("gemma-4-E2B-it");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const Printed printed;
  EXPECT_TRUE(progress_example(checkpoint));
  EXPECT_TRUE(printed.text().starts_with("loaded ")) << printed.text();
}

TEST_F(HeaderExamples, Benchmark) {
  const auto checkpoint = Checkpoint::open("gemma-4-E2B-it");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const auto model = Model::load(*checkpoint, {.threads = 1});
  ASSERT_TRUE(model) << model.error().message;
  const Printed printed;
  benchmark_example(model);
  EXPECT_TRUE(printed.text().ends_with(" that memory allows\n")) << printed.text();
}

TEST_F(HeaderExamples, Options) {
  const auto checkpoint = Checkpoint::open("gemma-4-E2B-it");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  auto session = loading_options_example(checkpoint);
  ASSERT_TRUE(session) << session.error().message;
  EXPECT_EQ(session->context_length(), 256);
  const auto prompt = *checkpoint->tokenize("some words", false, true);
  const auto first = session->generate(prompt, options_example()), again = session->generate(prompt, options_example());
  ASSERT_TRUE(first && again);
  EXPECT_EQ(first->seed, 42U);
  EXPECT_EQ(first->ids, again->ids);
}

TEST_F(HeaderExamples, Session) {
  const auto checkpoint = Checkpoint::open("gemma-4-E2B-it");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const auto model = Model::load(*checkpoint, {.threads = 1});
  ASSERT_TRUE(model) << model.error().message;
  const Printed printed;
  EXPECT_EQ(session_example(checkpoint, model), 0);
  EXPECT_NE(printed.text().find(" tokens, ended by "), std::string::npos) << printed.text();
}

TEST_F(HeaderExamples, Media) {
  fs::copy_file(CARAT_TEST_DATA "/media/data/rgb.png", "receipt.png");
  const auto checkpoint = Checkpoint::open("gemma-4-E2B-it");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const auto model = Model::load(*checkpoint, {.threads = 1});
  ASSERT_TRUE(model) << model.error().message;
  auto session = Session::create(*model);
  ASSERT_TRUE(session) << session.error().message;
  const Printed printed;
  EXPECT_EQ(media_example(checkpoint, session), 0);
  EXPECT_TRUE(printed.text().starts_with("image.0: 63 tokens\n")) << printed.text();
}

// ---- Their text -----------------------------------------------------------------------------------------------------

std::string read(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Line breaks and indentation may differ.
std::string without_space(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' && c != '\n') out += c;
  }
  return out;
}

// Code in comments: runs of comment lines indented by three spaces or more.
std::vector<std::string> examples(const std::string& header) {
  std::vector<std::string> out;
  std::istringstream lines(header);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t slashes = line.find("//"), text = line.find_first_not_of('/', slashes);
    const bool code =
        line.find_first_not_of(' ') == slashes && text != std::string::npos && line.compare(text, 3, "   ") == 0;
    if (code && !inside) out.emplace_back();
    if (code) out.back() += line.substr(text) + '\n';
    inside = code;
  }
  return out;
}

TEST(HeaderExamplesText, StandHereAsInTheHeaders) {
  const fs::path source = CARAT_SOURCE_DIR;
  const std::string here = without_space(read(source / "tests/api/header_examples_test.cpp"));
  ASSERT_FALSE(here.empty());
  for (const auto& entry : fs::directory_iterator(source / "include/carat")) {
    const auto found = examples(read(entry.path()));
    EXPECT_FALSE(found.empty()) << entry.path() << " has no example";
    for (const std::string& example : found) {
      EXPECT_NE(here.find(without_space(example)), std::string::npos) << entry.path() << " has another:\n" << example;
    }
  }
}

}  // namespace
}  // namespace carat
