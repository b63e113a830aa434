// What byte-pair encoding needs to know of a vocabulary, in the form the encoder reads it.
// Score-based vocabularies are brought to the same form: each way to split a piece in two is a merge, ranked by the
// score of the piece.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"
#include "text/bpe_tables.h"
#include "text/tokenizer_source.h"

namespace carat::text {

struct BpeModel {
  MergeTable merges;
  SymbolTable symbols;
  JoinTable joins;
  SymbolId vocab_size = 0;
  /// Characters that start longer pieces without being pieces themselves (score-based vocabularies): symbol
  /// vocab_size + i. Left unmerged they fall back to bytes.
  std::vector<char32_t> bare_characters;

  std::array<SymbolId, 256> byte_symbols{};  ///< kNoSymbol where the vocabulary has no such byte
  bool byte_fallback = false;                ///< some byte has a symbol
  std::optional<SymbolId> unknown;
  bool fuse_unknown = true;
  bool score_based = false;
  bool replace_spaces = true;

  /// Characters outside the vocabulary can touch their neighbours' merges, be fused or vanish (some byte token is
  /// missing or takes part in merges): borders next to them are then no borders. Never so for the published
  /// vocabularies.
  bool unknown_joins_unknown = false;
  bool unknown_joins_all = false;
};

/// Builds the tables of a source. Errors: bad_file for pieces that are not UTF-8, appear twice, or are no byte although
/// of the kind byte; merges that name absent pieces or yield one; scores that are no numbers.
Result<BpeModel> build_bpe_model(const TokenizerSource& source);

}  // namespace carat::text
