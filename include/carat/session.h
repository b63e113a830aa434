// A session: one conversation's or text's state in a model, and generation from it.
//
//   carat::GenerateOptions options;
//   options.max_tokens = 100;
//   auto prompt = checkpoint->render(R"([{"role":"user","content":"Hi"}])", "");
//   auto answer = session->generate(prompt->ids, options, [](const carat::GenerationEvent& event) {
//     std::cout << event.text;
//     return true;  // false stops
//   });
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "carat/model.h"
#include "carat/options.h"
#include "carat/result.h"

namespace carat {

struct GeneratedToolCall {
  std::string name;
  std::string arguments_json;  ///< an object
};

/// A piece of the answer as it is generated.
struct GenerationEvent {
  enum class Kind {
    prompt,     ///< progress through the prompt: done and total, no text
    thought,    ///< text of the thinking channel
    content,    ///< text of the answer
    tool_call,  ///< a complete call
    error,      ///< why a call could not be parsed; its raw text follows as content
  } kind = Kind::content;
  std::string text;
  GeneratedToolCall tool_call;
  std::int64_t done = 0, total = 0;
};
/// Called on the generating thread. Returning false stops generation with finish_reason "cancelled".
using GenerationCallback = std::function<bool(const GenerationEvent&)>;

struct TokenLogprob {
  TokenId id = 0;
  std::string text;
  float logprob = 0;
  std::vector<std::pair<TokenId, float>> top;  ///< most likely first
};

struct Generation {
  std::string text, thought;
  std::vector<GeneratedToolCall> tool_calls;
  std::vector<TokenId> ids;  ///< everything generated, the stop token included
  /// "stop" (stop token or text), "tool_calls" (stopped after calls), "length" (max_tokens), "context_full",
  /// "cancelled"
  std::string finish_reason;
  std::int64_t prompt_tokens = 0, reused_tokens = 0, completion_tokens = 0;
  double prompt_seconds = 0, decode_seconds = 0;  ///< decode excludes the first token, which the prompt yields
  std::uint64_t seed = 0;
  std::vector<TokenLogprob> logprobs;  ///< one per id when asked for
};

/// Not thread-safe: one generate at a time per session. Sessions of one model may be used from different threads; their
/// computations take turns.
class Session {
 public:
  /// Reserves the cache. Errors: invalid_argument (options), out_of_memory when it cannot fit this machine's memory.
  static Result<Session> create(const Model& model, const SessionOptions& options = {});

  /// Continues `prompt` (the whole text so far, not a difference): what the cache already holds of it is reused.
  /// Errors: context_full when the prompt does not fit, invalid_argument (options, ids), not_finite naming the first
  /// layer, unsupported. Cancelling is no error: the finish_reason says it.
  Result<Generation> generate(std::span<const TokenId> prompt, const GenerateOptions& options,
                              const GenerationCallback& callback = {});

  std::int64_t context_length() const;
  std::int64_t cached_tokens() const;  ///< positions now in the cache
  std::int64_t cache_bytes() const;    ///< bytes the cached positions occupy
  void reset();                        ///< forget everything

  struct State;

  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

 private:
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace carat
