// Encodes stretches of text with a byte-pair model: cuts them where no merge can reach across, merges each piece, and
// remembers pieces it has met before.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe_merger.h"
#include "text/bpe_model.h"

namespace carat::text {

/// The working memory of one encode call: appends to `out`. The texts given to encode() must outlive the object,
/// because the memory of pieces points into them.
class BpeEncoder {
 public:
  /// `expected_bytes` sizes the memory; any number is right.
  BpeEncoder(const BpeModel& model, std::size_t expected_bytes, std::vector<TokenId>& out);
  /// Cuts `out` to what was written.
  ~BpeEncoder();
  BpeEncoder(const BpeEncoder&) = delete;
  BpeEncoder& operator=(const BpeEncoder&) = delete;

  /// Appends the ids of one stretch of text between special tokens, with "▁" put before it when `space_prefix` is set.
  void encode(std::string_view text, bool space_prefix);
  void append(TokenId id);

 private:
  /// A piece met before: its text, and where its ids stand in the output.
  struct Remembered {
    const char* text = nullptr;
    std::size_t output = 0;
    std::uint16_t bytes = 0;
    std::uint16_t ids = 0;
  };
  /// A part of a long piece that has been encoded, and what would undo it.
  struct Chunk {
    const char* begin;
    std::size_t output;      // ids written before it
    const char* last_begin;  // where the token in front of `begin` starts; nullptr at the start of the piece
    SymbolId last;
  };

  const char* piece_end(const char* at, const char* end) const;
  bool may_join(char32_t left, char32_t right) const;
  void encode_piece(const char* begin, const char* end, bool space_prefix);
  void encode_long_piece(const char* begin, const char* end, bool space_prefix);
  void merge_chunk(const char* begin, const char* end, bool space_prefix);
  bool is_stable_seam(const Chunk& chunk);
  void symbolize(const char* begin, const char* end, bool space_prefix, bool with_ends);
  void append_symbol(SymbolId symbol, bool& after_unknown);
  void append_symbols(std::size_t count);
  void make_room(std::size_t ids);

  const BpeModel& model_;
  std::vector<TokenId>& out_;
  std::size_t used_;  // ids written; out_ is larger while we write
  std::vector<Remembered> remembered_;
  BpeMerger merger_;
  std::vector<SymbolId> symbols_, spare_symbols_;
  std::vector<std::uint32_t> ends_, spare_ends_;  // byte offset behind each symbol, from where the chunk begins
  std::vector<Chunk> chunks_;
};

}  // namespace carat::text
