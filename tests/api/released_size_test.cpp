// The released sizes are recognised by their whole configuration, and nothing that differs in one number is.
#include "api/released_size.h"

#include <gtest/gtest.h>

#include <functional>

#include "api/full_size_checkpoint.h"

namespace carat {
namespace {

CheckpointSummary inspect(const std::filesystem::path& path) {
  const auto checkpoint = Checkpoint::open(path);
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  const auto summary = checkpoint->inspect();
  EXPECT_TRUE(summary) << summary.error().message;
  return *summary;
}

// What inspect says of a Gemma 3 text model.
CheckpointSummary gemma3(std::int64_t layers, std::int64_t hidden, std::int64_t mlp, std::int64_t heads,
                         std::int64_t kv_heads, std::int64_t head_dim, std::int64_t window) {
  CheckpointSummary out;
  out.family = "gemma3";
  out.vocab_size = 262144;
  out.hidden_size = hidden;
  out.sliding_window = window;
  for (std::int64_t i = 0; i < layers; ++i) {
    LayerSummary layer;
    layer.index = layer.kv_source = i;
    layer.layer_type = i % 6 == 5 ? "full_attention" : "sliding_attention";
    layer.num_attention_heads = heads;
    layer.num_key_value_heads = kv_heads;
    layer.head_dim = head_dim;
    layer.intermediate_size = mlp;
    out.layers.push_back(layer);
  }
  return out;
}

// Every number changed by itself makes it another model.
void expect_no_neighbour_is_recognised(const CheckpointSummary& released) {
  const std::vector<std::pair<const char*, std::function<void(CheckpointSummary&)>>> changes = {
      {"family", [](auto& s) { s.family = s.family == "gemma4" ? "gemma3" : "gemma4"; }},
      {"vocabulary", [](auto& s) { s.vocab_size += 1; }},
      {"hidden size", [](auto& s) { s.hidden_size += 128; }},
      {"window", [](auto& s) { s.sliding_window *= 2; }},
      {"per-layer input", [](auto& s) { s.hidden_size_per_layer_input += 256; }},
      {"shared layers", [](auto& s) { s.num_kv_shared_layers += 1; }},
      {"one layer less", [](auto& s) { s.layers.pop_back(); }},
      {"one layer more", [](auto& s) { s.layers.push_back(s.layers.back()), s.layers.back().index += 1; }},
      {"type of a layer", [](auto& s) { s.layers[1].layer_type = "full_attention"; }},
      {"heads of a layer", [](auto& s) { s.layers[2].num_attention_heads *= 2; }},
      {"KV heads of a layer", [](auto& s) { s.layers[2].num_key_value_heads *= 2; }},
      {"KV heads of a full layer", [](auto& s) { s.layers[s.layers.size() / 6 * 6 - 1].num_key_value_heads *= 2; }},
      {"head dim of a layer", [](auto& s) { s.layers[0].head_dim *= 2; }},
      {"MLP of the last layer", [](auto& s) { s.layers.back().intermediate_size += 64; }},
      {"experts", [](auto& s) { s.layers[0].num_experts += 1; }},
      {"chosen experts", [](auto& s) { s.layers[0].top_k_experts += 1; }},
      {"width of experts", [](auto& s) { s.layers[0].moe_intermediate_size += 1; }},
      {"source of keys", [](auto& s) { s.layers[3].kv_source = 1; }},
      {"values from keys", [](auto& s) { s.layers[0].attention_k_eq_v = true; }},
  };
  for (const auto& [what, change] : changes) {
    CheckpointSummary other = released;
    change(other);
    EXPECT_EQ(released_size(other), std::nullopt) << what;
  }
}

TEST(ReleasedSize, EveryGemma4IsNamed) {
  for (const test::FullSize& size : test::full_sizes()) {
    SCOPED_TRACE(size.name);
    const test::FullSizeCheckpoint files(size);
    const CheckpointSummary summary = inspect(files.path());
    EXPECT_EQ(summary.released_size, "Gemma 4 " + size.name);
    expect_no_neighbour_is_recognised(summary);
  }
}

TEST(ReleasedSize, EveryGemma3IsNamed) {
  const std::vector<std::pair<std::string, CheckpointSummary>> sizes = {
      {"Gemma 3 270M", gemma3(18, 640, 2048, 4, 1, 256, 512)},
      {"Gemma 3 1B", gemma3(26, 1152, 6912, 4, 1, 256, 512)},
      {"Gemma 3 4B", gemma3(34, 2560, 10240, 8, 4, 256, 1024)},
      {"Gemma 3 12B", gemma3(48, 3840, 15360, 16, 8, 256, 1024)},
      {"Gemma 3 27B", gemma3(62, 5376, 21504, 32, 16, 128, 1024)}};
  for (const auto& [name, summary] : sizes) {
    SCOPED_TRACE(name);
    EXPECT_EQ(released_size(summary), name);
    CheckpointSummary with_tower = summary;
    with_tower.vocab_size = 262208;
    with_tower.max_position_embeddings = 4096;  // a context may be cut without making another model
    EXPECT_EQ(released_size(with_tower), name);
    expect_no_neighbour_is_recognised(summary);
  }
}

TEST(ReleasedSize, OtherModelsAreNotNamed) {
  EXPECT_EQ(released_size({}), std::nullopt);
  for (const auto& entry : std::filesystem::directory_iterator(CARAT_TEST_DATA "/golden")) {
    if (!std::filesystem::exists(entry.path() / "config.json")) continue;
    EXPECT_EQ(inspect(entry.path()).released_size, std::nullopt) << entry.path();
  }
}

}  // namespace
}  // namespace carat
