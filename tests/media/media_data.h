// The files of tests/media/data and what the reference makes of them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "formats/safetensors.h"

namespace carat::test {

inline std::filesystem::path media_path(const std::string& name) { return CARAT_TEST_DATA "/media/data/" + name; }

inline std::vector<std::byte> media_bytes(const std::string& name) {
  std::ifstream in(media_path(name), std::ios::binary);
  EXPECT_TRUE(in) << name;
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

/// expected.safetensors, opened once.
inline const formats::SafetensorsFile& expected_file() {
  static const auto file = formats::open_safetensors(media_path("expected.safetensors"));
  EXPECT_TRUE(file);
  return *file;
}
/// The values of a tensor; its shape in `shape` when given.
template <typename T>
std::vector<T> expected(const std::string& name, tensor::Shape* shape = nullptr) {
  const auto* found = expected_file().find(name);
  EXPECT_NE(found, nullptr) << name;
  if (found == nullptr) return {};
  if (shape != nullptr) *shape = found->view.shape;
  const auto* data = reinterpret_cast<const T*>(found->view.data);
  return {data, data + found->view.shape.elements()};
}

/// Every file cut short at many places.
template <typename Check>
void at_every_cut(const std::string& name, const Check& check) {
  const auto whole = media_bytes(name);
  for (std::size_t i = 0; i < 24; ++i) {
    const std::size_t size = whole.size() * i / 25;
    check(std::span(whole).first(size), size);
  }
}

}  // namespace carat::test
