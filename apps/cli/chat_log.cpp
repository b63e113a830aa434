// The conversation of a chat: what was said so far, as messages, and its file. Thoughts are not kept: the prompt
// formats drop those of earlier turns.
#include "cli/chat_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace carat::cli {

Result<ChatLog> ChatLog::load(const std::filesystem::path& path) {
  auto text = read_file(path);
  if (!text) return forward(text);
  auto json = parse_json(*text, path.string());
  if (!json) return forward(json);
  if (!json->is_array()) {
    return fail(ErrorCode::invalid_argument,
                path.string() + ": expected a JSON array of messages, found " + json->type_name());
  }
  ChatLog log;
  if (!json->empty() && json->front().is_object()) {
    const Json& first = json->front();
    const auto content = first.find("content");
    if (first.value("role", Json()) == "system" && content != first.end() && content->is_string()) {
      log.system_ = content->get<std::string>();
      json->erase(json->begin());
    }
  }
  log.turns_ = std::move(*json);
  return log;
}

Result<void> ChatLog::save(const std::filesystem::path& path, bool overwrite) const {
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (overwrite ? O_TRUNC : O_EXCL);
  const int descriptor = ::open(path.c_str(), flags, 0666);
  if (descriptor < 0 && errno == EEXIST) {
    return fail(ErrorCode::bad_file, path.string() + ": exists already; /save! FILE overwrites it");
  }
  if (descriptor < 0) return fail(ErrorCode::io, path.string() + ": cannot write: " + std::strerror(errno));
  const std::string text = messages(2) + "\n";
  int error = 0;
  for (std::size_t at = 0; at < text.size() && error == 0;) {
    const ssize_t count = ::write(descriptor, text.data() + at, text.size() - at);
    if (count > 0)
      at += static_cast<std::size_t>(count);
    else if (errno != EINTR)
      error = errno;
  }
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error != 0) return fail(ErrorCode::io, path.string() + ": cannot write: " + std::strerror(error));
  return {};
}

Result<void> ChatLog::set_system(std::string text) {
  if (auto valid = check_utf8(text, "the system prompt"); !valid) return forward(valid);
  system_ = std::move(text);
  return {};
}

std::string ChatLog::messages(int indent) const {
  Json all = Json::array();
  if (!system_.empty()) all.push_back({{"role", "system"}, {"content", system_}});
  for (const Json& turn : turns_) all.push_back(turn);
  return all.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace carat::cli
