// Token ids as text: what `tokenize` and `prompt` print and `detokenize` reads. Lists may hold millions of ids, so both
// directions work on plain characters.
#include "cli/id_list.h"

#include <array>
#include <charconv>
#include <limits>

#include "cli/input.h"

namespace carat::cli {
namespace {

bool is_separator(char c) { return c == ' ' || c == ',' || c == '\n' || c == '\t' || c == '\r'; }

Result<std::vector<TokenId>> read_json_ids(std::string_view text, std::string_view origin) {
  auto json = parse_json(text, origin);
  if (!json) return forward(json);
  const Json* list = &*json;
  if (json->is_object()) {
    const auto found = json->find("ids");
    if (found == json->end())
      return fail(ErrorCode::invalid_argument, std::string(origin) + ": the JSON object has no \"ids\"");
    list = &*found;
  }
  const auto wrong = [&](const std::string& found) {
    return fail(ErrorCode::invalid_argument, std::string(origin) + ": expected an array of token ids, found " + found);
  };
  if (!list->is_array()) return wrong(list->type_name());
  std::vector<TokenId> ids;
  ids.reserve(list->size());
  for (const Json& item : *list) {
    const bool fits = item.is_number_integer() && item >= 0 && item <= std::numeric_limits<TokenId>::max();
    if (!fits) return wrong(dump_json(item).substr(0, 40));
    ids.push_back(item.get<TokenId>());
  }
  return ids;
}

}  // namespace

std::string join_ids(std::span<const TokenId> ids, char separator) {
  std::string out;
  out.reserve(ids.size() * 7);
  std::array<char, 16> buffer;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += separator;
    out.append(buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), ids[i]).ptr);
  }
  return out;
}

Result<std::vector<TokenId>> read_ids(std::string_view text, std::string_view origin) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && (text[first] == '[' || text[first] == '{')) return read_json_ids(text, origin);
  std::vector<TokenId> ids;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  while (at != end) {
    if (is_separator(*at)) {
      ++at;
      continue;
    }
    TokenId id = 0;
    const auto [after, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0 || (after != end && !is_separator(*after))) {
      const char* word_end = at;
      while (word_end != end && !is_separator(*word_end) && word_end - at < 40) ++word_end;
      return fail(ErrorCode::invalid_argument, std::string(origin) + ": \"" + std::string(at, word_end) +
                                                   "\" at offset " + std::to_string(at - text.data()) +
                                                   " is not a token id (an integer from 0 to 2147483647)");
    }
    ids.push_back(id);
    at = after;
  }
  return ids;
}

}  // namespace carat::cli
