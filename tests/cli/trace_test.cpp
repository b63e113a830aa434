// carat trace on a tiny checkpoint: equal to the reference's intermediates, and exit code 3 naming the first tensor
// that is not.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/program.h"

namespace carat::tests {
namespace {

using Json = nlohmann::ordered_json;

// A safetensors file: where the bytes of a tensor lie.
struct Tensor {
  std::size_t begin = 0, end = 0;
};
Tensor find_tensor(const std::string& file, const std::string& name) {
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, file.data(), sizeof header_size);
  const Json offsets = Json::parse(file.substr(8, header_size)).at(name).at("data_offsets");
  return {8 + header_size + offsets[0].get<std::size_t>(), 8 + header_size + offsets[1].get<std::size_t>()};
}

std::string golden_path() { return chat_model() + "/golden.safetensors"; }

// The ids the reference was run on, as --tokens takes them.
std::string golden_ids(const std::string& golden) {
  const Tensor tensor = find_tensor(golden, "ids");
  std::string out;
  for (std::size_t at = tensor.begin; at < tensor.end; at += sizeof(std::int32_t)) {
    std::int32_t id = 0;
    std::memcpy(&id, golden.data() + at, sizeof id);
    out += (out.empty() ? "" : ",") + std::to_string(id);
  }
  return out;
}

TEST(Trace, EqualsTheReference) {
  const std::string ids = golden_ids(read_whole(golden_path()));
  const Finished result = run({"trace", chat_model(), "--tokens", ids, "--compare", golden_path()});
  EXPECT_EQ(result.code, 0) << result.out << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_NE(result.out.find("equal: all 11 shared tensors within 1e-04\n"), std::string::npos) << result.out;
  const Json json =
      Json::parse(run({"trace", chat_model(), "--tokens", ids, "--compare", golden_path(), "--json"}).out);
  EXPECT_EQ(json.at("equal"), true);
  EXPECT_TRUE(json.at("first_divergence").is_null());
  EXPECT_EQ(json.at("tensors").size(), 11u);
}

TEST(Trace, NamesTheFirstTensorThatDiverges) {
  const Folder folder;
  std::string golden = read_whole(golden_path());
  const std::string ids = golden_ids(golden);
  for (const std::string name : {"layer.4", "layer.2"}) {
    const float wrong = 1000;
    const Tensor tensor = find_tensor(golden, name);
    std::memcpy(golden.data() + tensor.begin + 7 * 48 * sizeof(float), &wrong, sizeof wrong);  // position 7
  }
  const std::string reference = folder.write("reference.safetensors", golden);
  const Finished result =
      run({"trace", chat_model(), "--tokens", ids, "--compare", reference, "--out", folder / "kept.safetensors"});
  EXPECT_EQ(result.code, 3) << result.err;
  EXPECT_TRUE(result.err.starts_with("carat: error: layer.2 is the first tensor that diverges from ")) << result.err;
  EXPECT_NE(result.err.find("at position 7 by "), std::string::npos) << result.err;
  EXPECT_NE(result.out.find("  layer.4"), std::string::npos);
  EXPECT_GT(read_whole(folder / "kept.safetensors").size(), 100u);
  const Finished as_json = run({"trace", chat_model(), "--tokens", ids, "--compare", reference, "--json"});
  EXPECT_EQ(as_json.code, 3);
  EXPECT_EQ(Json::parse(as_json.out).at("first_divergence"), "layer.2");
  // A wide tolerance accepts it.
  EXPECT_EQ(run({"trace", chat_model(), "--tokens", ids, "--compare", reference, "--tolerance", "2"}).code, 0);
}

TEST(Trace, WritesAFileThatComparesWithItself) {
  const Folder folder;
  const std::string out = folder / "trace.safetensors";
  const Finished result = run({"trace", bare_model(), "--tokens", "2,9,17", "--out", out});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "wrote " + out + " (3 tokens)\n");
  EXPECT_EQ(run({"trace", bare_model(), "--tokens", "2,9,17", "--compare", out, "--tolerance", "0"}).code, 0);
}

TEST(Trace, RefusesBadInput) {
  const Folder folder;
  const auto refused = [](const Finished& result, const std::string& text) {
    EXPECT_EQ(result.code, 1) << result.out << result.err;
    EXPECT_TRUE(result.err.starts_with("carat: error: ")) << result.err;
    EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
  };
  refused(run({"trace", bare_model(), "--tokens", "2,100000", "--out", folder / "a"}), "100000");
  refused(run({"trace", bare_model(), "--tokens", "2", "--compare", folder / "absent"}), "absent");
  refused(run({"trace", bare_model(), "--tokens", "2", "--compare", folder.write("bad", "no tensors")}), "bad");
  refused(run({"trace", bare_model(), "--tokens", "2", "--out", folder / "absent/a"}), "absent");
  refused(run({"trace", bare_model(), "--tokens", "2", "--out", "/dev/full"}), "/dev/full");
}

}  // namespace
}  // namespace carat::tests
