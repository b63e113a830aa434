// Fuzzes the output parser and the reader of tool calls: however a stream of ids is cut, the events are the same, texts
// are UTF-8, and arguments can be rendered and read again. Input: one byte (1: starts in a thought, 2: tools are
// declared), then one byte per id: 0x01 … 0x08 and 0x0E are markers and an id outside the vocabulary, all others the
// byte itself.
#include "text/output_parser.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "prompt_tokenizer.h"
#include "text/chat_template.h"
#include "text/tool_call_parser.h"
#include "text/unicode.h"

namespace {

using carat::formats::Json;
using carat::fuzz::prompt_tokenizer;
using carat::fuzz::require;
using carat::text::OutputEvent;
using carat::text::TokenId;

constexpr std::uint8_t kForeignId = 0x0E;

bool is_marker(std::uint8_t byte) { return byte >= 0x01 && byte <= 0x08; }

TokenId id_of(std::uint8_t byte) {
  if (is_marker(byte)) return *prompt_tokenizer().find_special(carat::fuzz::kMarkers[byte - 1U]);
  return byte == kForeignId ? prompt_tokenizer().vocab_size() + 7 : byte;
}

const Json& declared_tools() {
  static const Json tools = Json::parse(R"([{"function":{"name":"f","parameters":{"type":"object","properties":{
      "a":{"type":"string"},"n":{"type":"integer"},"l":{"type":"array","items":{"type":"string"}},
      "o":{"type":"object","properties":{"a":{"type":"string"}}}}}}}])");
  return tools;
}

/// Joins neighbouring texts of one channel, which is all that a cut may change.
void take(std::vector<OutputEvent>& all, std::vector<OutputEvent> more) {
  for (OutputEvent& event : more) {
    if (event.kind == OutputEvent::Kind::tool_call)
      require(event.text.empty() && event.tool_call.arguments.is_object());
    else
      require(!event.text.empty() && carat::text::find_invalid_utf8(event.text) == std::string::npos);
    const bool joins = !all.empty() && all.back().kind == event.kind &&
                       (event.kind == OutputEvent::Kind::thought || event.kind == OutputEvent::Kind::content);
    if (joins)
      all.back().text += event.text;
    else
      all.push_back(std::move(event));
  }
}

/// Feeds the ids in pieces of 1 to `longest`.
std::vector<OutputEvent> parse(std::span<const TokenId> ids, const carat::text::OutputParserOptions& options,
                               std::size_t longest) {
  carat::text::OutputParser parser(prompt_tokenizer(), options);
  std::vector<OutputEvent> events;
  for (std::size_t round = 1; !ids.empty(); ++round) {
    const std::size_t n = std::min(1 + round * 7 % longest, ids.size());
    take(events, parser.push(ids.first(n)));
    ids = ids.subspan(n);
  }
  take(events, parser.finish());
  return events;
}

bool same(const OutputEvent& a, const OutputEvent& b) {
  return a.kind == b.kind && a.text == b.text && a.tool_call.name == b.tool_call.name &&
         a.tool_call.raw == b.tool_call.raw && a.tool_call.arguments == b.tool_call.arguments;
}

/// Whether the prompt format can write these arguments without loss: it writes keys bare.
bool has_plain_keys(const Json& value) {
  for (const auto& [key, entry] : value.items()) {
    const bool plain =
        !value.is_object() ||
        (!key.empty() && key.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789") == std::string::npos);
    if (!plain || (entry.is_structured() && !has_plain_keys(entry))) return false;
  }
  return true;
}

void check_call(const carat::text::ToolCall& call) {
  require(!call.name.empty());
  const std::string dumped = call.arguments.dump();  // throws where a text is no UTF-8
  require(carat::formats::parse_json(dumped, "fuzz").has_value());
  if (!has_plain_keys(call.arguments) || dumped.find("<|") != std::string::npos) return;
  const Json messages =
      Json::array({{{"role", "assistant"},
                    {"tool_calls", Json::array({{{"function", {{"name", "f"}, {"arguments", call.arguments}}}}})}}});
  const auto prompt = carat::text::render_prompt(messages, Json(), {.add_generation_prompt = false});
  require(prompt.has_value());
  std::string text = prompt->text();
  const std::size_t begin = text.find("call:"), end = text.rfind("<tool_call|>");
  text = text.substr(begin, end - begin);
  constexpr std::string_view quote = "<|\"|>";
  for (std::size_t at = 0; (at = text.find(quote, at)) != std::string::npos;)
    text.replace(at, quote.size(), 1, carat::text::kQuoteMark);
  const auto again = carat::text::parse_tool_call(text, Json());
  require(again.has_value() && !again->repaired);
  require(nlohmann::json(again->arguments) == nlohmann::json(call.arguments));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const carat::text::OutputParserOptions options{(data[0] & 1) != 0, (data[0] & 2) != 0 ? declared_tools() : Json()};
  const std::span input(data + 1, size - 1);
  std::vector<TokenId> ids;
  for (const std::uint8_t byte : input) ids.push_back(id_of(byte));

  const auto whole = parse(ids, options, std::max<std::size_t>(ids.size(), 1));
  for (const std::size_t longest : {std::size_t{1}, std::size_t{5}})
    require(std::ranges::equal(parse(ids, options, longest), whole, same));
  for (const OutputEvent& event : whole)
    if (event.kind == OutputEvent::Kind::tool_call) check_call(event.tool_call);

  // Without markers nothing is taken for anything but text.
  if (!options.starts_in_thought && std::ranges::none_of(input, is_marker)) {
    carat::text::StreamDecoder decoder(prompt_tokenizer(), false);
    std::string text;
    for (const TokenId id : ids) text += decoder.push(id);
    text += decoder.finish();
    require(text.empty() ? whole.empty()
                         : whole.size() == 1 && whole[0].kind == OutputEvent::Kind::content && whole[0].text == text);
  }
  return 0;
}
