// Text to token ids and back: the BPE vocabulary of Gemma 4 and the score-based SentencePiece vocabulary of Gemma 3.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"
#include "formats/checkpoint.h"

namespace carat::text {

using TokenId = std::int32_t;

enum class TokenKind : std::uint8_t { normal, unknown, control, user_defined, unused, byte };

struct TokenizerSource;

struct EncodeOptions {
  /// Literals of control and user-defined tokens become their ids. Off for anything a user wrote: text can then never
  /// forge a control token.
  bool special = false;
  bool bos = false;  ///< put the BOS id first
};

/// Immutable after loading; any number of threads may call every const member.
class Tokenizer {
 public:
  Tokenizer();
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// From tokenizer.json of a Hugging Face directory or the tokenizer.* keys of a GGUF file. bad_file/unsupported say
  /// which key or field is wrong. A checkpoint without a tokenizer is unsupported with a text that says so.
  static Result<Tokenizer> from_checkpoint(const formats::Checkpoint& checkpoint);

  /// The same from the parts: the tokenizer.* keys of a GGUF file; the text of tokenizer.json with
  /// tokenizer_config.json (null Json when there is none), `origin` naming them in errors; a vocabulary put together by
  /// hand. Nothing of the arguments is kept.
  static Result<Tokenizer> from_gguf(const formats::GgufMetadata& metadata);
  static Result<Tokenizer> from_tokenizer_json(std::string_view json, const formats::Json& tokenizer_config,
                                               const std::string& origin);
  static Result<Tokenizer> build(const TokenizerSource& source);

  /// Appends the ids of `text` to `out`. Never fails: any bytes encode, and large inputs stay O(n log n).
  ///
  /// Equal to the reference (the `tokenizers` library; for score-based vocabularies SentencePiece): without `special`
  /// as if no added tokens were declared, with it as if the control and user-defined tokens were. Text mode never
  /// yields a control or unknown token by merging, even if a vocabulary has such merges (none published does).
  /// Score-based vocabularies match their user-defined pieces (newline runs, "<table>") in text mode too: they are part
  /// of the model. Ill-formed UTF-8 is encoded as the text with each maximal ill-formed stretch replaced by U+FFFD,
  /// which is how the reference sees such bytes (Python's errors="replace", Rust's from_utf8_lossy).
  void encode(std::string_view text, const EncodeOptions& options, std::vector<TokenId>& out) const;
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// The text of ids. Byte tokens join to UTF-8; invalid sequences become U+FFFD per byte (the reference replaces all
  /// of a run of byte tokens when any of it is invalid, which no stream could do). Control and unknown tokens print as
  /// their literal when `special` is set and as nothing otherwise; user-defined tokens always print. An id outside the
  /// vocabulary is an error. decode(encode(x)) == x for well-formed x without "▁" (U+2581, which comes back as a
  /// space).
  Result<std::string> decode(std::span<const TokenId> ids, bool special = true) const;

  TokenId vocab_size() const;
  TokenKind kind(TokenId id) const;
  /// The piece as stored ("▁the", "<0x0A>", "<bos>").
  std::string_view piece(TokenId id) const;
  /// The raw bytes an id stands for when printed ("▁" is a space, byte tokens one byte). Both are empty, and the kind
  /// is `unused`, for an id outside the vocabulary or in a gap of it.
  std::string_view bytes(TokenId id) const;
  /// The id of a special literal such as "<|turn>" in this checkpoint, whatever its number.
  std::optional<TokenId> find_special(std::string_view literal) const;
  std::optional<TokenId> bos() const;
  std::optional<TokenId> eos() const;
  std::optional<TokenId> pad() const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

/// Turns a stream of ids into text that never ends inside a code point: bytes are held back until they complete one, or
/// are known to be invalid (then U+FFFD per byte).
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool special = true) : tokenizer_(&tokenizer), special_(special) {}
  /// The text that became complete with this id, possibly empty. An id outside the vocabulary adds nothing.
  std::string push(TokenId id);
  /// What is still held back, as U+FFFD; the decoder starts anew.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool special_;
  std::string pending_;
};

}  // namespace carat::text
