// Reads a tokenizer from tokenizer.json, the format of the `tokenizers` library: byte-pair encoding with the
// normalizer, pre-tokenizer and added tokens of the Gemma family. Anything that would change ids in another way is
// refused by name.
#include <algorithm>
#include <limits>

#include "base/concat.h"
#include "formats/json.h"
#include "formats/quote.h"
#include "text/byte_pieces.h"
#include "text/tokenizer_source.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

using base::concat;
using formats::Json;
using formats::quote;

/// The member of an object, or nullptr when it is absent or null.
const Json* member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

std::string_view text_of(const Json& json) { return json.get_ref<const std::string&>(); }

/// "an object", "the number 3": what stands where something else was expected.
std::string describe(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return quote(text_of(json));
    case Json::value_t::boolean:
      return json.get<bool>() ? "true" : "false";
    default:
      return concat("the number ", json.dump());
  }
}

class Reader {
 public:
  Reader(std::shared_ptr<const Json> document, const Json& config, const std::string& origin)
      : document_(*document), config_(config) {
    source_.origin = origin;
    source_.document = std::move(document);
  }

  Result<TokenizerSource> read() {
    if (!document_.is_object()) return bad("holds ", describe(document_), "; expected an object");
    model_ = member(document_, "model");
    if (model_ == nullptr || !model_->is_object())
      return bad("no object \"model\"; expected the byte-pair vocabulary there");
    Result<void> done = read_model_options();
    if (done) done = read_vocabulary();
    if (done) done = read_added_tokens();
    if (done) done = read_merges();
    if (done) done = read_normalizer();
    if (done) done = read_pre_tokenizer();
    if (done) done = name_tokens();
    if (!done) return forward(done);
    return std::move(source_);
  }

 private:
  template <typename... Parts>
  std::unexpected<Error> bad(const Parts&... parts) const {
    return fail(ErrorCode::bad_file, concat(source_.origin, ": ", parts...));
  }
  template <typename... Parts>
  std::unexpected<Error> unsupported(const Parts&... parts) const {
    return fail(ErrorCode::unsupported, concat(source_.origin, ": ", parts...));
  }

  Result<bool> flag(const Json& object, std::string_view key, bool fallback, std::string_view where) const {
    const Json* value = member(object, key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) return bad(where, " has ", quote(key), " ", describe(*value), "; expected true or false");
    return value->get<bool>();
  }

  Result<void> read_model_options() {
    if (const Json* type = member(*model_, "type"); type != nullptr && *type != "BPE")
      return unsupported("model.type is ", describe(*type), "; expected \"BPE\"");
    if (const Json* dropout = member(*model_, "dropout"); dropout != nullptr && *dropout != 0.0)
      return unsupported("model.dropout is ", describe(*dropout), "; expected none");
    for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const Json* affix = member(*model_, key); affix != nullptr && *affix != "")
        return unsupported("model.", key, " is ", describe(*affix), "; expected none");
    auto ignore_merges = flag(*model_, "ignore_merges", false, "model");
    if (!ignore_merges) return forward(ignore_merges);
    if (*ignore_merges) return unsupported("model.ignore_merges is true; expected false");
    auto byte_fallback = flag(*model_, "byte_fallback", false, "model");
    if (!byte_fallback) return forward(byte_fallback);
    source_.byte_fallback = *byte_fallback;
    auto fuse = flag(*model_, "fuse_unk", false, "model");
    if (!fuse) return forward(fuse);
    source_.fuse_unknown = *fuse;
    return {};
  }

  /// Ids may leave gaps, but not so many that a small file asks for much memory.
  bool is_sensible_id(const Json& id, std::size_t tokens) const {
    return id.is_number_integer() && id >= 0 && id < std::max<std::size_t>(std::size_t{1} << 20, tokens * 4);
  }
  void place(std::size_t id, std::string_view piece, TokenKind kind) {
    if (id >= source_.pieces.size()) {
      source_.pieces.resize(id + 1);
      source_.kinds.resize(id + 1, TokenKind::unused);
    }
    source_.pieces[id] = piece;
    source_.kinds[id] = kind;
  }

  Result<void> read_vocabulary() {
    const Json* vocab = member(*model_, "vocab");
    if (vocab == nullptr || !vocab->is_object()) return bad("no object model.vocab; expected pieces with their ids");
    for (const auto& [piece, id] : vocab->items()) {
      if (!is_sensible_id(id, vocab->size()))
        return bad("model.vocab gives ", quote(piece), " the id ", describe(id),
                   "; expected ids from 0 without large gaps");
      const auto index = id.get<std::size_t>();
      if (index < source_.pieces.size() && source_.kinds[index] != TokenKind::unused)
        return bad("model.vocab gives ", quote(piece), " and ", quote(source_.pieces[index]), " the same id ", index);
      const bool is_byte = source_.byte_fallback && byte_of_piece(piece);
      place(index, piece, is_byte ? TokenKind::byte : TokenKind::normal);
    }
    if (const Json* unknown = member(*model_, "unk_token")) {
      if (!unknown->is_string()) return bad("model.unk_token is ", describe(*unknown), "; expected a text");
      source_.unknown = find(text_of(*unknown));
      if (!source_.unknown) return bad("model.unk_token ", quote(text_of(*unknown)), " is not in model.vocab");
      source_.kinds[static_cast<std::size_t>(*source_.unknown)] = TokenKind::unknown;
    }
    return {};
  }

  std::optional<TokenId> find(std::string_view piece) const {
    if (piece.empty()) return std::nullopt;
    const auto at = std::find(source_.pieces.begin(), source_.pieces.end(), piece);
    if (at == source_.pieces.end()) return std::nullopt;
    return static_cast<TokenId>(at - source_.pieces.begin());
  }

  Result<void> read_added_tokens() {
    const Json* added = member(document_, "added_tokens");
    if (added == nullptr) return {};
    if (!added->is_array()) return bad("added_tokens is ", describe(*added), "; expected an array");
    const std::size_t vocabulary = source_.pieces.size();
    for (std::size_t i = 0; i < added->size(); ++i) {
      const Json& token = (*added)[i];
      const std::string where = concat("added_tokens[", i, "]");
      const Json* content = member(token, "content");
      const Json* id = member(token, "id");
      if (content == nullptr || !content->is_string() || id == nullptr)
        return bad(where, " is ", describe(token), "; expected an object with \"id\" and \"content\"");
      const std::string_view literal = text_of(*content);
      if (!is_sensible_id(*id, vocabulary + added->size()))
        return bad(where, " ", quote(literal), " has the id ", describe(*id), "; expected one near the vocabulary's");
      for (const std::string_view key : {"single_word", "lstrip", "rstrip"}) {
        auto set = flag(token, key, false, where);
        if (!set) return forward(set);
        if (*set) return unsupported(where, " ", quote(literal), " sets ", quote(key), "; expected it unset");
      }
      auto special = flag(token, "special", false, where);
      if (!special) return forward(special);
      auto normalized = flag(token, "normalized", !*special, where);
      if (!normalized) return forward(normalized);
      if (literal.empty()) continue;

      const auto index = id->get<std::size_t>();
      const bool taken = index < source_.pieces.size() && source_.kinds[index] != TokenKind::unused;
      if (taken && source_.pieces[index] != literal)
        return bad(where, " ", quote(literal), " has the id ", index, " of ", quote(source_.pieces[index]),
                   "; expected an id of its own");
      place(index, literal, *special ? TokenKind::control : TokenKind::user_defined);
      source_.special.push_back({static_cast<TokenId>(index), *normalized});
      if (!taken) source_.outside_model.push_back(static_cast<TokenId>(index));
    }
    return {};
  }

  // Pairs, or "left right" in older files.
  Result<void> read_merges() {
    const Json* merges = member(*model_, "merges");
    if (merges == nullptr || !merges->is_array()) return bad("no array model.merges; expected the merge rules by rank");
    source_.merges.reserve(merges->size());
    for (const Json& merge : *merges) {
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        source_.merges.push_back({text_of(merge[0]), text_of(merge[1])});
        continue;
      }
      const std::string_view text = merge.is_string() ? text_of(merge) : std::string_view();
      const auto space = text.find(' ', 1);
      if (space == text.npos || space + 1 == text.size())
        return bad("model.merges[", source_.merges.size(), "] is ", describe(merge),
                   "; expected [\"left\", \"right\"] or \"left right\"");
      source_.merges.push_back({text.substr(0, space), text.substr(space + 1)});
    }
    return {};
  }

  Result<void> read_normalizer() {
    source_.replace_spaces = false;
    const Json* normalizer = member(document_, "normalizer");
    return normalizer == nullptr ? Result<void>() : add_normalizer(*normalizer);
  }
  Result<void> add_normalizer(const Json& normalizer) {
    const Json* type = member(normalizer, "type");
    if (type != nullptr && *type == "Sequence") {
      const Json* parts = member(normalizer, "normalizers");
      if (parts == nullptr || !parts->is_array()) return bad("normalizer: no array \"normalizers\" in the Sequence");
      for (const Json& part : *parts) {
        if (const Json* inner = member(part, "type"); inner != nullptr && *inner == "Sequence")
          return unsupported("normalizer is a Sequence in a Sequence; expected Replace of spaces by \"▁\"");
        if (auto done = add_normalizer(part); !done) return done;
      }
      return {};
    }
    const Json* pattern = member(normalizer, "pattern");
    const Json* content = member(normalizer, "content");
    if (type != nullptr && *type == "Replace" && is_space(pattern) && content != nullptr &&
        *content == kMetaSpaceUtf8) {
      source_.replace_spaces = true;
      return {};
    }
    const Json* prepend = member(normalizer, "prepend");
    if (type != nullptr && *type == "Prepend" && prepend != nullptr && *prepend == kMetaSpaceUtf8) {
      source_.add_space_prefix = true;
      return {};
    }
    return unsupported("normalizer ", shorten(normalizer), "; expected Replace of \" \" by \"▁\"");
  }

  static bool is_space(const Json* pattern) {
    const Json* text = pattern == nullptr ? nullptr : member(*pattern, "String");
    return text != nullptr && *text == " ";
  }
  /// A configuration as compact JSON, cut where it gets long.
  static std::string shorten(const Json& json) {
    const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    return text.size() <= 160 ? text : concat(text.substr(0, 160), "…");
  }

  // The published files split at spaces, after the normalizer has replaced all of them: nothing is left to split at.
  Result<void> read_pre_tokenizer() {
    const Json* pre = member(document_, "pre_tokenizer");
    if (pre == nullptr) return {};
    const Json* type = member(*pre, "type");
    const Json* invert = member(*pre, "invert");
    const bool inverted = invert != nullptr && *invert != false;
    if (type != nullptr && *type == "Split" && is_space(member(*pre, "pattern")) && !inverted && source_.replace_spaces)
      return {};
    return unsupported("pre_tokenizer ", shorten(*pre),
                       "; expected none, or a Split at spaces after they are replaced");
  }

  // tokenizer_config.json names the tokens; without it they have the family's names.
  Result<void> name_tokens() {
    const auto name = [&](std::string_view key, std::string_view usual, std::optional<TokenId>& to) -> Result<void> {
      if (config_.is_object() && config_.contains(key)) {
        const Json* value = member(config_, key);
        if (value != nullptr && value->is_object()) value = member(*value, "content");
        if (value == nullptr) return {};
        if (!value->is_string())
          return bad("tokenizer_config.json gives ", quote(key), " as ", describe(*value), "; expected a text");
        to = find(text_of(*value));
        if (!to)
          return bad("tokenizer_config.json gives ", quote(key), " as ", describe(*value),
                     ", which is no token of this file");
        return {};
      }
      to = find(usual);
      return {};
    };
    Result<void> done = name("bos_token", "<bos>", source_.bos);
    if (done) done = name("eos_token", "<eos>", source_.eos);
    if (done) done = name("pad_token", "<pad>", source_.pad);
    return done;
  }

  const Json& document_;
  const Json& config_;
  const Json* model_ = nullptr;
  TokenizerSource source_;
};

}  // namespace

Result<TokenizerSource> read_huggingface_tokenizer(std::string_view tokenizer_json, const Json& tokenizer_config,
                                                   const std::string& origin) {
  auto document = formats::parse_json(tokenizer_json, origin);
  if (!document) return forward(document);
  return Reader(std::make_shared<const Json>(std::move(*document)), tokenizer_config, origin).read();
}

}  // namespace carat::text
