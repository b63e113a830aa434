// A tokenizer as its file describes it, whatever the format: what the readers fill and the builder checks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"
#include "formats/checkpoint.h"
#include "text/tokenizer.h"

namespace carat::text {

/// A literal that becomes an id when special tokens are asked for.
struct SpecialLiteral {
  TokenId id = 0;
  bool normalized = false;  ///< spaces of text match "▁" of the literal; such literals match after all others
};

/// Views point into the file's bytes or into `document`.
struct TokenizerSource {
  std::string origin;                    ///< path and part, for messages: gguf "m.gguf"
  std::vector<std::string_view> pieces;  ///< by id, UTF-8; empty for an id that nothing has
  std::vector<TokenKind> kinds;          ///< by id
  /// Merge rules "left right" by rank, when the vocabulary has them; otherwise `scores` by id.
  bool has_merges = true;
  struct MergeRule {
    std::string_view left, right;
  };
  std::vector<MergeRule> merges;
  std::vector<float> scores;

  std::vector<SpecialLiteral> special;  ///< what special mode recognises
  std::vector<TokenId> outside_model;   ///< of those, the ones that byte-pair encoding does not know
  /// Score-based vocabularies only: user-defined pieces are matched in all text, as SentencePiece does.
  bool always_match_user_defined = false;

  bool replace_spaces = true;     ///< a space of text is "▁" in pieces
  bool add_space_prefix = false;  ///< "▁" goes before each stretch of text
  bool byte_fallback = true;      ///< characters outside the vocabulary become "<0xXX>" tokens
  bool fuse_unknown = true;       ///< neighbouring unknown characters are one unknown token
  std::optional<TokenId> unknown, bos, eos, pad;

  std::shared_ptr<const formats::Json> document;  ///< keeps the views of a JSON source alive
};

/// From the tokenizer.* keys of a GGUF file. Errors name the key, what it holds and what was expected.
Result<TokenizerSource> read_gguf_tokenizer(const formats::GgufMetadata& metadata);

/// From the text of tokenizer.json, and tokenizer_config.json (or null) for the names of BOS, EOS and padding.
Result<TokenizerSource> read_huggingface_tokenizer(std::string_view tokenizer_json,
                                                   const formats::Json& tokenizer_config, const std::string& origin);

}  // namespace carat::text
