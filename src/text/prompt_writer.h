// Collects a prompt as segments, and the few text rules the chat templates take from Python.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/json.h"
#include "text/chat_template.h"

namespace carat::text {

/// Appends markup and user text, joining neighbours of one kind.
class PromptWriter {
 public:
  PromptWriter& markup(std::string_view text) { return append(text, true); }
  PromptWriter& user(std::string_view text) { return append(text, false); }
  /// A placeholder and the content part it stands for.
  PromptWriter& medium(std::string_view text, const formats::Json& part) {
    if (!text.empty()) segments_.push_back({std::string(text), true, &part, 0});
    return *this;
  }
  /// Takes over everything another writer holds.
  PromptWriter& write(const PromptWriter& other) {
    for (const PromptSegment& segment : other.segments_) {
      if (segment.medium != nullptr)
        segments_.push_back(segment);
      else
        append(segment.text, segment.markup);
    }
    return *this;
  }
  std::vector<PromptSegment> take() { return std::move(segments_); }
  const std::vector<PromptSegment>& segments() const { return segments_; }
  /// Whether anything but white space was written.
  bool has_content() const;

 private:
  PromptWriter& append(std::string_view text, bool markup) {
    if (text.empty()) return *this;
    if (!segments_.empty() && segments_.back().markup == markup && segments_.back().medium == nullptr)
      segments_.back().text += text;
    else
      segments_.push_back({std::string(text), markup, nullptr, 0});
    return *this;
  }
  std::vector<PromptSegment> segments_;
};

/// str.strip() of Python: every code point Unicode calls white space, at both ends.
std::string_view strip(std::string_view text);
/// str.upper() of Python for ASCII letters; others stay.
std::string upper(std::string_view text);
/// str(value) of Python for a JSON value: text as it is, None, True, 1.5, 1e+20, ['a', 1], {'k': None}.
std::string python_text(const formats::Json& value);
/// The items of an object in the order of Jinja's dictsort: by key without regard to case, ties as they come.
std::vector<std::pair<std::string_view, const formats::Json*>> dictsort(const formats::Json& object);
/// object[key], or null where the value is no object or has no such key.
const formats::Json& get(const formats::Json& object, std::string_view key);
/// Whether Python takes a value for true: not null, false, 0 or empty.
bool truthy(const formats::Json& value);

}  // namespace carat::text
