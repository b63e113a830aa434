// Messages as the library takes them: OpenAI-style JSON, built from the command line or read from a file. What a
// message may hold is checked by the library; here only the array around them is looked at.
#include "cli/conversation.h"

namespace carat::cli {
namespace {

bool is_system(const Json& message) {
  if (!message.is_object()) return false;
  const auto role = message.find("role");
  return role != message.end() && (*role == "system" || *role == "developer");
}

}  // namespace

Result<std::string> make_messages(std::string_view system, std::string_view user, const std::vector<Json>& media) {
  if (auto valid = check_utf8(system, "the text of --system"); !valid) return forward(valid);
  if (auto valid = check_utf8(user, "the prompt"); !valid) return forward(valid);
  Json messages = Json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  Json content = user;
  if (!media.empty()) {
    content = media;
    content.push_back({{"type", "text"}, {"text", user}});
  }
  messages.push_back({{"role", "user"}, {"content", std::move(content)}});
  return messages.dump();
}

Result<std::string> read_messages(const std::string& path, std::string_view system) {
  const std::string origin = path == "-" ? "standard input" : path;
  auto text = path == "-" ? read_standard_input() : read_file(path);
  if (!text) return forward(text);
  if (auto valid = check_utf8(system, "the text of --system"); !valid) return forward(valid);
  auto messages = parse_json(*text, origin);
  if (!messages) return forward(messages);
  if (!messages->is_array()) {
    return fail(ErrorCode::invalid_argument,
                origin + ": expected a JSON array of messages like [{\"role\":\"user\",\"content\":\"Hi\"}], found " +
                    messages->type_name());
  }
  // Unchanged text goes to the library as it was written, so its errors (duplicate keys, …) are about the user's file.
  if (system.empty()) return text;
  if (!messages->empty() && is_system(messages->front())) {
    return fail(ErrorCode::invalid_argument, origin + ": already begins with a system message; drop it or --system");
  }
  messages->insert(messages->begin(), Json{{"role", "system"}, {"content", system}});
  return messages->dump();
}

std::filesystem::path messages_folder(const std::string& path) {
  return path.empty() || path == "-" ? std::filesystem::path() : std::filesystem::path(path).parent_path();
}

Result<std::string> read_tools(const std::string& path) {
  if (path.empty()) return std::string();
  auto text = read_file(path);
  if (!text) return forward(text);
  auto tools = parse_json(*text, path);
  if (!tools) return forward(tools);
  if (!tools->is_array()) {
    return fail(ErrorCode::invalid_argument,
                path + ": expected a JSON array of tools like [{\"type\":\"function\",\"function\":{…}}], found " +
                    tools->type_name());
  }
  return text;
}

}  // namespace carat::cli
