// Fuzzes the tokenizer: any text under a small random vocabulary against the plain oracle, and any bytes as
// tokenizer.json. Input: 'J' and a JSON text, or one byte (odd: scores instead of merges), two bytes of seed, and the
// text to encode.
#include "text/tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "../tests/text/tokenizer_oracle.h"
#include "../tests/text/tokenizer_vocabularies.h"
#include "text/unicode.h"

namespace {

using carat::text::TokenId;
using carat::text::Tokenizer;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_decoding(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  for (const bool special : {false, true}) {
    const auto whole = tokenizer.decode(ids, special);
    require(whole.has_value());
    carat::text::StreamDecoder stream(tokenizer, special);
    std::string text;
    for (const TokenId id : ids) {
      const std::string piece = stream.push(id);
      require(carat::text::find_invalid_utf8(piece) == std::string::npos);
      text += piece;
    }
    text += stream.finish();
    require(text == *whole);
  }
}

void fuzz_text(bool scores, unsigned seed, std::string_view text) {
  std::mt19937 rng(seed);
  const carat::text::RandomVocabulary vocabulary(rng, scores);
  const auto tokenizer = Tokenizer::build(vocabulary.source);
  require(tokenizer.has_value());
  const carat::text::TokenizerOracle oracle(vocabulary.source);
  for (const bool special : {false, true}) {
    const auto ids = tokenizer->encode(text, {.special = special});
    if (text.size() <= 512) require(ids == oracle.encode(text, special));  // the oracle takes quadratic time
    check_decoding(*tokenizer, ids);
  }
}

void fuzz_json(std::string_view json) {
  const auto tokenizer = Tokenizer::from_tokenizer_json(json, carat::formats::Json(), "fuzz");
  if (!tokenizer) {
    require(!tokenizer.error().message.empty());
    return;
  }
  std::string text("Hello  world\n<bos>\xFF\xC3 ▁é中😀<0x0A>");
  for (TokenId id = 0; id < std::min(tokenizer->vocab_size(), 50); ++id) text.append(tokenizer->piece(id));
  for (const bool special : {false, true})
    check_decoding(*tokenizer, tokenizer->encode(text, {.special = special, .bos = true}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.starts_with('J'))
    fuzz_json(input.substr(1));
  else if (size >= 3)
    fuzz_text(data[0] % 2 != 0, data[1] * 256u + data[2], input.substr(3));
  return 0;
}
