// A copy of a tiny checkpoint whose tensors were renamed, reshaped, retyped or overwritten.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "formats/json.h"
#include "formats/temp_dir.h"

namespace carat::test {

/// Copies the files of a Hugging Face directory with one model.safetensors; change `header` and `data`, then save().
class EditedCheckpoint {
 public:
  explicit EditedCheckpoint(const std::filesystem::path& from) {
    for (const auto& entry : std::filesystem::directory_iterator(from)) {
      const auto name = entry.path().filename();
      if (name.extension() == ".json" || name.extension() == ".jinja")
        std::filesystem::copy_file(entry.path(), dir_ / name.string());
    }
    std::ifstream in(from / "model.safetensors", std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    EXPECT_GT(bytes.size(), 8U) << from;
    std::uint64_t size = 0;
    std::memcpy(&size, bytes.data(), 8);
    header = formats::Json::parse(bytes.substr(8, size));
    data = bytes.substr(8 + size);
  }

  const std::filesystem::path& path() const { return dir_.path(); }
  void save() const {
    const std::string text = header.dump();
    const std::uint64_t size = text.size();
    std::ofstream out(dir_ / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&size), 8);
    out << text << data;
  }
  /// Gives a tensor another name, so that it is missing under its own; everything else stays in place.
  void rename(const std::string& name, const std::string& other) {
    header[other] = header.at(name);
    header.erase(name);
  }
  /// Overwrites element `index` of an F32 tensor.
  void set(const std::string& name, std::size_t index, float value) {
    const formats::Json& tensor = header.at(name);
    ASSERT_EQ(tensor.at("dtype"), "F32");
    const std::size_t at = tensor.at("data_offsets")[0].get<std::size_t>() + index * 4;
    ASSERT_LE(at + 4, tensor.at("data_offsets")[1].get<std::size_t>());
    std::memcpy(data.data() + at, &value, 4);
  }

  formats::Json header;
  std::string data;

 private:
  tests::TempDir dir_;
};

}  // namespace carat::test
