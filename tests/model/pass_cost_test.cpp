// What a pass is said to cost, against counts worked out by hand for the published sizes.
#include "model/pass_cost.h"

#include <gtest/gtest.h>

#include "api/full_size_checkpoint.h"
#include "model/tiny_model.h"

namespace carat {
namespace {

using model::PassShape;

TEST(PassCost, PublishedSizesCostWhatTheirShapesSay) {
  struct Expected {
    double decode, prompt;  // multiply-adds per token with weights, 10^9; a prompt of 512
  };
  // E2B: 2.28 a token; of a prompt layers 0 to 13, keys and values of 14, and its share of the last token's rest.
  // 26B-A4B: 8 of 128 experts; of a prompt all but the last layer and the head, and of that layer the keys.
  const std::map<std::string, Expected> expected = {
      {"E2B", {2.279, 0.541}}, {"E4B", {4.644, 2.20}}, {"26B-A4B", {3.822, 2.973}}};
  for (const test::FullSize& size : test::full_sizes()) {
    const auto found = expected.find(size.name);
    if (found == expected.end()) continue;
    const test::FullSizeCheckpoint file(size);
    const test::TinyModel model(file.path(), "portable", 1);
    ASSERT_TRUE(model.ok());
    const auto cost = [&](const PassShape& shape) {
      return model::pass_cost(model.config(), model.transformer().weights(), tensor::DType::f16, shape);
    };
    const auto decode = cost({1, 1, 0, 1}), prompt = cost({1, 512, 0, 1});
    EXPECT_NEAR(static_cast<double>(decode.weight_macs) / 1e9, found->second.decode, 0.01) << size.name;
    EXPECT_NEAR(static_cast<double>(prompt.weight_macs) / 512e9, found->second.prompt, 0.01) << size.name;
    // 16-bit weights: two bytes a multiply-add, and the rows of the embedding tables. The router is kept in f32.
    const std::int64_t router = size.experts * size.hidden * size.layers;
    EXPECT_NEAR(static_cast<double>(decode.weight_bytes - 2 * router) / 2e9, found->second.decode, 0.01) << size.name;
    EXPECT_EQ(decode.quantised_macs, 0);
    EXPECT_EQ(decode.bf16_macs, decode.weight_macs - router);
    EXPECT_EQ(cost({4, 1, 0, 1}).weight_macs, 4 * decode.weight_macs);
  }
}

TEST(PassCost, AttentionSeesWindowsAndWholeContexts) {
  const test::FullSizeCheckpoint file(test::full_sizes()[0]);
  const test::TinyModel model(file.path(), "portable", 1);
  ASSERT_TRUE(model.ok());
  const auto at = [&](std::int64_t depth, std::int64_t sequences) {
    return model::pass_cost(model.config(), model.transformer().weights(), tensor::DType::f16,
                            {sequences, 1, depth, 1});
  };
  // E2B: 28 sliding layers of 512 positions with heads of 256, 7 full ones with heads of 512; one KV head, 8 query
  // heads.
  const std::int64_t sliding = 28 * 512 * 256, full = 7 * 4097 * 512;
  EXPECT_EQ(at(4096, 1).attention_macs, 2 * 8 * (sliding + full));
  EXPECT_EQ(at(4096, 1).cache_bytes, 2 * 2 * (sliding + full));
  EXPECT_EQ(at(4096, 3).cache_bytes, 3 * at(4096, 1).cache_bytes);
  // A chunk of a prompt nobody wants logits of: the first 14 layers attend, two of them (5 and 10) to everything.
  const auto chunk =
      model::pass_cost(model.config(), model.transformer().weights(), tensor::DType::f16, {1, 1, 4096, 0});
  EXPECT_EQ(chunk.cache_bytes, 2 * 2 * (12 * 512 * 256 + 2 * 4097 * 512));
  EXPECT_EQ(at(0, 1).attention_macs, 2 * 8 * (28 * 256 + 7 * 512));
}

}  // namespace
}  // namespace carat
