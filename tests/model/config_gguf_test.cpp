// Reading the metadata of GGUF files: what each key becomes, and one clear error for each way it can be wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "formats/file_builders.h"
#include "formats/temp_dir.h"
#include "kernels/ops.h"
#include "model/config.h"
#include "model/weights.h"

namespace carat::model {
namespace {

using tests::GgufBuilder;
using tests::raw;

// Metadata by key, so that a case can replace one entry.
struct Entries {
  std::vector<std::pair<std::string, std::function<void(GgufBuilder&, const std::string&)>>> list;

  void set(const std::string& key, std::function<void(GgufBuilder&, const std::string&)> write) {
    for (auto& [known, old] : list) {
      if (known == key) return static_cast<void>(old = std::move(write));
    }
    list.emplace_back(key, std::move(write));
  }
  void text(const std::string& key, std::string value) {
    set(key, [value](GgufBuilder& f, const std::string& k) { f.string(k, value); });
  }
  void u32(const std::string& key, std::uint32_t value) {
    set(key, [value](GgufBuilder& f, const std::string& k) { f.u32(k, value); });
  }
  void i32(const std::string& key, std::int32_t value) {
    set(key, [value](GgufBuilder& f, const std::string& k) { f.i32(k, value); });
  }
  void f32(const std::string& key, float value) {
    set(key, [value](GgufBuilder& f, const std::string& k) { f.f32(k, value); });
  }
  void bools(const std::string& key, std::string bytes) {
    set(key, [bytes](GgufBuilder& f, const std::string& k) { f.array(k, 7, bytes.size(), bytes); });
  }
  void i32s(const std::string& key, std::vector<std::int32_t> values) {
    set(key, [values](GgufBuilder& f, const std::string& k) {
      std::string bytes;
      for (const std::int32_t value : values) bytes += raw(value);
      f.array(k, 5, values.size(), bytes);
    });
  }
  void erase(const std::string& key) {
    std::erase_if(list, [&](const auto& entry) { return entry.first == key; });
  }
};

Entries gemma4() {
  Entries e;
  e.text("general.architecture", "gemma4");
  e.u32("gemma4.block_count", 3);
  e.u32("gemma4.embedding_length", 16);
  e.u32("gemma4.context_length", 4096);
  e.u32("gemma4.attention.head_count", 4);
  e.i32s("gemma4.attention.head_count_kv", {2, 2, 1});
  e.i32s("gemma4.feed_forward_length", {24, 24, 48});
  e.u32("gemma4.attention.key_length", 16);
  e.u32("gemma4.attention.key_length_swa", 8);
  e.u32("gemma4.attention.sliding_window", 8);
  e.bools("gemma4.attention.sliding_window_pattern", std::string("\1\1\0", 3));
  e.f32("gemma4.attention.layer_norm_rms_epsilon", 1e-6F);
  e.f32("gemma4.final_logit_softcapping", 30);
  return e;
}
Entries gemma3() {
  Entries e;
  e.text("general.architecture", "gemma3");
  e.u32("gemma3.block_count", 7);
  e.u32("gemma3.embedding_length", 16);
  e.u32("gemma3.context_length", 4096);
  e.u32("gemma3.attention.head_count", 4);
  e.u32("gemma3.attention.head_count_kv", 1);
  e.u32("gemma3.feed_forward_length", 24);
  e.u32("gemma3.attention.key_length", 256);
  e.u32("gemma3.attention.sliding_window", 512);
  return e;
}

class GgufConfig : public testing::Test {
 protected:
  Result<formats::Checkpoint> open(const Entries& entries, bool with_table = true) {
    GgufBuilder file;
    for (const auto& [key, write] : entries.list) write(file, key);
    if (with_table) file.tensor("token_embd.weight", {16, 4}, 0, std::string(256, '\0'));
    return formats::open_checkpoint(dir_.write("m.gguf", file.build()));
  }
  Result<Config> read(const Entries& entries, bool with_table = true) {
    auto checkpoint = open(entries, with_table);
    if (!checkpoint) return forward(checkpoint);
    return read_config(*checkpoint);
  }
  tests::TempDir dir_;
};

TEST_F(GgufConfig, KeysFillOneRecordPerLayer) {
  Entries e = gemma4();
  e.u32("gemma4.attention.shared_kv_layers", 0);
  const auto config = read(e);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->family, "gemma4");
  EXPECT_EQ(config->vocab_size, 4);
  EXPECT_EQ(config->max_position_embeddings, 4096);
  EXPECT_EQ(config->final_logit_softcapping, 30);
  ASSERT_EQ(config->layers.size(), 3U);
  EXPECT_EQ(config->layers[0].layer_type, LayerType::sliding_attention);
  EXPECT_EQ(config->layers[0].head_dim, 8);
  EXPECT_EQ(config->layers[0].sliding_window, 8);
  EXPECT_EQ(config->layers[0].rope, (RopeSpec{1e4, 1, 8, 4}));
  EXPECT_EQ(config->layers[2].layer_type, LayerType::full_attention);
  EXPECT_EQ(config->layers[2].head_dim, 16);
  EXPECT_EQ(config->layers[2].num_key_value_heads, 1);
  EXPECT_EQ(config->layers[2].intermediate_size, 48);
  EXPECT_EQ(config->layers[2].rope, (RopeSpec{1e6, 1, 16, 2}));
}

TEST_F(GgufConfig, TheSmallestGemma3FilesSayNeitherPatternNorLocalBase) {
  const auto config = read(gemma3());
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->family, "gemma3");
  EXPECT_FALSE(config->value_norm);
  EXPECT_FALSE(config->norm_weight_plus_one);  // the converter added it
  EXPECT_EQ(config->final_logit_softcapping, 0);
  EXPECT_FLOAT_EQ(config->attention_scale, 1 / 16.0F);
  for (std::size_t i = 0; i < 7; ++i) {
    const bool full = i == 5;
    EXPECT_EQ(config->layers[i].layer_type, full ? LayerType::full_attention : LayerType::sliding_attention) << i;
    EXPECT_EQ(config->layers[i].rope, (RopeSpec{full ? 1e6 : 1e4, 1, 256, 128})) << i;
  }
  Entries larger = gemma3();
  larger.text("gemma3.rope.scaling.type", "linear");
  larger.f32("gemma3.rope.scaling.factor", 8);
  const auto scaled = read(larger);
  ASSERT_TRUE(scaled) << scaled.error().message;
  EXPECT_EQ(scaled->layers[5].rope.factor, 8);
  EXPECT_EQ(scaled->layers[4].rope.factor, 1);
}

TEST_F(GgufConfig, EveryWrongKeyIsNamed) {
  struct Case {
    const char* names;  ///< what the message must hold
    std::function<void(Entries&)> spoil;
    ErrorCode code = ErrorCode::bad_file;
  };
  const Case cases[] = {
      {"general.architecture is \"llama\"; expected gemma4 or gemma3",
       [](Entries& e) { e.text("general.architecture", "llama"); }, ErrorCode::unsupported},
      {"general.architecture is \"gemma2\"", [](Entries& e) { e.text("general.architecture", "gemma2"); },
       ErrorCode::unsupported},
      {"general.architecture is \"\"", [](Entries& e) { e.erase("general.architecture"); }, ErrorCode::unsupported},
      {"general.architecture", [](Entries& e) { e.u32("general.architecture", 4); }},
      {"gemma4.block_count is missing", [](Entries& e) { e.erase("gemma4.block_count"); }},
      {"gemma4.block_count is 0; expected 1 to 1024", [](Entries& e) { e.u32("gemma4.block_count", 0); }},
      {"gemma4.block_count is 1025", [](Entries& e) { e.u32("gemma4.block_count", 1025); }},
      {"gemma4.block_count is 4294967295", [](Entries& e) { e.u32("gemma4.block_count", ~0U); }},
      {"gemma4.block_count is -1", [](Entries& e) { e.i32("gemma4.block_count", -1); }},
      {"gemma4.block_count", [](Entries& e) { e.f32("gemma4.block_count", 3); }},
      {"gemma4.block_count", [](Entries& e) { e.text("gemma4.block_count", "3"); }},
      {"gemma4.block_count", [](Entries& e) { e.i32s("gemma4.block_count", {3}); }},
      {"gemma4.embedding_length is missing", [](Entries& e) { e.erase("gemma4.embedding_length"); }},
      {"token_embd.weight has shape [4, 16]; expected [vocab_size, 32]",
       [](Entries& e) { e.u32("gemma4.embedding_length", 32); }},
      {"gemma4.embedding_length is -16", [](Entries& e) { e.i32("gemma4.embedding_length", -16); }},
      {"gemma4.context_length is 0", [](Entries& e) { e.u32("gemma4.context_length", 0); }},
      {"gemma4.context_length is 4294967295", [](Entries& e) { e.u32("gemma4.context_length", ~0U); }},
      {"head_count is 0", [](Entries& e) { e.u32("gemma4.attention.head_count", 0); }},
      {"head_count_kv has 2 entries; expected block_count = 3",
       [](Entries& e) { e.i32s("gemma4.attention.head_count_kv", {2, 2}); }},
      {"head_count_kv is -1", [](Entries& e) { e.i32s("gemma4.attention.head_count_kv", {2, -1, 2}); }},
      {"head_count_kv", [](Entries& e) { e.bools("gemma4.attention.head_count_kv", std::string("\1\0\1", 3)); }},
      {"feed_forward_length is missing", [](Entries& e) { e.erase("gemma4.feed_forward_length"); }},
      {"key_length is 0", [](Entries& e) { e.u32("gemma4.attention.key_length", 0); }},
      {"sliding_window is missing", [](Entries& e) { e.erase("gemma4.attention.sliding_window"); }},
      {"sliding_window is -8", [](Entries& e) { e.i32("gemma4.attention.sliding_window", -8); }},
      {"sliding_window_pattern has 2 entries",
       [](Entries& e) { e.bools("gemma4.attention.sliding_window_pattern", std::string("\1\0", 2)); }},
      {"sliding_window_pattern is missing", [](Entries& e) { e.erase("gemma4.attention.sliding_window_pattern"); }},
      {"sliding_window_pattern is 0", [](Entries& e) { e.u32("gemma4.attention.sliding_window_pattern", 0); }},
      {"shared_kv_layers is 4", [](Entries& e) { e.u32("gemma4.attention.shared_kv_layers", 4); }},
      {"shared", [](Entries& e) { e.u32("gemma4.attention.shared_kv_layers", 3); }},
      {"expert_used_count is missing", [](Entries& e) { e.u32("gemma4.expert_count", 4); }},
      {"expert_count is -1", [](Entries& e) { e.i32("gemma4.expert_count", -1); }},
      {"final_logit_softcapping", [](Entries& e) { e.text("gemma4.final_logit_softcapping", "thirty"); }},
      {"layer_norm_rms_epsilon", [](Entries& e) { e.f32("gemma4.attention.layer_norm_rms_epsilon", INFINITY); }},
      {"rope.freq_base", [](Entries& e) { e.f32("gemma4.rope.freq_base", NAN); }},
  };
  for (const Case& c : cases) {
    Entries entries = gemma4();
    c.spoil(entries);
    const auto config = read(entries);
    ASSERT_FALSE(config) << c.names;
    EXPECT_EQ(config.error().code, c.code) << config.error().message;
    EXPECT_NE(config.error().message.find(c.names), std::string::npos)
        << config.error().message << "\nexpected: " << c.names;
    EXPECT_NE(config.error().message.find("m.gguf"), std::string::npos) << config.error().message;
  }
}

TEST_F(GgufConfig, NumbersWithoutSenseAreRefused) {
  struct Case {
    const char* names;
    std::function<void(Entries&)> spoil;
  };
  // What config.json refuses, the keys of a GGUF file must not get away with.
  const Case cases[] = {
      {"rms_norm_eps is 0", [](Entries& e) { e.f32("gemma4.attention.layer_norm_rms_epsilon", 0); }},
      {"rms_norm_eps is -1", [](Entries& e) { e.f32("gemma4.attention.layer_norm_rms_epsilon", -1); }},
      {"final_logit_softcapping is -30", [](Entries& e) { e.f32("gemma4.final_logit_softcapping", -30); }},
      {"rope theta is 0", [](Entries& e) { e.f32("gemma4.rope.freq_base", 0); }},
      {"rope theta is -10000", [](Entries& e) { e.f32("gemma4.rope.freq_base_swa", -1e4F); }},
      {"layer 2: head_dim is 15", [](Entries& e) { e.u32("gemma4.attention.key_length", 15); }},
      {"layer 0: head_dim is 7", [](Entries& e) { e.u32("gemma4.attention.key_length_swa", 7); }},
      {"5 attention heads over 2 key-value heads", [](Entries& e) { e.u32("gemma4.attention.head_count", 5); }},
      {"top_k_experts is 5 of 4 experts",
       [](Entries& e) {
         e.u32("gemma4.expert_count", 4);
         e.u32("gemma4.expert_used_count", 5);
         e.u32("gemma4.expert_feed_forward_length", 8);
       }},
  };
  for (const Case& c : cases) {
    Entries entries = gemma4();
    c.spoil(entries);
    const auto config = read(entries);
    ASSERT_FALSE(config) << c.names;
    EXPECT_NE(config.error().message.find(c.names), std::string::npos) << config.error().message;
  }
  Entries scaled = gemma3();
  scaled.text("gemma3.rope.scaling.type", "yarn");
  EXPECT_EQ(read(scaled).error().code, ErrorCode::unsupported);
  scaled.text("gemma3.rope.scaling.type", "linear");
  scaled.f32("gemma3.rope.scaling.factor", 0);
  const auto divided = read(scaled);
  ASSERT_FALSE(divided);
  EXPECT_NE(divided.error().message.find("factor"), std::string::npos) << divided.error().message;
}

TEST_F(GgufConfig, AVocabularyAloneIsNoModel) {
  const auto config = read(gemma4(), false);
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().message.find("no tensor token_embd.weight"), std::string::npos) << config.error().message;
}

// llama.cpp once wrote past arrays of 512 layers (its pull request 25821).
TEST_F(GgufConfig, ManyLayersAreCountedNotTrusted) {
  for (const std::uint32_t count : {512U, 513U, 1024U}) {
    Entries e = gemma4();
    e.u32("gemma4.block_count", count);
    e.u32("gemma4.attention.head_count_kv", 2);
    e.u32("gemma4.feed_forward_length", 24);
    e.u32("gemma4.attention.sliding_window_pattern", 6);
    const auto checkpoint = open(e);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    const auto config = read_config(*checkpoint);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->layers.size(), count);
    const auto weights = load_weights(*checkpoint, *config, *kernels::select_kernels("portable")->table);
    ASSERT_FALSE(weights);
    EXPECT_NE(weights.error().message.find("is missing"), std::string::npos) << weights.error().message;
  }
}

}  // namespace
}  // namespace carat::model
