// The tokenizer of the prompt and output targets: every byte, a few words, and all the markers of the prompt formats.
#pragma once

#include <array>
#include <cstdlib>
#include <string_view>

#include "../tests/text/tokenizer_vocabularies.h"
#include "text/tokenizer.h"

namespace carat::fuzz {

/// Ends the run: the fuzzer reports the input.
inline void require(bool condition) {
  if (!condition) std::abort();
}

inline constexpr std::array<std::string_view, 23> kMarkers = {
    "<|channel>",       "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>",
    "<|\"|>",           "<|turn>",    "<turn|>",      "<|think|>",    "<|tool>",          "<tool|>",
    "<|image|>",        "<|audio|>",  "<|video|>",    "<bos>",        "<start_of_turn>",  "<end_of_turn>",
    "<start_of_image>", "<|image>",   "<image|>",     "<|audio>",     "<audio|>"};

/// Ids 0 to 255 are the bytes.
inline const text::Tokenizer& prompt_tokenizer() {
  static const text::Tokenizer tokenizer = [] {
    text::RandomVocabulary vocabulary;
    for (int byte = 0; byte < 256; ++byte) vocabulary.add_byte(byte);
    for (const char* letter : {"\u2581", "\n", "a", "c", "l", "t", "o", "h", "<", "|", "\u00e9"})
      vocabulary.add(letter, text::TokenKind::normal);
    for (const auto& [left, right] :
         {std::pair("t", "h"), {"a", "l"}, {"al", "l"}, {"c", "all"}, {"<", "|"}, {"\n", "t"}, {"\u2581", "a"}})
      vocabulary.add_merge(left, right);
    for (const std::string_view marker : kMarkers) {
      // Published vocabularies declare the delimiter of strings as user-defined, the others as control tokens.
      const auto kind = marker == "<|\"|>" ? text::TokenKind::user_defined : text::TokenKind::control;
      vocabulary.source.special.push_back({vocabulary.add(std::string(marker), kind), false});
    }
    vocabulary.source.bos = vocabulary.find("<bos>");
    auto made = text::Tokenizer::build(vocabulary.source);
    require(made.has_value());
    return std::move(*made);
  }();
  return tokenizer;
}

}  // namespace carat::fuzz
