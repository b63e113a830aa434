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

  /// Never fails: any bytes encode (invalid UTF-8 by the rule of the reference) and large inputs stay O(n log n).
  void encode(std::string_view text, const EncodeOptions& options, std::vector<TokenId>& out) const;
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// The text of ids. Byte tokens join to UTF-8; invalid sequences become U+FFFD per byte. Control tokens print as their
  /// literal when `special` is set and as nothing otherwise; user-defined tokens always print. An id outside the
  /// vocabulary is an error.
  Result<std::string> decode(std::span<const TokenId> ids, bool special = true) const;

  TokenId vocab_size() const;
  TokenKind kind(TokenId id) const;
  /// The piece as stored ("▁the", "<0x0A>", "<bos>").
  std::string_view piece(TokenId id) const;
  /// The raw bytes an id stands for when printed ("▁" is a space, byte tokens one byte).
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
  /// The text that became complete with this id, possibly empty.
  std::string push(TokenId id);
  /// What is still held back, as U+FFFD; the decoder starts anew.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool special_;
  std::string pending_;
};

}  // namespace carat::text
