// Fuzzes the prompt renderer: any conversation gives a prompt or an error that says where, and no text of the request
// ever becomes a control token or markup, whatever it spells. Input: one byte of options (see options_of), then 'J' and
// a JSON text {"messages":…,"tools":…}, 'T' and the text of a chat template to recognise, or bytes that steer how a
// conversation is built.
#include "text/chat_template.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "prompt_tokenizer.h"
#include "text/unicode.h"

namespace {

using carat::formats::Json;
using carat::fuzz::prompt_tokenizer;
using carat::fuzz::require;
using carat::text::PromptKind;
using carat::text::TokenId;

// Every text of a built conversation is full of it, and no template writes it.
constexpr char kUserSign = '~';

carat::text::RenderOptions options_of(std::uint8_t flags) {
  constexpr PromptKind kinds[] = {PromptKind::small, PromptKind::large, PromptKind::gemma3, PromptKind::small};
  return {.kind = kinds[flags & 3],
          .think = (flags & 4) != 0,
          .preserve_thinking = (flags & 8) != 0,
          .add_generation_prompt = (flags & 16) == 0,
          .continue_final_message = (flags & 32) != 0};
}

/// Builds messages and tools as the bytes of the input say; out of bytes, everything is as small as can be.
class Builder {
 public:
  explicit Builder(std::string_view bytes) : bytes_(bytes) {}

  Json messages() {
    Json out = Json::array();
    for (std::size_t n = pick(8); n > 0; --n) out.push_back(message());
    return out;
  }
  Json tools() {
    if (pick(3) == 0) return {};
    Json out = Json::array();
    for (std::size_t n = pick(3); n > 0; --n) {
      Json function = {{"name", text()}};
      if (pick(2)) function["description"] = value(2);
      if (pick(4)) function["parameters"] = schema(0);
      if (pick(4) == 1) function["response"] = schema(2);
      out.push_back({{"type", "function"}, {"function", std::move(function)}});
    }
    return out;
  }

 private:
  std::size_t pick(std::size_t choices) {
    if (bytes_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(bytes_[0]);
    bytes_.remove_prefix(1);
    return byte % choices;
  }

  std::string text() {
    constexpr std::string_view pieces[] = {"",      " ", "\n", "a",     "thought\n", "\u2003",    "\u00e9",
                                           "{a:1}", "<", "|>", "call:", "\"",        "\U0001F600"};
    std::string out;
    for (std::size_t n = pick(5); n > 0; --n) {
      const std::size_t which = pick(std::size(pieces) + carat::fuzz::kMarkers.size());
      out += kUserSign;
      out += which < std::size(pieces) ? pieces[which] : carat::fuzz::kMarkers[which - std::size(pieces)];
      if (pick(2)) out += kUserSign;
    }
    return out;
  }

  Json value(int depth) {
    switch (pick(depth > 3 ? 6 : 8)) {
      case 0:
        return text();
      case 1:
        return nullptr;
      case 2:
        return pick(2) != 0;
      case 3:
        return static_cast<int>(pick(256)) - 100;
      case 4:
        return static_cast<double>(pick(256)) * 1e-7;
      case 5:
        return static_cast<double>(pick(256)) * 1e20;
      case 6: {
        Json out = Json::array();
        for (std::size_t n = pick(4); n > 0; --n) out.push_back(value(depth + 1));
        return out;
      }
      default:
        return object(depth + 1);
    }
  }
  Json object(int depth) {
    Json out = Json::object();
    for (std::size_t n = pick(4); n > 0; --n) out[text()] = value(depth + 1);
    return out;
  }

  Json schema(int depth) {
    constexpr const char* types[] = {"object", "string", "array", "integer", "OBJECT", "boolean"};
    Json out = Json::object();
    if (const std::size_t type = pick(8); type < 6)
      out["type"] = types[type];
    else if (type == 6)
      out["type"] = value(2);
    if (pick(2)) out["description"] = text();
    if (pick(3) == 1) out["nullable"] = value(3);
    if (pick(3) == 1) out["enum"] = value(2);
    if (pick(3) == 1) out["required"] = value(2);
    if (depth < 3 && pick(2)) out["items"] = pick(4) ? schema(depth + 1) : value(2);
    if (depth < 3 && pick(2)) {
      Json properties = Json::object();
      for (std::size_t n = pick(3); n > 0; --n) properties[text()] = pick(5) ? schema(depth + 1) : value(2);
      out["properties"] = std::move(properties);
    }
    if (pick(4) == 1) out[text()] = value(2);
    return out;
  }

  Json content() {
    constexpr const char* types[] = {"text",  "text",        "image", "image_url",
                                     "audio", "input_audio", "video", "video_url"};
    switch (pick(4)) {
      case 0:
      case 1:
        return text();
      case 2:
        return nullptr;
      default: {
        Json out = Json::array();
        for (std::size_t n = pick(4); n > 0; --n) {
          Json part = {{"type", types[pick(std::size(types))]}};
          if (part["type"] == "text") part["text"] = text();
          out.push_back(std::move(part));
        }
        return out;
      }
    }
  }

  Json message() {
    constexpr const char* roles[] = {"user", "assistant", "tool", "assistant", "system", "developer"};
    Json out = {{"role", roles[pick(std::size(roles))]}, {"content", content()}};
    if (out["role"] == "tool") {
      if (pick(2)) out["tool_call_id"] = pick(3);
      if (pick(2)) out["name"] = value(2);
      if (pick(2)) out["content"] = value(0);
    }
    if (out["role"] != "assistant") return out;
    if (pick(3) == 1) out["reasoning"] = text();
    if (pick(3) == 1) out["reasoning_content"] = text();
    if (pick(2)) {
      Json calls = Json::array();
      for (std::size_t n = pick(4); n > 0; --n) {
        Json function = {{"name", text()}};
        if (const std::size_t form = pick(3)) function["arguments"] = form == 1 ? object(0) : Json(object(0).dump());
        calls.push_back({{"id", pick(3)}, {"function", std::move(function)}});
      }
      out["tool_calls"] = std::move(calls);
    }
    if (pick(4) == 1) {
      Json responses = Json::array();
      for (std::size_t n = pick(3); n > 0; --n) responses.push_back({{"name", value(2)}, {"response", value(1)}});
      out["tool_responses"] = std::move(responses);
    }
    return out;
  }

  std::string_view bytes_;
};

/// The markers among ids, in order.
std::vector<TokenId> special_ids(const std::vector<TokenId>& ids) {
  std::vector<TokenId> out;
  for (const TokenId id : ids) {
    const auto kind = prompt_tokenizer().kind(id);
    if (kind == carat::text::TokenKind::control || kind == carat::text::TokenKind::user_defined) out.push_back(id);
  }
  return out;
}

void check(const Json& messages, const Json& tools, const carat::text::RenderOptions& options) {
  const auto prompt = carat::text::render_prompt(messages, tools, options);
  if (!prompt) {
    require(!prompt.error().message.empty() &&
            carat::text::find_invalid_utf8(prompt.error().message) == std::string::npos);
    return;
  }
  const auto& tokenizer = prompt_tokenizer();
  std::vector<TokenId> of_template;
  std::string user;
  for (const auto& segment : prompt->segments) {
    require(!segment.text.empty() && carat::text::find_invalid_utf8(segment.text) == std::string::npos);
    if (!segment.markup) {
      user += segment.text;
      continue;
    }
    require(segment.text.find(kUserSign) == std::string::npos);
    for (const TokenId id : special_ids(tokenizer.encode(segment.text, {.special = true}))) of_template.push_back(id);
  }
  const std::string text = prompt->text();
  const std::vector<TokenId> ids = carat::text::encode_prompt(tokenizer, *prompt);
  require(special_ids(ids) == of_template);
  require(ids.front() == tokenizer.bos());
  if (text.find("\u2581") == std::string::npos) require(tokenizer.decode(ids) == text);
  if (user.find('<') == std::string::npos) require(ids == tokenizer.encode(text, {.special = true}));
  if (prompt->starts_in_thought) require(text.ends_with("<|channel>thought\n"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto options = options_of(data[0]);
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (input[0] == 'J') {
    const auto request = carat::formats::parse_json(input.substr(1), "fuzz");
    if (!request || !request->is_object()) return 0;
    check(request->value("messages", Json()), request->value("tools", Json()), options);
  } else if (input[0] == 'T') {
    const auto kind = carat::text::detect_prompt_kind(input.substr(1));
    if (!kind) require(!kind.error().message.empty());
  } else {
    Builder builder(input);
    const Json messages = builder.messages();
    check(messages, builder.tools(), options);
  }
  return 0;
}
