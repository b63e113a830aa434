// The conversation of a chat: what was said so far, as messages, and its file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "carat/result.h"
#include "cli/input.h"

namespace carat::cli {

class ChatLog {
 public:
  /// Reads what `save` wrote, or any JSON array of messages. Errors: bad_file, invalid_argument.
  static Result<ChatLog> load(const std::filesystem::path& path);
  /// Writes the messages. Errors: io; bad_file when the file exists and `overwrite` is not set.
  Result<void> save(const std::filesystem::path& path, bool overwrite) const;

  /// Empty removes it. Errors: invalid_argument when not UTF-8.
  Result<void> set_system(std::string text);
  const std::string& system() const { return system_; }

  /// A message, its media (content parts) before its text.
  void add_user(std::string text, const std::vector<Json>& media = {}) {
    Json content = std::move(text);
    if (!media.empty()) {
      Json parts = media;
      parts.push_back({{"type", "text"}, {"text", std::move(content)}});
      content = std::move(parts);
    }
    turns_.push_back({{"role", "user"}, {"content", std::move(content)}});
  }
  void add_assistant(std::string text) { turns_.push_back({{"role", "assistant"}, {"content", std::move(text)}}); }
  void drop_last() { turns_.erase(turns_.size() - 1); }
  /// Forgets everything but the system prompt.
  void clear() { turns_ = Json::array(); }

  /// All messages, the system prompt first, as a JSON array.
  std::string messages(int indent = -1) const;

 private:
  std::string system_;
  Json turns_ = Json::array();
};

}  // namespace carat::cli
