#include "text/tool_call_parser.h"

#include <cctype>

#include "base/concat.h"
#include "formats/quote.h"
#include "text/prompt_writer.h"

namespace carat::text {
namespace {

using base::concat;
using formats::Json;

constexpr int kMaxDepth = 100;

// The declared schema of the tool of that name, or null.
const Json& schema_of(const Json& tools, std::string_view name) {
  static const Json none;
  if (!tools.is_array()) return none;
  for (const Json& tool : tools) {
    if (get(get(tool, "function"), "name") == std::string(name)) return get(get(tool, "function"), "parameters");
  }
  return none;
}

bool declared_as_text(const Json& schema) {
  const Json& type = get(schema, "type");
  return type.is_string() && upper(type.get_ref<const std::string&>()) == "STRING";
}

// What the model wrote, for a message: short, printable, delimiters as their literals.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == kQuoteMark)
      out += "<|\"|>";
    else
      out += c;
  }
  return formats::quote(out, 40);
}

/// A recursive reader over one call's text; `lenient` switches the repairs on.
class Reader {
 public:
  Reader(std::string_view text, bool lenient) : text_(text), lenient_(lenient) {}

  bool object(Json& out, const Json& schema) {
    if (++depth_ > kMaxDepth) return wrong("nesting deeper than 100 levels");
    out = Json::object();
    skip_space();
    if (!take('{')) return wrong("expected {");
    const Json& properties = get(schema, "properties");
    for (skip_space(); !take('}'); skip_space()) {
      if (at_end()) return end_early("}");
      std::string key;
      if (!read_key(key)) return false;
      Json value;
      if (!read_value(value, get(properties, key), /*in_object=*/true)) return false;
      out[key] = std::move(value);
      skip_space();
      if (take(',')) continue;
      if (at_end()) return end_early("}");
      if (peek() != '}') return wrong("expected , or }");
    }
    --depth_;
    return true;
  }

  void skip_space() {
    while (!at_end() && (peek() == ' ' || peek() == '\n' || peek() == '\t' || peek() == '\r')) ++at_;
  }
  bool at_end() const { return at_ >= text_.size(); }
  std::string_view rest() const { return text_.substr(at_); }
  const std::string& error() const { return error_; }

 private:
  char peek() const { return text_[at_]; }
  bool take(char c) {
    if (at_end() || peek() != c) return false;
    ++at_;
    return true;
  }
  bool wrong(std::string_view what) {
    if (error_.empty()) error_ = concat(what, " at byte ", at_, " of the call");
    return false;
  }
  // A missing closer at the very end is put in when repairing.
  bool end_early(const char* closer) {
    --depth_;
    return lenient_ || wrong(concat("the call ends, expected ", closer));
  }

  // A bare key up to ':', or one between delimiters or quotation marks.
  bool read_key(std::string& key) {
    if (take(kQuoteMark)) {
      const std::size_t end = text_.find(kQuoteMark, at_);
      if (end == std::string_view::npos) return wrong("a key's closing delimiter is missing");
      key = text_.substr(at_, end - at_);
      at_ = end + 1;
    } else if (lenient_ && (peek() == '"' || peek() == '\'')) {
      Json value;
      if (!read_quoted(value, peek())) return false;
      key = value.get<std::string>();
    } else {
      const std::size_t end = text_.find_first_of(":{}[],\xFF", at_);
      if (end == std::string_view::npos || text_[end] != ':') return wrong("expected a key and :");
      key = strip(text_.substr(at_, end - at_));
      at_ = end;
    }
    skip_space();
    if (key.empty() || !take(':')) return wrong("expected a key and :");
    return true;
  }

  bool read_value(Json& out, const Json& schema, bool in_object) {
    skip_space();
    if (at_end()) return wrong("a value is missing");
    const char c = peek();
    if (c == kQuoteMark) return read_string(out);
    if (c == '{') return object(out, schema);
    if (c == '[') return array(out, schema);
    // The schema says text: whatever is no string stands for itself.
    if (lenient_ && in_object && declared_as_text(schema) && c != '"' && c != '\'') return read_raw(out);
    if (lenient_ && (c == '"' || c == '\'')) return read_quoted(out, c);
    return read_scalar(out);
  }

  bool array(Json& out, const Json& schema) {
    if (++depth_ > kMaxDepth) return wrong("nesting deeper than 100 levels");
    out = Json::array();
    ++at_;
    const Json& items = get(schema, "items");
    for (skip_space(); !take(']'); skip_space()) {
      if (at_end()) return end_early("]");
      Json value;
      if (!read_value(value, items, false)) return false;
      out.push_back(std::move(value));
      skip_space();
      if (take(',')) continue;
      if (at_end()) return end_early("]");
      if (peek() != ']') return wrong("expected , or ]");
    }
    --depth_;
    return true;
  }

  // <|"|>raw<|"|>: everything between is literal.
  bool read_string(Json& out) {
    const std::size_t begin = ++at_, end = text_.find(kQuoteMark, begin);
    if (end != std::string_view::npos) {
      out = std::string(text_.substr(begin, end - begin));
      at_ = end + 1;
      return true;
    }
    if (!lenient_) return wrong("a string's closing delimiter is missing");
    // The last string was not closed: it ends before the closers that its surroundings still need.
    std::string_view raw = text_.substr(begin);
    for (int open = depth_; open > 0; --open) {
      const std::string_view shorter = trim_end(raw);
      if (shorter.empty() || (shorter.back() != '}' && shorter.back() != ']')) break;
      raw = shorter.substr(0, shorter.size() - 1);
    }
    out = std::string(raw);
    at_ = text_.size();
    return true;
  }

  // 'text' or "text" as plain JSON or Python write it, also with a dangling delimiter behind it or in place of the end.
  bool read_quoted(Json& out, char quote) {
    std::string raw = "\"", literal;
    std::size_t i = at_ + 1;
    for (; i < text_.size() && text_[i] != quote && text_[i] != kQuoteMark; ++i) {
      if (text_[i] == '\\' && i + 1 < text_.size() && text_[i + 1] != kQuoteMark) {
        raw += text_[i];
        literal += text_[i++];
        raw += text_[i];
      } else if (text_[i] == '"') {
        raw += "\\\"";
      } else if (static_cast<unsigned char>(text_[i]) >= 0x20) {
        raw += text_[i];
      } else {
        raw += text_[i] == '\n' ? "\\n" : text_[i] == '\t' ? "\\t" : " ";
      }
      literal += text_[i];
    }
    if (i >= text_.size()) return wrong("a closing quotation mark is missing");
    at_ = i + 1;
    if (text_[i] == quote) take(kQuoteMark);
    // Escapes as JSON knows them; anything else (a Windows path) stays literal.
    auto parsed = formats::parse_json(raw + '"', "call");
    out = parsed && parsed->is_string() ? std::move(*parsed) : Json(literal);
    return true;
  }

  // Text without delimiters up to the next `,key:` or the end of the object.
  bool read_raw(Json& out) {
    std::size_t end = at_;
    for (; end < text_.size() && text_[end] != '}' && text_[end] != kQuoteMark; ++end) {
      if (text_[end] == ',' && begins_key(end + 1)) break;
    }
    out = std::string(trim_end(text_.substr(at_, end - at_)));
    at_ = end;
    take(kQuoteMark);
    return true;
  }
  bool begins_key(std::size_t i) const {
    while (i < text_.size() && (text_[i] == ' ' || text_[i] == '\n')) ++i;
    const std::size_t begin = i;
    while (i < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[i])) || text_[i] == '_' || text_[i] == '-'))
      ++i;
    return i > begin && i < text_.size() && text_[i] == ':';
  }

  bool read_scalar(Json& out) {
    const std::size_t end = std::min(text_.find_first_of(",}] \n\t\r", at_), text_.size());
    const std::string_view word = text_.substr(at_, end - at_);
    if (word == "true" || word == "false") {
      out = word == "true";
    } else if (word == "null" || (lenient_ && word == "None")) {
      out = nullptr;
    } else if (lenient_ && (word == "True" || word == "False")) {
      out = word == "True";
    } else if (!word.empty() && (word[0] == '-' || (word[0] >= '0' && word[0] <= '9'))) {
      auto number = formats::parse_json(word, "call");
      if (!number || !number->is_number()) return wrong(concat(shown(word), " is no number"));
      out = std::move(*number);
    } else {
      return wrong(concat(shown(word), " is no value"));
    }
    at_ = end;
    return true;
  }

  static std::string_view trim_end(std::string_view text) {
    while (!text.empty() && (text.back() == ' ' || text.back() == '\n' || text.back() == '\t' || text.back() == '\r'))
      text.remove_suffix(1);
    return text;
  }

  std::string_view text_;
  bool lenient_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::string error_;
};

}  // namespace

Result<ParsedCall> parse_tool_call(std::string_view text, const Json& tools) {
  const std::size_t brace = text.find('{');
  std::string_view head = strip(text.substr(0, brace));
  constexpr std::string_view prefix = "call:";
  const bool prefixed = head.starts_with(prefix);
  if (prefixed) head = strip(head.substr(prefix.size()));
  if (head.empty() || head.find_first_of("\xFF,[]}\"' \n") != std::string_view::npos) {
    return fail(ErrorCode::invalid_argument, "a tool call must begin with call:NAME{");
  }
  ParsedCall out;
  out.name = head;
  const Json& schema = schema_of(tools, head);
  const std::string_view body = brace == std::string_view::npos ? std::string_view() : text.substr(brace);
  Reader strict(body, false);
  if (prefixed && strict.object(out.arguments, schema)) {
    strict.skip_space();
    if (strict.at_end()) return out;
  }
  out.repaired = true;
  if (body.empty()) {  // a call without any arguments
    out.arguments = Json::object();
    return out;
  }
  Reader lenient(body, true);
  if (lenient.object(out.arguments, schema)) {
    // Closers too many do no harm; anything else behind the object would be lost.
    if (strip(lenient.rest()).find_first_not_of("}] \n\xFF") == std::string_view::npos) return out;
    return fail(ErrorCode::invalid_argument, concat("tool call ", shown(head), ": text behind the arguments"));
  }
  return fail(ErrorCode::invalid_argument, concat("tool call ", shown(head), ": ", lenient.error()));
}

}  // namespace carat::text
