// Encodes stretches of text with a byte-pair model.
//
// The reference treats the whole stretch as one word. Two facts make it fast and keep it exact:
// 1. If no merge joins a piece ending in character a with one beginning with b, then no merge ever reaches across a
// border
//    a|b. Merges on the two sides cannot influence each other (they compete for order only), so the sides are encoded
//    apart.
// 2. Ids t1 … tn are the encoding of a text exactly when each neighbouring pair is the encoding of its own text: up to
// the
//    first merge across a border everything inside the tokens happens in the same order with or without the rest. So a
//    long piece without borders is encoded in chunks, and only the pair at each seam needs a check.
#include "text/bpe_encoder.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "text/unicode.h"

namespace carat::text {
namespace {

constexpr std::size_t kMostRememberedBytes = 64;
constexpr std::size_t kLongPiece = 1 << 15;     // bytes above which a piece is encoded in chunks
constexpr std::size_t kChunk = 1 << 14;         // bytes of a chunk at first
constexpr std::size_t kMargin = 1 << 9;         // bytes at the end of a chunk whose tokens are thrown away
constexpr std::size_t kLongestPiece = 1 << 30;  // positions are 32-bit; a gigabyte without a border is cut

std::uint64_t load64(const char* at) {
  std::uint64_t word;
  std::memcpy(&word, at, 8);
  return word;
}
std::uint32_t load32(const char* at) {
  std::uint32_t word;
  std::memcpy(&word, at, 4);
  return word;
}

std::uint64_t hash_piece(const char* at, std::size_t bytes) {
  constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15u;
  if (bytes < 4) {
    const auto byte = [&](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(at[i])}; };
    return (byte(0) << 16 | byte(bytes / 2) << 8 | byte(bytes - 1) | bytes << 24) * kFactor;
  }
  if (bytes < 8) return ((std::uint64_t{load32(at)} << 32 | load32(at + bytes - 4)) ^ bytes) * kFactor;
  std::uint64_t hash = bytes;
  for (std::size_t i = 0; i + 8 < bytes; i += 8) {
    hash = (hash ^ load64(at + i)) * kFactor;
    hash ^= hash >> 32;
  }
  return (hash ^ load64(at + bytes - 8)) * kFactor;
}

bool same_bytes(const char* a, const char* b, std::size_t bytes) {
  if (bytes >= 8) {
    for (std::size_t i = 0; i + 8 < bytes; i += 8)
      if (load64(a + i) != load64(b + i)) return false;
    return load64(a + bytes - 8) == load64(b + bytes - 8);
  }
  if (bytes >= 4) return load32(a) == load32(b) && load32(a + bytes - 4) == load32(b + bytes - 4);
  return std::memcmp(a, b, bytes) == 0;
}

/// `bytes` further on, or a little less so that no character is cut in two, or `end`.
const char* cut(const char* at, std::size_t bytes, const char* end) {
  if (static_cast<std::size_t>(end - at) <= bytes) return end;
  const auto continues = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; };
  at += bytes;
  // A byte behind three others that continue a character begins a new one, or stands alone.
  for (int back = 0; back <= 3; ++back)
    if (!continues(*(at - back))) return at - back;
  return at;
}

}  // namespace

BpeEncoder::BpeEncoder(const BpeModel& model, std::size_t expected_bytes, std::vector<TokenId>& out)
    : model_(model), out_(out), used_(out.size()), merger_(model.merges) {
  // 32 bytes an entry: at most 512 KiB, which the second-level cache holds.
  remembered_.resize(std::bit_ceil(std::clamp<std::size_t>(expected_bytes / 8, 16, std::size_t{1} << 14)));
  out_.resize(used_ + expected_bytes / 4 + 16);
}

BpeEncoder::~BpeEncoder() { out_.resize(used_); }

void BpeEncoder::make_room(std::size_t ids) {
  if (out_.size() - used_ < ids) out_.resize(std::max(out_.size() + out_.size() / 2, used_ + ids));
}

void BpeEncoder::append(TokenId id) {
  make_room(1);
  out_[used_++] = id;
}

bool BpeEncoder::may_join(char32_t left, char32_t right) const {
  if (model_.joins.may_join(left, right)) return true;
  if (!model_.unknown_joins_unknown && !model_.unknown_joins_all) return false;
  const auto known = [&](char32_t character) {
    if (character == U' ' && model_.replace_spaces) character = kMetaSpace;
    return model_.symbols.find(character) < model_.vocab_size;
  };
  const bool left_known = known(left), right_known = known(right);
  return (!left_known && !right_known) || (model_.unknown_joins_all && (!left_known || !right_known));
}

/// The first border behind `at` that no merge crosses.
const char* BpeEncoder::piece_end(const char* at, const char* end) const {
  const bool careful = model_.unknown_joins_unknown || model_.unknown_joins_all;
  end = cut(at, kLongestPiece, end);
  CodePoint left = next_code_point(at, end);
  at += left.bytes;
  while (at < end) {
    const unsigned lead = static_cast<unsigned char>(*at);
    if (lead < 0x80 && left.value < 0x80 && !careful) {
      if (!model_.joins.may_join_ascii(left.value, lead)) return at;
      left.value = lead;
      ++at;
    } else {
      const CodePoint right = next_code_point(at, end);
      if (!may_join(left.value, right.value)) return at;
      left = right;
      at += right.bytes;
    }
  }
  return at;
}

void BpeEncoder::encode(std::string_view text, bool space_prefix) {
  const char* at = text.data();
  const char* const end = at + text.size();
  if (space_prefix && at < end) {
    const char* const border = piece_end(at, end);
    encode_piece(at, border, true);
    at = border;
  }
  while (at < end) {
    const char* const begin = at;
    at = piece_end(at, end);
    const auto bytes = static_cast<std::size_t>(at - begin);
    if (bytes > kMostRememberedBytes) {
      encode_piece(begin, at, false);
      continue;
    }
    Remembered& slot = remembered_[hash_piece(begin, bytes) >> 40 & (remembered_.size() - 1)];
    if (slot.bytes == bytes && same_bytes(slot.text, begin, bytes)) {
      make_room(slot.ids);
      const TokenId* const from = out_.data() + slot.output;
      TokenId* const to = out_.data() + used_;
      for (std::size_t i = 0; i < slot.ids; ++i) to[i] = from[i];
      used_ += slot.ids;
      continue;
    }
    const std::size_t output = used_;
    encode_piece(begin, at, false);
    slot = {begin, output, static_cast<std::uint16_t>(bytes), static_cast<std::uint16_t>(used_ - output)};
  }
}

void BpeEncoder::encode_piece(const char* begin, const char* end, bool space_prefix) {
  // Where unknown characters may be fused or reordered, symbols do not follow the text one by one: no chunks.
  const bool in_order = !model_.unknown_joins_unknown && !model_.unknown_joins_all;
  if (in_order && static_cast<std::size_t>(end - begin) > kLongPiece)
    return encode_long_piece(begin, end, space_prefix);
  symbolize(begin, end, space_prefix, false);
  append_symbols(merger_.merge(symbols_, {}));
}

/// The symbols that a piece starts from: one per character, or its bytes, or the unknown token; by the rules of the
/// reference (tokenizers, models/bpe/model.rs, merge_word), which hold an unknown token back while bytes pass it.
void BpeEncoder::symbolize(const char* begin, const char* end, bool space_prefix, bool with_ends) {
  const char* const start = begin;
  symbols_.clear();
  ends_.clear();
  bool unknown_pending = false;
  std::string utf8;
  const auto put = [&](SymbolId symbol, const char* behind) {
    symbols_.push_back(symbol);
    if (with_ends) ends_.push_back(static_cast<std::uint32_t>(behind - start));
  };
  const auto put_character = [&](char32_t character, const char* behind) {
    const SymbolId symbol = model_.symbols.find(character);
    if (symbol != kNoSymbol) {
      if (unknown_pending) put(*model_.unknown, behind);
      unknown_pending = false;
      return put(symbol, behind);
    }
    utf8.clear();
    append_utf8(character, utf8);
    const auto byte_symbol = [&](char byte) { return model_.byte_symbols[static_cast<unsigned char>(byte)]; };
    if (std::none_of(utf8.begin(), utf8.end(), [&](char byte) { return byte_symbol(byte) == kNoSymbol; })) {
      for (const char byte : utf8) put(byte_symbol(byte), behind);
    } else if (model_.score_based) {
      put(model_.unknown.value_or(kNoSymbol), behind);  // keeps its neighbours apart; fused or dropped when written
    } else if (model_.unknown) {
      if (unknown_pending && !model_.fuse_unknown) put(*model_.unknown, behind);
      unknown_pending = true;
    }
  };
  if (space_prefix) put_character(kMetaSpace, begin);
  while (begin < end) {
    const CodePoint next = next_code_point(begin, end);
    begin += next.bytes;
    put_character(next.value == U' ' && model_.replace_spaces ? kMetaSpace : next.value, begin);
  }
  if (unknown_pending) put(*model_.unknown, end);
}

void BpeEncoder::append_symbols(std::size_t count) {
  make_room(count);
  bool after_unknown = false;
  for (std::size_t i = 0; i < count; ++i) append_symbol(symbols_[i], after_unknown);
}

void BpeEncoder::append_symbol(SymbolId symbol, bool& after_unknown) {
  const auto put_unknown = [&] {
    if (!model_.unknown || (after_unknown && model_.fuse_unknown && model_.score_based)) return;
    append(static_cast<TokenId>(*model_.unknown));
    after_unknown = true;
  };
  if (symbol == kNoSymbol || symbol == model_.unknown) return put_unknown();
  if (symbol < model_.vocab_size) {
    after_unknown = false;
    return append(static_cast<TokenId>(symbol));
  }
  std::string utf8;
  append_utf8(model_.bare_characters[symbol - model_.vocab_size], utf8);
  const auto byte_symbol = [&](char byte) { return model_.byte_symbols[static_cast<unsigned char>(byte)]; };
  if (std::any_of(utf8.begin(), utf8.end(), [&](char byte) { return byte_symbol(byte) == kNoSymbol; }))
    return put_unknown();
  for (const char byte : utf8) append(static_cast<TokenId>(byte_symbol(byte)));
  after_unknown = false;
}

/// Encodes [begin, end) by itself into symbols_ and ends_.
void BpeEncoder::merge_chunk(const char* begin, const char* end, bool space_prefix) {
  symbolize(begin, end, space_prefix, true);
  const std::size_t count = merger_.merge(symbols_, ends_);
  symbols_.resize(count);
  ends_.resize(count);
}

/// Whether the token in front of a chunk stays as it is beside the chunk's first token, which symbols_ holds.
bool BpeEncoder::is_stable_seam(const Chunk& chunk) {
  const char* const pair_end = chunk.begin + ends_[0];
  std::swap(symbols_, spare_symbols_);
  std::swap(ends_, spare_ends_);
  merge_chunk(chunk.last_begin, pair_end, false);
  const bool stable = symbols_[0] == chunk.last && chunk.last_begin + ends_[0] == chunk.begin;
  std::swap(symbols_, spare_symbols_);
  std::swap(ends_, spare_ends_);
  return stable;
}

void BpeEncoder::encode_long_piece(const char* begin, const char* end, bool space_prefix) {
  chunks_.assign(1, {begin, used_, nullptr, kNoSymbol});
  std::size_t bytes = kChunk;
  for (;;) {
    const Chunk chunk = chunks_.back();
    const char* const chunk_end = cut(chunk.begin, bytes, end);
    merge_chunk(chunk.begin, chunk_end, space_prefix && chunks_.size() == 1);
    if (chunk.last_begin != nullptr && !is_stable_seam(chunk)) {
      // The seam was badly chosen: take this chunk and the one before together, and then some.
      chunks_.pop_back();
      used_ = chunks_.back().output;
      bytes = 2 * static_cast<std::size_t>(chunk_end - chunks_.back().begin);
      continue;
    }
    if (chunk_end == end) return append_symbols(symbols_.size());
    // Tokens near the end miss their right context. Neither neighbour of the seam may be a byte of a longer character,
    // nor the first token, which a prefix may be part of.
    std::size_t last = symbols_.size() > 1 ? symbols_.size() - 1 : 1;
    const std::size_t safe_end = static_cast<std::size_t>(chunk_end - chunk.begin) - kMargin;
    const auto is_seam = [&](std::size_t i) {
      return ends_[i] <= safe_end && ends_[i] > ends_[i - 1] && ends_[i + 1] > ends_[i];
    };
    do --last;
    while (last > 0 && !is_seam(last));
    if (last == 0) {
      bytes *= 2;
      continue;
    }
    append_symbols(last + 1);
    chunks_.push_back({chunk.begin + ends_[last], used_, chunk.begin + ends_[last - 1], symbols_[last]});
    bytes = kChunk;
  }
}

}  // namespace carat::text
