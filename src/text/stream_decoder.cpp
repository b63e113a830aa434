// Streaming decode: bytes wait until they complete a character or can no longer do so.
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace carat::text {

std::string StreamDecoder::push(TokenId id) {
  std::string out;
  if (id < 0 || id >= tokenizer_->vocab_size()) return out;
  const TokenKind kind = tokenizer_->kind(id);
  if (!special_ && (kind == TokenKind::control || kind == TokenKind::unknown)) return out;
  pending_.append(tokenizer_->bytes(id));
  pending_.erase(0, append_valid_utf8(pending_, true, out));
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  append_valid_utf8(pending_, false, out);
  pending_.clear();
  return out;
}

}  // namespace carat::text
