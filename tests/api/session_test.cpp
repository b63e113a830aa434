// The public API end to end on a tiny checkpoint: generation, its endings and errors, traces and their comparison.
#include "carat/session.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

namespace carat {
namespace {

// The checkpoint of tests/golden that carries a tokenizer and a chat template.
std::filesystem::path chat_checkpoint() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(CARAT_TEST_DATA "/golden")) {
    if (std::filesystem::exists(entry.path() / "tokenizer.json") &&
        std::filesystem::exists(entry.path() / "golden.safetensors") &&
        std::filesystem::exists(entry.path() / "chat_template.jinja")) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found.empty() ? std::filesystem::path("no golden checkpoint has a tokenizer") : found.front();
}

class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    auto checkpoint = Checkpoint::open(chat_checkpoint());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    auto model = Model::load(*checkpoint, {.threads = 2});
    ASSERT_TRUE(model) << model.error().message;
    model_.emplace(*model);
    prompt_ = *checkpoint->tokenize("some words to begin with", false, true);
  }
  Session session(SessionOptions options = {}) {
    auto made = Session::create(*model_, options);
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }
  static GenerateOptions greedy(std::int64_t tokens) {
    GenerateOptions options;
    options.sampling.temperature = 0.0F;
    options.max_tokens = tokens;
    options.ignore_stop_tokens = true;
    options.raw = true;
    return options;
  }
  std::optional<Model> model_;
  std::vector<TokenId> prompt_;
};

TEST_F(SessionTest, EventsJoinToTheAnswerAndTheSecondTimeReusesThePrompt) {
  Session s = session();
  std::string streamed;
  const auto first = s.generate(prompt_, greedy(24), [&](const GenerationEvent& event) {
    if (event.kind == GenerationEvent::Kind::content) streamed += event.text;
    return true;
  });
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->ids.size(), 24U);
  EXPECT_EQ(first->finish_reason, "length");
  EXPECT_EQ(streamed, first->text);
  EXPECT_EQ(first->prompt_tokens, static_cast<std::int64_t>(prompt_.size()));
  EXPECT_EQ(first->reused_tokens, 0);
  EXPECT_EQ(s.cached_tokens(), first->prompt_tokens + 23);
  EXPECT_GT(s.cache_bytes(), 0);
  const auto second = s.generate(prompt_, greedy(24));
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->ids, first->ids);
  EXPECT_EQ(second->reused_tokens, first->prompt_tokens - 1);
}

TEST_F(SessionTest, SameSeedSameText) {
  GenerateOptions options = greedy(20);
  options.sampling.temperature = 1.0F;
  options.sampling.seed = 5;
  Session a = session(), b = session();
  const auto one = a.generate(prompt_, options), two = b.generate(prompt_, options);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->ids, two->ids);
  EXPECT_EQ(one->seed, 5U);
  options.sampling.seed = 6;
  const auto other = b.generate(prompt_, options);
  ASSERT_TRUE(other);
  EXPECT_NE(other->ids, one->ids);
}

TEST_F(SessionTest, EveryEndingHasItsReason) {
  Session s = session();
  GenerateOptions options = greedy(50);
  const auto plain = s.generate(prompt_, options);
  ASSERT_TRUE(plain);
  options.stop_tokens = {plain->ids[7]};
  const auto stopped = s.generate(prompt_, options);
  ASSERT_TRUE(stopped);
  EXPECT_EQ(stopped->finish_reason, "stop");
  EXPECT_LE(stopped->ids.size(), 8U);
  EXPECT_EQ(stopped->ids.back(), plain->ids[7]);

  options = greedy(50);
  ASSERT_GE(plain->text.size(), 6U);
  options.stop = {plain->text.substr(3, 3)};
  const auto text_stop = s.generate(prompt_, options);
  ASSERT_TRUE(text_stop);
  EXPECT_EQ(text_stop->finish_reason, "stop");
  EXPECT_EQ(text_stop->text, plain->text.substr(0, plain->text.find(options.stop[0])));

  int events = 0;
  const auto cut = s.generate(prompt_, greedy(50), [&](const GenerationEvent& event) {
    return event.kind != GenerationEvent::Kind::content || ++events < 3;
  });
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->finish_reason, "cancelled");
  EXPECT_LT(cut->ids.size(), 50U);

  std::stop_source cancel;
  cancel.request_stop();
  options = greedy(50);
  options.cancel = cancel.get_token();
  const auto cancelled = s.generate(prompt_, options);
  ASSERT_TRUE(cancelled) << cancelled.error().message;
  EXPECT_EQ(cancelled->finish_reason, "cancelled");
  EXPECT_TRUE(cancelled->ids.empty());

  const auto none = s.generate(prompt_, greedy(0));
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->ids.empty());
  EXPECT_EQ(none->finish_reason, "length");

  const auto length = static_cast<std::int64_t>(prompt_.size()) + 4;
  Session small = session({.context_length = length});
  options = greedy(50);
  options.max_tokens.reset();
  const auto full = small.generate(prompt_, options);
  ASSERT_TRUE(full);
  EXPECT_EQ(full->finish_reason, "context_full");
  EXPECT_EQ(full->ids.size(), 5U);  // four more fit the context, the last needs no place any more
}

TEST_F(SessionTest, BadRequestsAreErrorsThatSayWhy) {
  Session small = session({.context_length = 4});
  const auto long_prompt = small.generate(prompt_, greedy(1));
  ASSERT_FALSE(long_prompt);
  EXPECT_EQ(long_prompt.error().code, ErrorCode::context_full);
  EXPECT_NE(long_prompt.error().message.find("the context holds 4"), std::string::npos) << long_prompt.error().message;
  RenderedPrompt rendered;
  rendered.ids = prompt_;
  const auto refused = model_->checkpoint().accepts(rendered, {.context_length = 4});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, long_prompt.error().message);
  EXPECT_TRUE(model_->checkpoint().accepts(rendered, {.context_length = static_cast<std::int64_t>(prompt_.size())}));

  Session s = session();
  EXPECT_EQ(s.generate(std::vector<TokenId>(), greedy(1)).error().code, ErrorCode::invalid_argument);
  const std::vector<TokenId> wild = {2, 1 << 20}, negative = {-1};
  EXPECT_EQ(s.generate(wild, greedy(1)).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(s.generate(negative, greedy(1)).error().code, ErrorCode::invalid_argument);
  GenerateOptions options = greedy(-5);
  EXPECT_FALSE(s.generate(prompt_, options));
  options = greedy(5);
  options.sampling.top_p = 7.0F;
  EXPECT_FALSE(s.generate(prompt_, options));
  options = greedy(5);
  options.tools_json = "[";
  EXPECT_FALSE(s.generate(prompt_, options));
  EXPECT_FALSE(Session::create(*model_, {.context_length = -1}));
  EXPECT_FALSE(Session::create(*model_, {.prompt_chunk = 0}));
  EXPECT_FALSE(Session::create(*model_, {.cache_type = "q1_0"}));
  EXPECT_FALSE(Model::load(model_->checkpoint(), {.threads = -1}));
  EXPECT_FALSE(Model::load(model_->checkpoint(), {.isa = "abacus"}));
  EXPECT_FALSE(Model::load(model_->checkpoint(), {.weights = "somewhere"}));
}

TEST_F(SessionTest, LogprobsAreThoseOfTheModel) {
  Session s = session();
  GenerateOptions options = greedy(6);
  options.report_logprobs = true;
  options.logprobs = 3;
  const auto out = s.generate(prompt_, options);
  ASSERT_TRUE(out);
  ASSERT_EQ(out->logprobs.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    const TokenLogprob& entry = out->logprobs[i];
    EXPECT_EQ(entry.id, out->ids[i]);
    ASSERT_EQ(entry.top.size(), 3U);
    EXPECT_EQ(entry.top[0].first, entry.id);  // greedy takes the most likely
    EXPECT_FLOAT_EQ(entry.top[0].second, entry.logprob);
    EXPECT_GE(entry.top[0].second, entry.top[1].second);
    EXPECT_LE(entry.logprob, 0);
  }
}

TEST_F(SessionTest, SessionsOfOneModelMayRunAtOnce) {
  Session alone = session();
  const auto expected = alone.generate(prompt_, greedy(16));
  ASSERT_TRUE(expected);
  std::vector<std::vector<TokenId>> found(3);
  {
    std::vector<std::jthread> threads;
    for (auto& ids : found) {
      threads.emplace_back([&] {
        Session own = session();
        if (const auto out = own.generate(prompt_, greedy(16))) ids = out->ids;
      });
    }
  }
  for (const auto& ids : found) EXPECT_EQ(ids, expected->ids);
}

TEST_F(SessionTest, ATurnRendersAndGenerates) {
  const auto prompt = model_->checkpoint().render(R"([{"role":"user","content":"Hi"}])", "");
  ASSERT_TRUE(prompt) << prompt.error().message;
  EXPECT_EQ(prompt->text, "<bos><|turn>user\nHi<turn|>\n<|turn>model\n");
  const auto again = model_->checkpoint().detokenize(prompt->ids);
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, prompt->text);
  Session s = session();
  GenerateOptions options;
  options.max_tokens = 12;
  options.sampling.seed = 1;
  EXPECT_TRUE(s.generate(prompt->ids, options));
  EXPECT_EQ(model_->checkpoint().render("{", "").error().code, ErrorCode::bad_file);
  PromptOptions unknown;
  unknown.prompt_template = "chatml";
  EXPECT_EQ(model_->checkpoint().render("[]", "", unknown).error().code, ErrorCode::invalid_argument);
}

class TraceTest : public SessionTest {
 protected:
  std::filesystem::path out_ =
      std::filesystem::temp_directory_path() / ("carat-trace-" + std::to_string(getpid()) + ".safetensors");
  ~TraceTest() override {
    std::error_code ignored;
    std::filesystem::remove(out_, ignored);
  }
};

TEST_F(TraceTest, ATraceProvesItselfAndFindsADifference) {
  const std::vector<TokenId> ids(prompt_.begin(), prompt_.begin() + 4);
  ASSERT_TRUE(model_->trace(ids, out_));
  const auto same = compare_traces(out_, out_);
  ASSERT_TRUE(same) << same.error().message;
  EXPECT_TRUE(same->equal());
  EXPECT_EQ(same->rows.front().name, "ids");
  EXPECT_EQ(same->rows.back().name, "logits");

  auto other_ids = ids;
  other_ids[2] = other_ids[2] == 20 ? 21 : 20;
  const auto other = out_.string() + ".other";
  ASSERT_TRUE(model_->trace(other_ids, other));
  const auto different = compare_traces(other, out_);
  std::filesystem::remove(other);
  ASSERT_TRUE(different);
  ASSERT_FALSE(different->equal());
  EXPECT_EQ(different->first_divergence()->name, "ids");
  EXPECT_EQ(different->first_divergence()->position, 2);

  EXPECT_FALSE(model_->trace(std::vector<TokenId>(), out_));
  EXPECT_FALSE(model_->trace(std::vector<TokenId>{1 << 20}, out_));
  EXPECT_FALSE(model_->trace(ids, "/nonexistent/folder/trace.safetensors"));
  EXPECT_FALSE(compare_traces(out_, "/nonexistent.safetensors"));
  EXPECT_FALSE(model_->trace(ids, out_, [](std::int64_t, std::int64_t) { return false; }));
}

TEST_F(TraceTest, TheGoldenFileIsReached) {
  // `carat trace --compare` in one call: the ids come from the golden file's own name for them.
  const auto golden = chat_checkpoint() / "golden.safetensors";
  const auto self = compare_traces(golden, golden);
  ASSERT_TRUE(self) << self.error().message;
  EXPECT_TRUE(self->equal());
}

TEST_F(SessionTest, PerplexityNeedsTwoWindows) {
  PerplexityOptions options;
  options.window = 16;
  const auto shortage = model_->perplexity("too short", options, {});
  ASSERT_FALSE(shortage);
  EXPECT_NE(shortage.error().message.find("expected at least 32"), std::string::npos) << shortage.error().message;
  std::string text;
  for (int i = 0; i < 60; ++i) text += "word " + std::to_string(i) + " ";
  const auto enough = model_->perplexity(text, options, {});
  ASSERT_TRUE(enough) << enough.error().message;
  EXPECT_GT(enough->perplexity, 1);
  EXPECT_GT(enough->standard_error, 0);
  options.window = 2;
  EXPECT_FALSE(model_->perplexity(text, options, {}));
}

}  // namespace
}  // namespace carat
