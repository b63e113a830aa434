// demo and demo-moe as MODEL: the models that come with Carat, unless a file or folder of that name is there.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace carat::tests {
namespace {

namespace fs = std::filesystem;

// The program inherits it.
class CurrentFolder {
 public:
  explicit CurrentFolder(const fs::path& path) : before_(fs::current_path()) { fs::current_path(path); }
  ~CurrentFolder() { fs::current_path(before_); }
  CurrentFolder(const CurrentFolder&) = delete;
  CurrentFolder& operator=(const CurrentFolder&) = delete;

 private:
  fs::path before_;
};

TEST(ModelName, AModelThatComesWithCaratIsFoundFromAnywhere) {
  const Folder folder;
  const CurrentFolder here(folder / "");
  for (const std::string name : {"demo", "demo-moe"}) {
    const Finished result = run({"inspect", name, "--json"});
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_FALSE(nlohmann::json::parse(result.out).empty());
  }
  const Finished answer = run({"run", "demo", "-t", "1", "-p", "What is the capital of France?"});
  EXPECT_EQ(answer.out, "Paris.\n") << answer.err;
}

TEST(ModelName, APathOfThatNameWins) {
  const Folder folder;
  folder.write("demo", "no model");
  const CurrentFolder here(folder / "");
  const Finished result = run({"inspect", "demo"});
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_TRUE(result.err.starts_with("carat: error: \"demo\": no model file")) << result.err;
}

TEST(ModelName, AnythingElseIsAPath) {
  const Finished result = run({"inspect", "demon"});
  EXPECT_EQ(result.code, 1);
  EXPECT_TRUE(result.err.starts_with("carat: error: \"demon\": No such file")) << result.err;
}

}  // namespace
}  // namespace carat::tests
