// The tokenizer's public face: special literals around the byte-pair encoder, and ids back to text.
#include "text/tokenizer.h"

#include <algorithm>
#include <deque>

#include "base/concat.h"
#include "formats/quote.h"
#include "text/bpe_encoder.h"
#include "text/bpe_model.h"
#include "text/byte_pieces.h"
#include "text/special_tokens.h"
#include "text/tokenizer_source.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

using base::concat;

constexpr std::size_t kLongestSpecial = 4096;  // bytes; matching walks at most this far at each position of a text

/// Many short strings in one allocation.
class StringTable {
 public:
  void add(std::string_view text) {
    bytes_.append(text);
    ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }
  void reserve(std::size_t strings, std::size_t bytes) {
    ends_.reserve(strings);
    bytes_.reserve(bytes);
  }
  std::size_t size() const { return ends_.size(); }
  std::string_view operator[](std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }

 private:
  std::string bytes_;
  std::vector<std::uint32_t> ends_;
};

}  // namespace

struct Tokenizer::Impl {
  StringTable pieces, printed;
  std::vector<TokenKind> kinds;
  BpeModel model;
  bool add_space_prefix = false;
  SpecialTokens special;             // matched in raw text
  SpecialTokens special_normalized;  // matched between those, in text with its spaces replaced and its prefix
  SpecialTokens user_defined;        // matched in text mode too (score-based vocabularies)
  std::vector<std::pair<std::string, TokenId>> literals;  // of all special tokens, sorted
  std::optional<TokenId> bos, eos, pad;

  /// Calls `rest` for the text between the literals of a set and appends their ids.
  template <typename Rest>
  static void split(BpeEncoder& encoder, const SpecialTokens& set, std::string_view text, Rest rest) {
    std::size_t at = 0;
    while (const auto match = set.find(text, at)) {
      if (match->begin > at) rest(text.substr(at, match->begin - at));
      encoder.append(match->id);
      at = match->end;
    }
    if (at < text.size()) rest(text.substr(at));
  }
};

Tokenizer::Tokenizer() : impl_(std::make_unique<const Impl>()) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Result<Tokenizer> Tokenizer::from_checkpoint(const formats::Checkpoint& checkpoint) {
  if (checkpoint.format() == formats::Format::gguf) return from_gguf(checkpoint.metadata());
  if (checkpoint.tokenizer_json().empty())
    return fail(ErrorCode::unsupported,
                concat(formats::quote(checkpoint.path().string()),
                       ": no tokenizer.json; put the model's tokenizer.json into the directory"));
  const std::string origin = concat(formats::quote((checkpoint.path() / "tokenizer.json").string()));
  return from_tokenizer_json(checkpoint.tokenizer_json(), checkpoint.tokenizer_config(), origin);
}

Result<Tokenizer> Tokenizer::from_gguf(const formats::GgufMetadata& metadata) {
  auto source = read_gguf_tokenizer(metadata);
  if (!source) return forward(source);
  return build(*source);
}

Result<Tokenizer> Tokenizer::from_tokenizer_json(std::string_view json, const formats::Json& tokenizer_config,
                                                 const std::string& origin) {
  auto source = read_huggingface_tokenizer(json, tokenizer_config, origin);
  if (!source) return forward(source);
  return build(*source);
}

Result<Tokenizer> Tokenizer::build(const TokenizerSource& source) {
  const std::size_t size = source.pieces.size();
  const auto bad = [&](const auto&... parts) {
    return fail(ErrorCode::bad_file, concat(source.origin, ": ", parts...));
  };
  if (size == 0) return bad("the vocabulary is empty; expected at least one token");
  if (size > (std::size_t{1} << 28)) return bad("the vocabulary has ", size, " tokens; expected at most 2^28");
  if (source.kinds.size() != size)
    return bad("there are ", source.kinds.size(), " token types for ", size, " tokens; expected one each");
  if (!source.has_merges && source.scores.size() != size)
    return bad("there are ", source.scores.size(), " scores for ", size, " tokens; expected one each");
  const std::pair<const char*, std::optional<TokenId>> named[] = {
      {"unknown", source.unknown}, {"BOS", source.bos}, {"EOS", source.eos}, {"padding", source.pad}};
  for (const auto& [name, id] : named)
    if (id && (*id < 0 || static_cast<std::size_t>(*id) >= size))
      return bad("the ", name, " token is ", *id, "; expected an id below the vocabulary size ", size);
  for (const SpecialLiteral& literal : source.special)
    if (literal.id < 0 || static_cast<std::size_t>(literal.id) >= size)
      return bad("a special token has the id ", literal.id, "; expected an id below the vocabulary size ", size);

  for (const TokenId id : source.outside_model)
    if (id < 0 || static_cast<std::size_t>(id) >= size)
      return bad("an added token has the id ", id, "; expected an id below the vocabulary size ", size);

  auto model = build_bpe_model(source);
  if (!model) return forward(model);
  auto impl = std::make_unique<Impl>();
  impl->model = std::move(*model);
  impl->kinds = source.kinds;
  impl->add_space_prefix = source.add_space_prefix;
  impl->special_normalized = SpecialTokens(source.replace_spaces);
  impl->bos = source.bos;
  impl->eos = source.eos;
  impl->pad = source.pad;

  std::size_t bytes = 0;
  for (const std::string_view piece : source.pieces) bytes += piece.size();
  if (bytes > 0xFFFFFFFF) return bad("the vocabulary holds ", bytes, " bytes of text; expected less than 4 GiB");
  impl->pieces.reserve(size, bytes);
  impl->printed.reserve(size, bytes);
  std::string printed;
  for (std::size_t id = 0; id < size; ++id) {
    const std::string_view piece = source.pieces[id];
    impl->pieces.add(piece);
    const auto byte = source.kinds[id] == TokenKind::byte ? byte_of_piece(piece) : std::nullopt;
    printed.clear();
    if (byte)
      printed.push_back(static_cast<char>(*byte));
    else if (source.replace_spaces)
      append_with_spaces(piece, printed);
    else
      printed = piece;
    impl->printed.add(printed);
  }

  for (const SpecialLiteral& literal : source.special) {
    const std::string_view piece = source.pieces[static_cast<std::size_t>(literal.id)];
    if (piece.size() > kLongestSpecial)
      return bad("special token ", literal.id, " has ", piece.size(), " bytes; expected at most ", kLongestSpecial);
    if (literal.normalized)  // the reference normalizes the literal like the text, prefix included
      impl->special_normalized.add(concat(source.add_space_prefix ? kMetaSpaceUtf8 : "", piece), literal.id);
    else
      impl->special.add(piece, literal.id);
    impl->literals.emplace_back(piece, literal.id);
    if (source.always_match_user_defined &&
        source.kinds[static_cast<std::size_t>(literal.id)] == TokenKind::user_defined)
      impl->user_defined.add(piece, literal.id);
  }
  impl->special.seal();
  impl->special_normalized.seal();
  impl->user_defined.seal();
  std::sort(impl->literals.begin(), impl->literals.end());
  Tokenizer tokenizer;
  tokenizer.impl_ = std::move(impl);
  return tokenizer;
}

void Tokenizer::encode(std::string_view text, const EncodeOptions& options, std::vector<TokenId>& out) const {
  if (options.bos && impl_->bos) out.push_back(*impl_->bos);
  std::deque<std::string> prefixed;  // the encoder keeps pointers into what it has encoded
  BpeEncoder encoder(impl_->model, text.size(), out);
  const auto plain = [&](std::string_view rest) { encoder.encode(rest, impl_->add_space_prefix); };
  if (options.special) {
    Impl::split(encoder, impl_->special, text, [&](std::string_view rest) {
      if (impl_->special_normalized.empty()) return plain(rest);
      if (impl_->add_space_prefix) rest = prefixed.emplace_back(concat(kMetaSpaceUtf8, rest));
      Impl::split(encoder, impl_->special_normalized, rest,
                  [&](std::string_view inner) { encoder.encode(inner, false); });
    });
  } else if (!impl_->user_defined.empty()) {
    Impl::split(encoder, impl_->user_defined, text, plain);
  } else {
    plain(text);
  }
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> out;
  encode(text, options, out);
  return out;
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids, bool special) const {
  std::string raw;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const TokenId id = ids[i];
    if (id < 0 || id >= vocab_size())
      return fail(ErrorCode::invalid_argument, concat("decode: id ", id, " at position ", i,
                                                      " is outside the vocabulary of ", vocab_size(), " tokens"));
    const TokenKind token_kind = kind(id);
    if (!special && (token_kind == TokenKind::control || token_kind == TokenKind::unknown)) continue;
    raw.append(bytes(id));
  }
  std::string out;
  out.reserve(raw.size());
  append_valid_utf8(raw, false, out);
  return out;
}

TokenId Tokenizer::vocab_size() const { return static_cast<TokenId>(impl_->pieces.size()); }

namespace {
bool is_inside(TokenId id, std::size_t size) { return id >= 0 && static_cast<std::size_t>(id) < size; }
}  // namespace

TokenKind Tokenizer::kind(TokenId id) const {
  return is_inside(id, impl_->kinds.size()) ? impl_->kinds[static_cast<std::size_t>(id)] : TokenKind::unused;
}
std::string_view Tokenizer::piece(TokenId id) const {
  return is_inside(id, impl_->pieces.size()) ? impl_->pieces[static_cast<std::size_t>(id)] : std::string_view();
}
std::string_view Tokenizer::bytes(TokenId id) const {
  return is_inside(id, impl_->printed.size()) ? impl_->printed[static_cast<std::size_t>(id)] : std::string_view();
}

std::optional<TokenId> Tokenizer::find_special(std::string_view literal) const {
  const auto at = std::lower_bound(impl_->literals.begin(), impl_->literals.end(), literal,
                                   [](const auto& entry, std::string_view text) { return entry.first < text; });
  if (at == impl_->literals.end() || at->first != literal) return std::nullopt;
  return at->second;
}

std::optional<TokenId> Tokenizer::bos() const { return impl_->bos; }
std::optional<TokenId> Tokenizer::eos() const { return impl_->eos; }
std::optional<TokenId> Tokenizer::pad() const { return impl_->pad; }

}  // namespace carat::text
