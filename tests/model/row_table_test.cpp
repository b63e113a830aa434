// Tables read row by row: the mapped pages that rows bring in do not add up to the table in this process's memory.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>

#include "formats/file_builders.h"
#include "formats/json.h"
#include "formats/open.h"
#include "formats/temp_dir.h"
#include "model/weights.h"

namespace carat::model {
namespace {

using formats::Json;

constexpr std::int64_t kRows = 512, kWidth = 4096;  // 16 KB a row, 8 MB in all

float value_at(std::int64_t row, std::int64_t column) { return static_cast<float>(row * 3 + column % 1000); }

/// Kilobytes of the mapping of `path` that count as resident memory of this process.
long resident_kilobytes(const std::filesystem::path& path) {
  std::ifstream maps("/proc/self/smaps");
  long total = 0;
  bool ours = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ') && line.find(':') > line.find(' ')) ours = line.ends_with(path.string());
    if (ours && line.starts_with("Rss:")) total += std::stol(line.substr(4));
  }
  return total;
}

TEST(RowTable, GivesThePagesOfItsRowsBack) {
  const tests::TempDir dir;
  std::string data;
  for (std::int64_t row = 0; row < kRows; ++row) {
    for (std::int64_t column = 0; column < kWidth; ++column) data += tests::raw(value_at(row, column));
  }
  const Json header = {
      {"table",
       {{"dtype", "F32"}, {"shape", Json::array({kRows, kWidth})}, {"data_offsets", Json::array({0, data.size()})}}}};
  dir.write("config.json", R"({"model_type":"gemma4_text"})");
  std::string text = header.dump();
  while (text.size() % 8 != 0) text += ' ';  // a tensor at an odd address would be copied out of the file
  const auto file = dir.write("model.safetensors", tests::safetensors(text, data));
  const auto checkpoint = formats::open_checkpoint(dir.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const formats::NamedTensor* tensor = checkpoint->find("table");
  ASSERT_NE(tensor, nullptr);

  std::vector<float> row(kWidth);
  const auto read_all = [&](const RowTable& table) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      table.read(r, row);
      ASSERT_EQ(row[0], value_at(r, 0));
      ASSERT_EQ(row[kWidth - 1], value_at(r, kWidth - 1));
    }
  };
  const RowTable table{tensor->view, &*checkpoint};
  for (int pass = 0; pass < 2; ++pass) {
    read_all(table);
    EXPECT_GE(resident_kilobytes(file), kRows * kWidth * 4 / 1024);
    table.done();
    EXPECT_LE(resident_kilobytes(file), 64);  // the header's page and its neighbours
  }

  const RowTable shared{tensor->view, nullptr};
  read_all(shared);
  shared.done();
  EXPECT_GE(resident_kilobytes(file), kRows * kWidth * 4 / 1024);
}

// Where the head multiplies the mapped embeddings themselves, their pages stay.
TEST(RowTable, EmbeddingsThatAreAlsoTheHeadStay) {
  const auto checkpoint = formats::open_checkpoint(CARAT_TEST_DATA "/golden/e2b_like");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const auto config = read_config(*checkpoint);
  ASSERT_TRUE(config) << config.error().message;
  const auto weights = load_weights(*checkpoint, *config, *kernels::select_kernels("portable")->table);
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_EQ(weights->embed_tokens.file, nullptr);
  EXPECT_EQ(weights->embed_tokens_per_layer.file, &*checkpoint);
}

}  // namespace
}  // namespace carat::model
