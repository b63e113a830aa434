// Reads a tokenizer from the tokenizer.* keys of a GGUF file: the merge-based vocabulary of Gemma 4 and the score-based
// one of Gemma 3, as llama.cpp's and ollama's converters write them.
#include "base/concat.h"
#include "formats/quote.h"
#include "text/tokenizer_source.h"

namespace carat::text {
namespace {

using base::concat;
using formats::quote;

class Reader {
 public:
  explicit Reader(const formats::GgufMetadata& metadata) : metadata_(metadata) {}

  Result<TokenizerSource> read() {
    source_.origin = concat("gguf ", quote(metadata_.origin()));
    auto done = read_model();
    if (done) done = read_pieces();
    if (done) done = read_kinds();
    if (done) done = source_.has_merges ? read_merges() : read_scores();
    if (done) done = read_options();
    if (!done) return forward(done);
    collect_special();
    return std::move(source_);
  }

 private:
  template <typename... Parts>
  std::unexpected<Error> problem(ErrorCode code, const Parts&... parts) const {
    return fail(code, concat(source_.origin, ": ", parts...));
  }

  Result<void> read_model() {
    auto model = metadata_.text("tokenizer.ggml.model");
    if (!model) return forward(model);
    if (!*model)
      return problem(ErrorCode::unsupported,
                     "no tokenizer.ggml.model: the file has no tokenizer; use a file converted with its vocabulary");
    auto pre = metadata_.text("tokenizer.ggml.pre");
    if (!pre) return forward(pre);
    const bool gemma4 = **model == "gemma4" || (**model == "llama" && pre->value_or("") == "gemma4");
    if (!gemma4 && **model != "llama")
      return problem(ErrorCode::unsupported, "tokenizer.ggml.model is ", quote(**model),
                     "; expected \"gemma4\" (merges) or \"llama\" (scores)");
    source_.has_merges = gemma4;
    return {};
  }

  Result<void> read_pieces() {
    auto pieces = metadata_.texts("tokenizer.ggml.tokens");
    if (!pieces) return forward(pieces);
    if (!*pieces)
      return problem(ErrorCode::bad_file, "no tokenizer.ggml.tokens; expected the pieces of the vocabulary");
    source_.pieces = std::move(**pieces);
    return {};
  }

  Result<void> read_kinds() {
    auto types = metadata_.integers("tokenizer.ggml.token_type");
    if (!types) return forward(types);
    const std::size_t size = source_.pieces.size();
    if (!*types)
      return problem(ErrorCode::bad_file,
                     "no tokenizer.ggml.token_type; expected one type for each token, else no control token is known");
    if ((*types)->size() != size)
      return problem(ErrorCode::bad_file, "tokenizer.ggml.token_type has ", (*types)->size(), " entries; expected ",
                     size, ", one for each of tokenizer.ggml.tokens");
    source_.kinds.reserve(size);
    for (std::size_t id = 0; id < size; ++id) {
      switch ((**types)[id]) {  // llama.cpp, enum llama_token_type
        case 0:
        case 1:
          source_.kinds.push_back(TokenKind::normal);
          break;
        case 2:
          source_.kinds.push_back(TokenKind::unknown);
          break;
        case 3:
          source_.kinds.push_back(TokenKind::control);
          break;
        case 4:
          source_.kinds.push_back(TokenKind::user_defined);
          break;
        case 5:
          source_.kinds.push_back(TokenKind::unused);
          break;
        case 6:
          source_.kinds.push_back(TokenKind::byte);
          break;
        default:
          return problem(ErrorCode::bad_file, "tokenizer.ggml.token_type of token ", id, " is ", (**types)[id],
                         "; expected 0 to 6");
      }
    }
    return {};
  }

  // "left right", split at the first space that is not the first character; pieces themselves hold "▁", never a space.
  Result<void> read_merges() {
    auto merges = metadata_.texts("tokenizer.ggml.merges");
    if (!merges) return forward(merges);
    if (!*merges)
      return problem(ErrorCode::bad_file, "no tokenizer.ggml.merges; expected them with this tokenizer model");
    source_.merges.reserve((*merges)->size());
    for (const std::string_view merge : **merges) {
      const auto space = merge.find(' ', 1);
      if (space == merge.npos || space + 1 == merge.size())
        return problem(ErrorCode::bad_file, "tokenizer.ggml.merges: merge ", source_.merges.size(), " is ",
                       quote(merge), "; expected two pieces with a space between");
      source_.merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
    }
    return {};
  }

  Result<void> read_scores() {
    auto scores = metadata_.numbers("tokenizer.ggml.scores");
    if (!scores) return forward(scores);
    if (!*scores) return problem(ErrorCode::bad_file, "no tokenizer.ggml.scores; expected one score for each token");
    if ((*scores)->size() != source_.pieces.size())
      return problem(ErrorCode::bad_file, "tokenizer.ggml.scores has ", (*scores)->size(), " entries; expected ",
                     source_.pieces.size(), ", one for each of tokenizer.ggml.tokens");
    source_.scores = std::move(**scores);
    source_.always_match_user_defined = true;
    return {};
  }

  Result<void> read_options() {
    const auto read_id = [&](std::string_view key, std::string_view usual, std::optional<TokenId>& to) -> Result<void> {
      auto id = metadata_.integer(key);
      if (!id) return forward(id);
      const auto size = static_cast<std::int64_t>(source_.pieces.size());
      if (*id && (**id < 0 || **id >= size))
        return problem(ErrorCode::bad_file, key, " is ", **id, "; expected an id below the vocabulary size ", size);
      if (*id) {
        to = static_cast<TokenId>(**id);
        return {};
      }
      for (TokenId i = 0; i < size; ++i) {
        const auto kind = source_.kinds[static_cast<std::size_t>(i)];
        if ((kind == TokenKind::control || kind == TokenKind::unknown) &&
            source_.pieces[static_cast<std::size_t>(i)] == usual)
          to = i;
      }
      return {};
    };
    Result<void> done = read_id("tokenizer.ggml.bos_token_id", "<bos>", source_.bos);
    if (done) done = read_id("tokenizer.ggml.eos_token_id", "<eos>", source_.eos);
    if (done) done = read_id("tokenizer.ggml.unknown_token_id", "<unk>", source_.unknown);
    if (done) done = read_id("tokenizer.ggml.padding_token_id", "<pad>", source_.pad);
    if (!done) return done;
    auto prefix = metadata_.boolean("tokenizer.ggml.add_space_prefix");
    if (!prefix) return forward(prefix);
    // SentencePiece adds one unless told otherwise; the merge-based vocabulary never had one.
    source_.add_space_prefix = prefix->value_or(!source_.has_merges);
    return {};
  }

  void collect_special() {
    for (std::size_t id = 0; id < source_.kinds.size(); ++id) {
      const TokenKind kind = source_.kinds[id];
      if (kind == TokenKind::control || kind == TokenKind::user_defined || kind == TokenKind::unknown)
        source_.special.push_back({static_cast<TokenId>(id), false});
    }
  }

  const formats::GgufMetadata& metadata_;
  TokenizerSource source_;
};

}  // namespace

Result<TokenizerSource> read_gguf_tokenizer(const formats::GgufMetadata& metadata) { return Reader(metadata).read(); }

}  // namespace carat::text
