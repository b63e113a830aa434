// Builds the tables of byte-pair encoding from a vocabulary, checking all that the encoder will rely on.
#include "text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>

#include "base/concat.h"
#include "formats/quote.h"
#include "text/byte_pieces.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

using base::concat;
using formats::quote;

std::uint64_t hash_bytes(std::string_view text) {
  std::uint64_t hash = text.size() * 0x9E3779B97F4A7C15u;
  const char* at = text.data();
  std::size_t left = text.size();
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  }
  std::uint64_t word = 0;
  if (left != 0) std::memcpy(&word, at, left);
  hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
  return hash ^ hash >> 32;
}

/// Finds ids by piece while loading. Open addressing; each slot keeps part of the hash so that most misses cost one
/// probe.
class PieceIndex {
 public:
  explicit PieceIndex(const std::vector<std::string_view>& pieces) : pieces_(pieces) {
    slots_.resize(std::bit_ceil(pieces.size() * 2 + 2), Slot{0, kNoSymbol});
  }

  /// The id that has the piece already, or kNoSymbol once inserted.
  SymbolId insert(SymbolId id) {
    const std::uint64_t hash = hash_bytes(pieces_[id]);
    std::size_t at = hash & (slots_.size() - 1);
    for (; slots_[at].id != kNoSymbol; at = (at + 1) & (slots_.size() - 1))
      if (slots_[at].tag == tag(hash) && pieces_[slots_[at].id] == pieces_[id]) return slots_[at].id;
    slots_[at] = {tag(hash), id};
    return kNoSymbol;
  }

  SymbolId find(std::string_view piece) const { return find(piece, hash_bytes(piece)); }
  SymbolId find(std::string_view piece, std::uint64_t hash) const {
    for (std::size_t at = hash & (slots_.size() - 1); slots_[at].id != kNoSymbol; at = (at + 1) & (slots_.size() - 1))
      if (slots_[at].tag == tag(hash) && pieces_[slots_[at].id] == piece) return slots_[at].id;
    return kNoSymbol;
  }
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&slots_[hash & (slots_.size() - 1)]); }
  /// Brings in the piece that find() will compare with; the slot should have arrived.
  void prefetch_piece(std::uint64_t hash) const {
    const Slot& slot = slots_[hash & (slots_.size() - 1)];
    if (slot.id != kNoSymbol) __builtin_prefetch(&pieces_[slot.id]);
  }

 private:
  struct Slot {
    std::uint32_t tag;
    SymbolId id;
  };
  static std::uint32_t tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

  const std::vector<std::string_view>& pieces_;
  std::vector<Slot> slots_;
};

char32_t first_code_point(std::string_view piece) {
  return next_code_point(piece.data(), piece.data() + piece.size()).value;
}
char32_t last_code_point(std::string_view piece) {
  const char* const end = piece.data() + piece.size();
  const char* at = end - 1;
  while (at > piece.data() && (static_cast<unsigned char>(*at) & 0xC0) == 0x80) --at;
  return next_code_point(at, end).value;
}
bool is_one_code_point(std::string_view piece) {
  return next_code_point(piece.data(), piece.data() + piece.size()).bytes == piece.size();
}

class Builder {
 public:
  explicit Builder(const TokenizerSource& source) : source_(source), index_(source.pieces) {
    // Text never becomes a control or unknown token by merging, whatever the vocabulary says.
    text_.reserve(source.kinds.size());
    for (const TokenKind kind : source.kinds) text_.push_back(kind != TokenKind::control && kind != TokenKind::unknown);
    for (const TokenId id : source.outside_model) text_[static_cast<std::size_t>(id)] = false;
  }

  Result<BpeModel> build() {
    model_.vocab_size = static_cast<SymbolId>(source_.pieces.size());
    model_.fuse_unknown = source_.fuse_unknown;
    model_.score_based = !source_.has_merges;
    model_.replace_spaces = source_.replace_spaces;
    if (source_.unknown) model_.unknown = static_cast<SymbolId>(*source_.unknown);
    if (auto done = add_pieces(); !done) return forward(done);
    if (source_.has_merges) {
      if (auto done = add_merges(); !done) return forward(done);
    } else {
      if (auto done = add_splits(); !done) return forward(done);
    }
    add_joins();
    return std::move(model_);
  }

 private:
  template <typename... Parts>
  std::unexpected<Error> bad(const Parts&... parts) const {
    return fail(ErrorCode::bad_file, concat(source_.origin, ": ", parts...));
  }

  Result<void> add_pieces() {
    model_.byte_symbols.fill(kNoSymbol);
    int bytes = 0;
    for (SymbolId id = 0; id < model_.vocab_size; ++id) {
      const std::string_view piece = source_.pieces[id];
      const TokenKind kind = source_.kinds[id];
      if (piece.empty()) continue;
      if (const auto at = find_invalid_utf8(piece); at != piece.npos)
        return bad("token ", id, " ", quote(piece), " is not valid UTF-8 at byte ", at, "; expected UTF-8 text");
      if (const SymbolId other = index_.insert(id); other != kNoSymbol)
        return bad("tokens ", other, " and ", id, " are both ", quote(piece), "; expected each piece once");
      const std::optional<unsigned> byte = byte_of_piece(piece);
      if (kind == TokenKind::byte && !byte)
        return bad("token ", id, " ", quote(piece), " has the type byte; expected \"<0x00>\" to \"<0xFF>\"");
      if (byte && source_.byte_fallback && text_[id]) {
        model_.byte_symbols[*byte] = id;
        ++bytes;
      }
      if (text_[id] && is_one_code_point(piece)) model_.symbols.insert(first_code_point(piece), id);
    }
    model_.byte_fallback = bytes > 0;
    if (bytes < 256) {
      model_.unknown_joins_unknown = true;
      if (!model_.unknown) model_.unknown_joins_all = true;  // such characters vanish, and their neighbours meet
    }
    return {};
  }

  bool is_byte_or_unknown(SymbolId id) const {
    if (model_.unknown == id) return true;
    const auto byte = byte_of_piece(source_.pieces[id]);
    return byte && model_.byte_symbols[*byte] == id;
  }

  void add_join(std::string_view left, std::string_view right) {
    joins_.push_back(std::uint64_t{last_code_point(left)} << 32 | first_code_point(right));
  }

  // Merges come by the hundred thousand and each needs three look-ups in tables larger than the cache, so they go
  // through in groups whose memory is asked for ahead.
  Result<void> add_merges() {
    constexpr std::size_t kGroup = 16;
    const auto& rules = source_.merges;
    model_.merges = MergeTable(rules.size());
    joins_.reserve(rules.size());
    struct Lookup {
      std::uint64_t left, right, result;
      std::string joined;
    };
    std::array<Lookup, kGroup> group;
    for (std::size_t first = 0; first < rules.size(); first += kGroup) {
      const std::size_t count = std::min(kGroup, rules.size() - first);
      for (std::size_t i = 0; i < count; ++i) {
        const auto& rule = rules[first + i];
        Lookup& lookup = group[i];
        lookup.joined.assign(rule.left).append(rule.right);
        lookup.left = hash_bytes(rule.left);
        lookup.right = hash_bytes(rule.right);
        lookup.result = hash_bytes(lookup.joined);
        for (const std::uint64_t hash : {lookup.left, lookup.right, lookup.result}) index_.prefetch(hash);
      }
      for (std::size_t i = 0; i < count; ++i)
        for (const std::uint64_t hash : {group[i].left, group[i].right, group[i].result}) index_.prefetch_piece(hash);
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t rank = first + i;
        const auto& rule = rules[rank];
        if (rule.left.empty() || rule.right.empty())
          return bad("merge ", rank, " has an empty side; expected two pieces");
        const SymbolId left = index_.find(rule.left, group[i].left);
        const SymbolId right = index_.find(rule.right, group[i].right);
        const SymbolId result = index_.find(group[i].joined, group[i].result);
        if (left == kNoSymbol || right == kNoSymbol)
          return bad("merge ", rank, " names ", quote(left == kNoSymbol ? rule.left : rule.right),
                     ", which is no token; expected both sides in the vocabulary");
        if (result == kNoSymbol)
          return bad("merge ", rank, " yields ", quote(group[i].joined),
                     ", which is no token; expected it in the vocabulary");
        if (!text_[result]) continue;
        if (is_byte_or_unknown(left) || is_byte_or_unknown(right)) model_.unknown_joins_all = true;
        model_.merges.insert(left, right, {static_cast<std::uint32_t>(rank), result});
        add_join(rule.left, rule.right);
      }
    }
    return {};
  }

  /// The symbol that a side of a split is while merging, or kNoSymbol when text can never become it.
  SymbolId side(std::string_view text) {
    const SymbolId id = index_.find(text);
    if (id != kNoSymbol && can_be_piece(id)) return id;
    if (!is_one_code_point(text)) return kNoSymbol;
    const char32_t character = first_code_point(text);
    SymbolId symbol = model_.symbols.find(character);
    if (symbol == kNoSymbol) {
      symbol = model_.vocab_size + static_cast<SymbolId>(model_.bare_characters.size());
      model_.bare_characters.push_back(character);
      model_.symbols.insert(character, symbol);
    }
    return symbol;
  }
  bool can_be_piece(SymbolId id) const { return text_[id] && source_.kinds[id] != TokenKind::byte; }

  // SentencePiece merges the neighbours whose union is the piece of the highest score, the leftmost on ties.
  Result<void> add_splits() {
    std::vector<float> order;  // distinct scores, highest first: the rank of a score is its place
    for (SymbolId id = 0; id < model_.vocab_size; ++id) {
      if (std::isnan(source_.scores[id])) return bad("the score of token ", id, " is not a number");
      if (!can_be_piece(id)) continue;
      order.push_back(source_.scores[id]);
    }
    std::sort(order.begin(), order.end(), std::greater<>());
    order.erase(std::unique(order.begin(), order.end()), order.end());

    struct Split {
      SymbolId left, right;
      Merge merge;
    };
    std::vector<Split> found;
    for (SymbolId id = 0; id < model_.vocab_size; ++id) {
      const std::string_view piece = source_.pieces[id];
      if (!can_be_piece(id) || piece.empty()) continue;
      const auto rank = static_cast<std::uint32_t>(
          std::lower_bound(order.begin(), order.end(), source_.scores[id], std::greater<>()) - order.begin());
      const char* const end = piece.data() + piece.size();
      for (const char* at = piece.data() + next_code_point(piece.data(), end).bytes; at < end;
           at += next_code_point(at, end).bytes) {
        const std::string_view left(piece.data(), static_cast<std::size_t>(at - piece.data()));
        const std::string_view right(at, static_cast<std::size_t>(end - at));
        const SymbolId left_symbol = side(left);
        if (left_symbol == kNoSymbol) continue;
        const SymbolId right_symbol = side(right);
        if (right_symbol == kNoSymbol) continue;
        found.push_back({left_symbol, right_symbol, {rank, id}});
        add_join(left, right);
      }
    }
    model_.merges = MergeTable(found.size());
    for (const Split& split : found) model_.merges.insert(split.left, split.right, split.merge);
    return {};
  }

  void add_joins() {
    std::sort(joins_.begin(), joins_.end());
    joins_.erase(std::unique(joins_.begin(), joins_.end()), joins_.end());
    model_.joins = JoinTable(joins_.size() * (source_.replace_spaces ? 2 : 1));
    for (const std::uint64_t join : joins_) {
      const auto left = static_cast<char32_t>(join >> 32), right = static_cast<char32_t>(join & 0xFFFFFFFF);
      // The encoder looks at raw text, where a space stands for "▁".
      const bool space_left = source_.replace_spaces && left == kMetaSpace;
      const bool space_right = source_.replace_spaces && right == kMetaSpace;
      model_.joins.insert(left, right);
      if (space_left) model_.joins.insert(U' ', right);
      if (space_right) model_.joins.insert(left, U' ');
      if (space_left && space_right) model_.joins.insert(U' ', U' ');
    }
  }

  const TokenizerSource& source_;
  PieceIndex index_;
  BpeModel model_;
  std::vector<bool> text_;            // by id: text may become this token
  std::vector<std::uint64_t> joins_;  // last code point of a left side << 32 | first of its right side
};

}  // namespace

Result<BpeModel> build_bpe_model(const TokenizerSource& source) { return Builder(source).build(); }

}  // namespace carat::text
