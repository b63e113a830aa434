// The prompt formats of the family, written as code: Gemma 4 small and large (official template of 2026-07-09) and
// Gemma 3.
#include "text/chat_template.h"

#include <algorithm>
#include <array>

#include "base/concat.h"
#include "formats/quote.h"
#include "text/prompt_writer.h"
#include "text/tool_format.h"

namespace carat::text {
namespace {

using base::concat;
using formats::Json;

// Bounds what a request may nest; JSON from parse_json is below this already.
constexpr int kMaxDepth = 200;

bool too_deep(const Json& value, int depth = 0) {
  if (depth > kMaxDepth) return true;
  if (!value.is_structured()) return false;
  return std::any_of(value.begin(), value.end(), [&](const Json& entry) { return too_deep(entry, depth + 1); });
}

std::string_view kind_of(const Json& value) {
  if (value.is_null()) return "nothing";
  if (value.is_boolean()) return "true or false";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "text";
  return value.is_array() ? "a list" : "an object";
}

std::unexpected<Error> wrong(const std::string& where, const Json& found, std::string_view expected) {
  return fail(ErrorCode::invalid_argument, concat(where, ": found ", kind_of(found), "; expected ", expected));
}

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : std::string(); }

Result<void> check_parts(const Json& content, const std::string& where) {
  for (std::size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    const std::string at = concat(where, "[", i, "]");
    if (!part.is_object()) return wrong(at, part, "an object with a type");
    const Json& type = get(part, "type");
    if (!type.is_string()) return wrong(at + ".type", type, "text, image_url, input_audio, video_url, …");
    if (type == "text") {
      if (!get(part, "text").is_string()) return wrong(at + ".text", get(part, "text"), "text");
    } else if (placeholder(type.get_ref<const std::string&>()).empty()) {
      return fail(ErrorCode::invalid_argument,
                  concat(at, ".type: found ", formats::quote(type.get_ref<const std::string&>(), 60),
                         "; expected text, image, image_url, audio, input_audio, video or video_url"));
    }
  }
  return {};
}

// Arguments come as an object, or, from OpenAI clients, as the JSON text of one.
Result<Json> arguments_of(const Json& function, const std::string& where) {
  const Json& arguments = get(function, "arguments");
  if (arguments.is_null()) return Json::object();
  if (arguments.is_object()) return arguments;
  if (!arguments.is_string()) return wrong(where + ".arguments", arguments, "an object or its JSON text");
  const std::string& text = arguments.get_ref<const std::string&>();
  if (strip(text).empty()) return Json::object();
  auto parsed = formats::parse_json(text, where + ".arguments");
  if (!parsed) return fail(ErrorCode::invalid_argument, parsed.error().message);
  if (!parsed->is_object()) return wrong(where + ".arguments", *parsed, "the JSON text of an object");
  return std::move(*parsed);
}

Result<void> check_message(const Json& message, const std::string& where) {
  if (!message.is_object()) return wrong(where, message, "an object with role and content");
  const Json& role = get(message, "role");
  if (!role.is_string()) return wrong(where + ".role", role, "text");
  constexpr std::array<std::string_view, 5> roles = {"system", "developer", "user", "assistant", "tool"};
  if (std::find(roles.begin(), roles.end(), std::string_view(role.get_ref<const std::string&>())) == roles.end()) {
    return fail(ErrorCode::invalid_argument,
                concat(where, ".role: found ", formats::quote(role.get_ref<const std::string&>(), 60),
                       "; expected system, developer, user, assistant or tool"));
  }
  const Json& content = get(message, "content");
  if (content.is_array()) {
    if (auto good = check_parts(content, where + ".content"); !good) return good;
  } else if (role != "tool" && !content.is_string() && !content.is_null()) {
    return wrong(where + ".content", content, "text or a list of parts");
  }
  for (const char* key : {"reasoning", "reasoning_content"}) {
    const Json& value = get(message, key);
    if (!value.is_null() && !value.is_string()) return wrong(concat(where, ".", key), value, "text");
  }
  const Json& calls = get(message, "tool_calls");
  if (!calls.is_null() && !calls.is_array()) return wrong(where + ".tool_calls", calls, "a list");
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const std::string at = concat(where, ".tool_calls[", i, "].function");
    const Json& function = get(calls[i], "function");
    if (!function.is_object()) return wrong(at, function, "an object with name and arguments");
    if (!get(function, "name").is_string()) return wrong(at + ".name", get(function, "name"), "text");
    if (auto arguments = arguments_of(function, at); !arguments) return carat::forward(arguments);
  }
  const Json& responses = get(message, "tool_responses");
  if (!responses.is_null() && !responses.is_array()) return wrong(where + ".tool_responses", responses, "a list");
  for (std::size_t i = 0; i < responses.size(); ++i) {
    if (!responses[i].is_object()) return wrong(concat(where, ".tool_responses[", i, "]"), responses[i], "an object");
  }
  return {};
}

Result<void> check_tools(const Json& tools) {
  if (tools.is_null()) return {};
  if (!tools.is_array()) return wrong("tools", tools, "a list of function declarations");
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const std::string at = concat("tools[", i, "].function");
    const Json& function = get(tools[i], "function");
    if (!function.is_object()) return wrong(at, function, "an object with name, description and parameters");
    if (!get(function, "name").is_string()) return wrong(at + ".name", get(function, "name"), "text");
    const Json& parameters = get(function, "parameters");
    if (!parameters.is_null() && !parameters.is_object()) return wrong(at + ".parameters", parameters, "an object");
  }
  return {};
}

// Content of earlier answers loses every <|channel>…<channel|> stretch (macro strip_thinking).
std::string strip_thinking(std::string_view text) {
  constexpr std::string_view open = "<|channel>", close = "<channel|>";
  std::string out;
  for (;;) {
    const std::size_t end = text.find(close);
    const std::string_view part = text.substr(0, end);
    out += part.substr(0, part.find(open));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + close.size());
  }
  return std::string(strip(out));
}

/// One Gemma 4 conversation on its way into a prompt.
class Gemma4 {
 public:
  Gemma4(const Json& messages, const Json& tools, const RenderOptions& options)
      : messages_(messages), tools_(tools), options_(options) {}

  Prompt render() {
    out_.markup("<bos>");
    system_turn();
    for (std::size_t i = first_; i < messages_.size(); ++i) {
      if (role(i) == "user") last_user_ = i;
    }
    for (std::size_t i = first_; i < messages_.size(); ++i) {
      if (role(i) != "tool") message(i);
    }
    Prompt prompt;
    if (options_.add_generation_prompt && !options_.continue_final_message)
      prompt.starts_in_thought = generation_prompt();
    prompt.segments = out_.take();
    return prompt;
  }

 private:
  enum class Last { nothing, tool_call, tool_response };

  std::string_view role(std::size_t i) const { return get(messages_[i], "role").get_ref<const std::string&>(); }

  void system_turn() {
    const bool has_system = !messages_.empty() && (role(0) == "system" || role(0) == "developer");
    const bool has_tools = truthy(tools_);
    if (!options_.think && !has_tools && !has_system) return;
    out_.markup("<|turn>system\n");
    if (options_.think) out_.markup("<|think|>\n");
    if (has_system) {
      const Json& content = get(messages_[0], "content");
      if (content.is_string()) {
        out_.user(strip(content.get_ref<const std::string&>()));
      } else {
        for (const Json& part : content) out_.user(concat(strip(text_of(get(part, "text"))), " "));
      }
      first_ = 1;
    }
    if (has_tools) {
      for (const Json& tool : tools_) {
        out_.markup("<|tool>");
        write_declaration(out_, get(tool, "function"));
        out_.markup("<tool|>");
      }
    }
    out_.markup("<turn|>\n");
  }

  void message(std::size_t i) {
    const Json& m = messages_[i];
    const bool model = role(i) == "assistant";
    last_ = Last::nothing;
    if (!(model && previous_role_ == "assistant")) {
      out_.markup("<|turn>");
      out_.markup(model ? std::string_view("model") : role(i)).markup("\n");
    }
    const Json& calls = get(m, "tool_calls");
    const bool has_calls = truthy(calls);
    const Json& reasoning = truthy(get(m, "reasoning")) ? get(m, "reasoning") : get(m, "reasoning_content");
    const bool after_last_user = !last_user_ || i > *last_user_;
    if (truthy(reasoning) && (after_last_user || (options_.preserve_thinking && has_calls))) {
      out_.markup("<|channel>thought\n").user(text_of(reasoning)).markup("\n<channel|>");
    }
    if (has_calls) {
      for (const Json& call : calls) {
        const Json& function = get(call, "function");
        out_.markup("<|tool_call>call:").user(text_of(get(function, "name"))).markup("{");
        if (const auto arguments = arguments_of(function, "")) write_pairs(out_, *arguments);
        out_.markup("}<tool_call|>");
      }
      last_ = Last::tool_call;
    }
    const bool responded = tool_responses(i, calls);
    PromptWriter content = content_of(m, model);
    const bool has_content = content.has_content();
    out_.write(content);

    std::size_t next = i + 1;
    while (next < messages_.size() && role(next) == "tool") ++next;
    const bool found = next < messages_.size();
    const bool continues = model && found && role(next) == "assistant" && (!has_calls || responded);
    if (last_ == Last::tool_call && !responded) {
      out_.markup("<|tool_response>");
    } else if (!continues && !(responded && !has_content && !found)) {
      // A partial answer stays open for its continuation.
      if (!(options_.continue_final_message && !found && model)) out_.markup("<turn|>\n");
    }
    previous_role_ = role(i);
  }

  // Results beside the calls (Google's own form) or in the tool messages that follow (OpenAI's).
  bool tool_responses(std::size_t i, const Json& calls) {
    const Json& m = messages_[i];
    bool any = false;
    if (truthy(get(m, "tool_responses"))) {
      for (const Json& response : get(m, "tool_responses")) {
        const Json& name = get(response, "name");
        write_tool_response(out_, truthy(name) ? python_text(name) : "unknown", get(response, "response"));
        any = true;
      }
    } else if (truthy(calls)) {
      for (std::size_t k = i + 1; k < messages_.size() && role(k) == "tool"; ++k) {
        tool_message(messages_[k], calls);
        any = true;
      }
    }
    if (any) last_ = Last::tool_response;
    return any;
  }

  void tool_message(const Json& m, const Json& calls) {
    std::string name = truthy(get(m, "name")) ? python_text(get(m, "name")) : "unknown";
    for (const Json& call : calls) {
      if (get(call, "id") == get(m, "tool_call_id")) name = text_of(get(get(call, "function"), "name"));
    }
    const Json& content = get(m, "content");
    if (!content.is_array()) return write_tool_response(out_, name, content);
    std::string text;
    for (const Json& part : content) {
      if (get(part, "type") == "text") text += text_of(get(part, "text"));
    }
    write_tool_response(out_, name, Json(text));
    for (const Json& part : content) out_.medium(placeholder(text_of(get(part, "type"))), part);
  }

  static PromptWriter content_of(const Json& m, bool model) {
    PromptWriter out;
    const auto write = [&](const Json& value) {
      const std::string& text = value.get_ref<const std::string&>();
      if (model)
        out.user(strip_thinking(text));
      else
        out.user(strip(text));
    };
    const Json& content = get(m, "content");
    if (content.is_string()) {
      write(content);
    } else {
      for (const Json& part : content) {
        if (get(part, "type") == "text")
          write(get(part, "text"));
        else
          out.medium(placeholder(text_of(get(part, "type"))), part);
      }
    }
    return out;
  }

  // Opens the model's turn; true when it begins inside a thought.
  bool generation_prompt() {
    if (last_ == Last::nothing) {
      out_.markup("<|turn>model\n");
      if (!options_.think && options_.kind == PromptKind::large) out_.markup("<|channel>thought\n<channel|>");
      return false;
    }
    if (last_ == Last::tool_response && options_.think) {
      out_.markup("<|channel>thought\n");
      return true;
    }
    return false;
  }

  const Json& messages_;
  const Json& tools_;
  const RenderOptions& options_;
  PromptWriter out_;
  std::size_t first_ = 0;
  std::optional<std::size_t> last_user_;
  std::string previous_role_;
  Last last_ = Last::nothing;
};

Result<Prompt> render_gemma3(const Json& messages, const Json& tools, const RenderOptions& options) {
  if (truthy(tools))
    return fail(ErrorCode::unsupported, "tools: the Gemma 3 prompt format has none; expected no tools");
  if (options.think) return fail(ErrorCode::unsupported, "think: the Gemma 3 prompt format has no thinking mode");
  PromptWriter out;
  out.markup("<bos>");
  std::size_t first = 0;
  std::string prefix;
  if (!messages.empty() && get(messages[0], "role") == "system") {
    const Json& content = get(messages[0], "content");
    prefix =
        content.is_array() ? (content.empty() ? std::string() : text_of(get(content[0], "text"))) : text_of(content);
    prefix += "\n\n";
    first = 1;
  }
  for (std::size_t i = first; i < messages.size(); ++i) {
    const Json& m = messages[i];
    const std::string role = get(m, "role").get<std::string>();
    if ((role == "user") != ((i - first) % 2 == 0)) {
      return fail(ErrorCode::invalid_argument, concat("messages[", i, "].role: found ", role,
                                                      "; expected user and assistant in turn, beginning with user"));
    }
    out.markup("<start_of_turn>").markup(role == "assistant" ? "model" : role).markup("\n");
    if (i == first) out.user(prefix);
    const Json& content = get(m, "content");
    if (content.is_string()) {
      out.user(strip(content.get_ref<const std::string&>()));
    } else {
      for (const Json& part : content) {
        const std::string type = text_of(get(part, "type"));
        if (type == "text") {
          out.user(strip(text_of(get(part, "text"))));
        } else if (placeholder(type) == "<|image|>") {
          out.medium("<start_of_image>", part);
        } else {
          return fail(ErrorCode::unsupported,
                      concat("messages[", i, "].content: found ", type, "; Gemma 3 takes text and images"));
        }
      }
    }
    if (!(options.continue_final_message && i + 1 == messages.size())) out.markup("<end_of_turn>\n");
  }
  if (options.add_generation_prompt && !options.continue_final_message) out.markup("<start_of_turn>model\n");
  Prompt prompt;
  prompt.segments = out.take();
  return prompt;
}

}  // namespace

std::string_view placeholder(std::string_view type) {
  if (type == "image" || type == "image_url") return "<|image|>";
  if (type == "audio" || type == "input_audio") return "<|audio|>";
  if (type == "video" || type == "video_url") return "<|video|>";
  return {};
}

std::string Prompt::text() const {
  std::string out;
  for (const PromptSegment& segment : segments) out += segment.text;
  return out;
}

Result<Prompt> render_prompt(const Json& messages, const Json& tools, const RenderOptions& options) {
  if (!messages.is_array()) return wrong("messages", messages, "a list of messages");
  if (too_deep(messages) || too_deep(tools)) {
    return fail(ErrorCode::invalid_argument, concat("messages or tools nest deeper than ", kMaxDepth, " levels"));
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (auto good = check_message(messages[i], concat("messages[", i, "]")); !good) return carat::forward(good);
  }
  if (auto good = check_tools(tools); !good) return carat::forward(good);
  if (options.continue_final_message && (messages.empty() || get(messages.back(), "role") != "assistant")) {
    return fail(ErrorCode::invalid_argument, "messages: to continue the final message, it must be an assistant's");
  }
  if (options.kind == PromptKind::gemma3) return render_gemma3(messages, tools, options);
  return Gemma4(messages, tools, options).render();
}

}  // namespace carat::text
