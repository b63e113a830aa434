// Holds the import directions: every quoted include of src/, include/ and apps/ against the table of
// docs/architecture.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

namespace carat {
namespace {

namespace fs = std::filesystem;

// Folder -> first parts of the includes it may have besides its own; "carat" is include/carat.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"include/carat", {"carat"}},
    {"src/base", {"carat"}},
    {"src/tensor", {"carat", "base"}},
    {"src/formats", {"carat", "base", "tensor"}},
    {"src/kernels", {"carat", "base", "tensor"}},
    {"src/text", {"carat", "base", "formats"}},
    {"src/media", {"carat", "base"}},
    {"src/model", {"carat", "base", "tensor", "formats", "kernels"}},
    {"src/engine", {"carat", "base", "tensor", "formats", "kernels", "text", "media", "model"}},
    {"src/api", {"carat", "base", "tensor", "formats", "kernels", "text", "media", "model", "engine"}},
    {"apps/cli", {"carat", "cli"}},
    {"examples", {"carat"}},
};
// Of a folder a row may open only in part.
const std::map<std::string, std::set<std::string>> kOnlyThese = {
    {"src/model:formats", {"formats/checkpoint.h"}},
    {"src/model:kernels", {"kernels/ops.h"}},
};

TEST(Includes, GoOneWay) {
  const fs::path root = CARAT_SOURCE_DIR;
  std::size_t files = 0;
  for (const auto& [folder, allowed] : kMayInclude) {
    const std::string own = fs::path(folder).filename();
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const auto extension = entry.path().extension();
      if (extension != ".cpp" && extension != ".h") continue;
      ++files;
      std::ifstream in(entry.path());
      std::string line;
      while (std::getline(in, line)) {
        if (!line.starts_with("#include \"")) continue;
        const std::string target = line.substr(10, line.find('"', 10) - 10), part = target.substr(0, target.find('/'));
        if (part == own && folder.starts_with("src/")) continue;
        EXPECT_TRUE(allowed.contains(part))
            << entry.path() << " includes \"" << target << "\"; " << folder << " may not include " << part;
        const auto only = kOnlyThese.find(folder + ":" + part);
        if (only != kOnlyThese.end()) {
          EXPECT_TRUE(only->second.contains(target)) << entry.path() << " includes \"" << target << "\"";
        }
      }
    }
  }
  EXPECT_GT(files, 100U);
}

TEST(Includes, IsaTablesUseNothingOfTheStandardLibrary) {
  const std::set<std::string> allowed = {"<cstddef>",
                                         "<cstdint>",
                                         "<immintrin.h>",
                                         "<arm_neon.h>",
                                         "\"kernels/abi.h\"",
                                         "\"kernels/vector_rows.h\"",
                                         "\"kernels/quantised_formats.h\"",
                                         "\"kernels/quantised_matmul.h\"",
                                         "\"kernels/float_matmul.h\"",
                                         "\"kernels/float_tile.h\"",
                                         "\"kernels/bf16_matmul.h\"",
                                         "\"kernels/word_panel.h\"",
                                         "\"kernels/attention.h\""};
  const fs::path kernels = fs::path(CARAT_SOURCE_DIR) / "src/kernels";
  std::size_t files = 0;
  const auto check = [&](const fs::path& path) {
    ++files;
    std::ifstream in(path);
    std::string line;
    while (std::getline(in, line)) {
      if (!line.starts_with("#include ")) continue;
      const std::string target = line.substr(9);
      const std::string own = "\"kernels/" + path.parent_path().filename().string() + "/";
      EXPECT_TRUE(allowed.contains(target) || target.starts_with(own)) << path << ": " << line;
    }
  };
  for (const char* shared : {"vector_rows.h", "float_tile.h", "bf16_matmul.h", "float_matmul.h", "word_panel.h",
                             "attention.h", "quantised_formats.h", "quantised_matmul.h"})
    check(kernels / shared);
  for (const char* folder : {"ref", "x86_avx2", "x86_avx512", "arm_neon"}) {
    for (const auto& entry : fs::directory_iterator(kernels / folder)) check(entry.path());
  }
  EXPECT_GE(files, 9U);
}

TEST(House, EveryFolderOfTheTableIsInTheArchitecture) {
  std::ifstream in(fs::path(CARAT_SOURCE_DIR) / "docs/architecture.md");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  for (const auto& [folder, allowed] : kMayInclude) EXPECT_NE(text.find("`" + folder), std::string::npos) << folder;
  for (const auto& entry : fs::directory_iterator(fs::path(CARAT_SOURCE_DIR) / "src")) {
    if (!entry.is_directory()) continue;
    EXPECT_TRUE(kMayInclude.contains("src/" + entry.path().filename().string())) << entry.path();
  }
}

}  // namespace
}  // namespace carat
