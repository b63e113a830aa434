// A session: one conversation's or text's state in a model, and generation from it. With a checkpoint and a model as in
// checkpoint.h and model.h:
//
//   auto session = carat::Session::create(*model, {.context_length = 256});
//   auto prompt = checkpoint->render(R"([{"role":"user","content":"Hi"}])", "");
//   if (!session || !prompt) return 1;
//   carat::GenerateOptions options;
//   options.max_tokens = 100;
//   options.starts_in_thought = prompt->starts_in_thought;
//   auto answer = session->generate(prompt->ids, options, [](const carat::GenerationEvent& event) {
//     if (event.kind == carat::GenerationEvent::Kind::content) std::cout << event.text;
//     return true;  // false stops
//   });
//   if (!answer) {
//     std::cerr << answer.error().message << '\n';
//     return 1;
//   }
//   std::cout << '\n' << answer->completion_tokens << " tokens, ended by " << answer->finish_reason << '\n';
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

/// A function the model wants called.
struct GeneratedToolCall {
  std::string name;
  std::string arguments_json;  ///< an object
};

/// A piece of the answer as it is generated.
struct GenerationEvent {
  enum class Kind {
    prompt,     ///< progress through the prompt: done and total, no text
    media,      ///< progress through encoding media: done and total of them, no text
    thought,    ///< text of the thinking channel
    content,    ///< text of the answer
    tool_call,  ///< a complete call, in `tool_call`
    error,      ///< why a call could not be parsed; its raw text follows as content
  } kind = Kind::content;
  std::string text;  ///< UTF-8, whole characters
  GeneratedToolCall tool_call;
  std::int64_t done = 0, total = 0;  ///< tokens of the prompt, those reused counted as done
};
/// Called on the generating thread. Returning false stops generation with finish_reason "cancelled"; text that was held
/// back may still follow. Must not throw, and must not call the session or a computation of its model.
using GenerationCallback = std::function<bool(const GenerationEvent&)>;

/// One generated token with natural log probabilities, those of the model before bias, penalties and filters.
struct TokenLogprob {
  TokenId id = 0;
  std::string text;  ///< its bytes, which may be part of a character
  float logprob = 0;
  std::vector<std::pair<TokenId, float>> top;  ///< most likely first
};

/// A finished answer.
struct Generation {
  std::string text, thought;  ///< all content, all thoughts
  std::vector<GeneratedToolCall> tool_calls;
  std::vector<TokenId> ids;  ///< everything generated, the stop token included
  /// "stop" (stop token or text), "tool_calls" (stopped after calls), "length" (max_tokens), "context_full",
  /// "cancelled"
  std::string finish_reason;
  /// Tokens of the prompt, those of them the cache already held, tokens generated.
  std::int64_t prompt_tokens = 0, reused_tokens = 0, completion_tokens = 0;
  double encoder_load_seconds = 0;                ///< loading the encoders: with the first medium alone
  double media_seconds = 0;                       ///< encoding the prompt's media, before the prompt
  double prompt_seconds = 0, decode_seconds = 0;  ///< decode excludes the first token, which the prompt yields
  std::uint64_t seed = 0;                         ///< the one used, given or drawn
  std::vector<TokenLogprob> logprobs;             ///< one per id when asked for
};

/// Not thread-safe: one call at a time per session. Sessions of one model may be used from different threads; their
/// computations take turns. Keeps its model alive. A session that was moved from can only be assigned to or destroyed.
class Session {
 public:
  /// Reserves the cache's address space; memory is taken as it fills. Errors: invalid_argument (options), out_of_memory
  /// when it cannot fit this machine's memory (Checkpoint::fits). Any thread.
  static Result<Session> create(const Model& model, const SessionOptions& options = {});

  /// Continues `prompt` [T] (the whole text so far, not a difference): what the cache already holds of it is reused.
  /// Blocking until the answer ends. Without a tokenizer in the checkpoint the answer has ids and no text. Cancelling,
  /// by the callback or GenerateOptions::cancel, is no error: the finish_reason says it. Errors: context_full when the
  /// prompt does not fit, invalid_argument (options, no ids, an id outside the vocabulary), bad_file (tools that are
  /// not JSON), not_finite naming the first layer.
  Result<Generation> generate(std::span<const TokenId> prompt, const GenerateOptions& options,
                              const GenerationCallback& callback = {});

  /// The same for a rendered prompt with its media, which are encoded first (features of the last of them are kept with
  /// the model, 512 MiB at most). Errors: those of loading the encoders besides.
  Result<Generation> generate(const RenderedPrompt& prompt, const GenerateOptions& options,
                              const GenerationCallback& callback = {});

  std::int64_t context_length() const;  ///< tokens the session may hold
  std::int64_t cached_tokens() const;   ///< tokens now in the cache
  std::int64_t cache_bytes() const;     ///< bytes they occupy
  void reset();                         ///< forgets everything; the next prompt is computed in full

  struct State;

  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

 private:
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace carat
