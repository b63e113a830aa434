// Checkpoint::inspect on the published sizes: parameter counts by part and cache bytes by context length.
#include <gtest/gtest.h>

#include <map>

#include "api/full_size_checkpoint.h"
#include "carat/checkpoint.h"

namespace carat {
namespace {

using Parts = std::map<std::string, std::int64_t>;

// Counted by instantiating each reference model without memory (towers and projectors left out).
const std::map<std::string, Parts> kParameters = {
    {"E2B",
     {{"embedding", 402653184},
      {"per-layer embedding table", 2348810240},
      {"per-layer model projection", 13762816},
      {"per-layer gates", 27525120},
      {"attention", 278412288},
      {"dense MLP", 1557135360},
      {"norms", 270336}}},
    {"E4B",
     {{"embedding", 671088640},
      {"per-layer embedding table", 2818572288},
      {"per-layer model projection", 27525376},
      {"per-layer gates", 55050240},
      {"attention", 587222272},
      {"dense MLP", 3303014400},
      {"norms", 540160}}},
    {"12B", {{"embedding", 1006632960}, {"attention", 2406510592}, {"dense MLP", 8493465600}, {"norms", 741120}}},
    {"26B-A4B",
     {{"embedding", 738197504},
      {"attention", 1110197760},
      {"dense MLP", 535265280},
      {"experts", 22837985280},
      {"router", 10901760},
      {"norms", 594176}}},
    {"31B", {{"embedding", 1409286144}, {"attention", 8477772800}, {"dense MLP", 20808990720}, {"norms", 1295616}}},
};

// Cache bytes per position of the window part and of the full part, 16 bit.
const std::map<std::string, std::pair<std::int64_t, std::int64_t>> kCacheBytes = {{"E2B", {12288, 6144}},
                                                                                  {"E4B", {40960, 16384}},
                                                                                  {"12B", {327680, 16384}},
                                                                                  {"26B-A4B", {204800, 20480}},
                                                                                  {"31B", {819200, 81920}}};

TEST(Inspect, ParameterCountsOfThePublishedSizes) {
  for (const test::FullSize& size : test::full_sizes()) {
    SCOPED_TRACE(size.name);
    const test::FullSizeCheckpoint files(size);
    const auto checkpoint = Checkpoint::open(files.path());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    const auto summary = checkpoint->inspect();
    ASSERT_TRUE(summary) << summary.error().message;
    Parts found;
    for (const PartSummary& part : summary->parts) found[part.part] = part.parameters;
    std::int64_t total = 0;
    for (const auto& [part, parameters] : kParameters.at(size.name)) {
      EXPECT_EQ(found[part], parameters) << part;
      total += parameters;
    }
    EXPECT_EQ(summary->total_parameters, total);
    EXPECT_EQ(static_cast<std::int64_t>(summary->layers.size()), size.layers);
  }
}

TEST(Inspect, CacheBytesByContextLength) {
  for (const test::FullSize& size : test::full_sizes()) {
    SCOPED_TRACE(size.name);
    const test::FullSizeCheckpoint files(size);
    const auto checkpoint = Checkpoint::open(files.path());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    const auto summary = checkpoint->inspect();
    ASSERT_TRUE(summary) << summary.error().message;
    const auto [sliding, full] = kCacheBytes.at(size.name);
    ASSERT_GE(summary->memory.size(), 3U);
    for (const MemorySummary& row : summary->memory) {
      const std::int64_t window_part = sliding * size.window, full_part = full * row.context_length;
      // Rings keep some slack beyond the window: a block for each layer, a prompt chunk where later layers read them.
      EXPECT_GE(row.kv_cache_f16, window_part + full_part) << row.context_length;
      EXPECT_LE(row.kv_cache_f16, window_part + full_part + window_part / 4) << row.context_length;
      EXPECT_EQ(row.total, row.weights + row.kv_cache_f16);
    }
    EXPECT_EQ(summary->memory.back().context_length, size.max_positions);
  }
}

TEST(Fits, AContextBeyondTheMachineIsRefusedWithTheOneThatFits) {
  const test::FullSizeCheckpoint files(test::full_sizes().back());  // 58 GiB of weights
  const auto checkpoint = Checkpoint::open(files.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  SessionOptions options;
  options.context_length = 300000;
  const auto beyond = checkpoint->fits(options);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(beyond.error().message.find("262144"), std::string::npos) << beyond.error().message;
  options.context_length = 0;
  options.cache_type = "q1";
  EXPECT_FALSE(checkpoint->fits(options));
}

}  // namespace
}  // namespace carat
