#include "cli/model_name.h"

#include <filesystem>
#include <system_error>
#include <vector>

namespace carat::cli {

namespace fs = std::filesystem;

std::string model_path(const std::string& argument) {
  std::error_code error;
  if ((argument != "demo" && argument != "demo-moe") || fs::exists(argument, error)) return argument;
  std::vector<fs::path> folders;
  // /proc/self/exe is the program whatever name or link it was started by.
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) folders.push_back(program.parent_path().parent_path() / "share/carat/models");
  folders.emplace_back(CARAT_SOURCE_MODELS);
  for (const fs::path& folder : folders) {
    if (fs::exists(folder / argument / "config.json", error)) return (folder / argument).string();
  }
  return argument;
}

}  // namespace carat::cli
