// Reading config.json: what each field becomes, and one clear error for each way it can be wrong.
#include "model/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "formats/json.h"

namespace carat::model {
namespace {

using formats::Json;

// A directory with this config.json and one empty tensor by which the decoder's prefix is found.
class ConfigTest : public testing::Test {
 protected:
  ConfigTest() : path_(std::filesystem::temp_directory_path() / ("carat-config-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
    const std::string header =
        R"({"model.language_model.embed_tokens.weight":{"dtype":"F32","shape":[4,2],"data_offsets":[0,32]}})";
    std::ofstream out(path_ / "model.safetensors", std::ios::binary);
    const std::uint64_t size = header.size();
    out.write(reinterpret_cast<const char*>(&size), 8);
    out << header << std::string(32, '\0');
  }
  ~ConfigTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  Result<Config> read(const Json& json) {
    std::ofstream(path_ / "config.json") << json.dump();
    auto checkpoint = formats::open_checkpoint(path_);
    if (!checkpoint) return std::unexpected(checkpoint.error());
    return read_config(*checkpoint);
  }

  static Json gemma4() {
    return Json::parse(R"({"model_type":"gemma4","text_config":{"model_type":"gemma4_text","vocab_size":300,
      "hidden_size":64,"intermediate_size":96,"num_hidden_layers":6,"num_attention_heads":4,"num_key_value_heads":2,
      "head_dim":16,"global_head_dim":32,"sliding_window":8,"max_position_embeddings":256,
      "num_kv_shared_layers":3,"use_double_wide_mlp":true,"hidden_size_per_layer_input":16,
      "vocab_size_per_layer_input":300,"final_logit_softcapping":30.0,
      "layer_types":["sliding_attention","sliding_attention","full_attention","sliding_attention","sliding_attention",
      "full_attention"]}})");
  }
  static Json gemma3() {
    return Json::parse(R"({"model_type":"gemma3_text","vocab_size":300,"hidden_size":64,"intermediate_size":96,
      "num_hidden_layers":7,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":16,"sliding_window":8,
      "max_position_embeddings":256,"query_pre_attn_scalar":20,"rope_theta":1000000.0,"rope_local_base_freq":5000.0,
      "rope_scaling":{"rope_type":"linear","factor":8.0}})");
  }

  std::filesystem::path path_;
};

TEST_F(ConfigTest, EdgeModelsShareKeysAndWidenTheirTail) {
  const auto config = read(gemma4());
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->family, "gemma4");
  EXPECT_EQ(config->tensor_prefix, "model.language_model.");
  const std::vector<std::int64_t> sources = {0, 1, 2, 1, 1, 2}, widths = {96, 96, 96, 192, 192, 192};
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(config->layers[i].kv_source, sources[i]) << i;
    EXPECT_EQ(config->layers[i].intermediate_size, widths[i]) << i;
    const bool full = i % 3 == 2;
    EXPECT_EQ(config->layers[i].head_dim, full ? 32 : 16) << i;
    EXPECT_EQ(config->layers[i].sliding_window, full ? 0 : 8) << i;
    // The proportional kind turns a quarter of the pairs; its theta differs.
    EXPECT_EQ(config->layers[i].rope.rotated_pairs, full ? 4 : 8) << i;
    EXPECT_EQ(config->layers[i].rope.theta, full ? 1e6 : 1e4) << i;
  }
  EXPECT_EQ(config->last_kv_owner(), 2);
  EXPECT_TRUE(config->value_norm);
  EXPECT_FALSE(config->norm_weight_plus_one);
  EXPECT_EQ(config->attention_scale, 1);
}

TEST_F(ConfigTest, GlobalKeyValueHeadsCountOnlyWhereKeysAreValues) {
  Json json = gemma4();
  json["text_config"]["num_global_key_value_heads"] = 1;
  auto config = read(json);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers[2].num_key_value_heads, 2);
  json["text_config"]["attention_k_eq_v"] = true;
  config = read(json);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers[2].num_key_value_heads, 1);
  EXPECT_TRUE(config->layers[2].attention_k_eq_v);
  EXPECT_FALSE(config->layers[1].attention_k_eq_v);
  json["text_config"]["per_layer_config"] =
      Json::parse(R"({"2":{"head_dim":8,"num_key_value_heads":4},"5":{"head_dim":8,"num_key_value_heads":4}})");
  config = read(json);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers[2].num_key_value_heads, 4);
  EXPECT_EQ(config->layers[2].head_dim, 8);
}

TEST_F(ConfigTest, TheLastLayerIsAlwaysFull) {
  Json json = gemma4();
  json["text_config"]["layer_types"][5] = "sliding_attention";
  const auto config = read(json);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers[5].layer_type, LayerType::full_attention);
}

TEST_F(ConfigTest, Gemma3IsAFurtherSetting) {
  auto config = read(gemma3());
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->family, "gemma3");
  EXPECT_TRUE(config->norm_weight_plus_one);
  EXPECT_FALSE(config->value_norm);
  EXPECT_FALSE(config->layer_scalars);
  EXPECT_FLOAT_EQ(config->attention_scale, 1 / std::sqrt(20.0F));
  EXPECT_EQ(config->layers[5].layer_type, LayerType::full_attention);
  EXPECT_EQ(config->layers[6].layer_type, LayerType::sliding_attention);
  EXPECT_EQ(config->layers[5].rope, (RopeSpec{1e6, 8, 16, 8}));
  EXPECT_EQ(config->layers[6].rope, (RopeSpec{5000, 1, 16, 8}));
  Json nested = Json::parse(R"({"model_type":"gemma3"})");
  nested["text_config"] = gemma3();
  nested["text_config"].erase("model_type");
  config = read(nested);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->family, "gemma3");
}

TEST_F(ConfigTest, EveryWrongFieldIsNamed) {
  struct Case {
    const char* names;  ///< what the message must hold
    std::function<void(Json&)> spoil;
    ErrorCode code = ErrorCode::bad_file;
  };
  const Case cases[] = {
      {"hidden_size is missing", [](Json& t) { t.erase("hidden_size"); }},
      {"hidden_size", [](Json& t) { t["hidden_size"] = "64"; }},
      {"hidden_size", [](Json& t) { t["hidden_size"] = 0; }},
      {"hidden_size", [](Json& t) { t["hidden_size"] = -64; }},
      {"hidden_size", [](Json& t) { t["hidden_size"] = std::uint64_t{1} << 63; }},
      {"hidden_size", [](Json& t) { t["hidden_size"] = 64.5; }},
      {"num_hidden_layers", [](Json& t) { t["num_hidden_layers"] = 100000; }},
      {"layer_types", [](Json& t) { t["layer_types"].erase(0); }},
      {"layer_types", [](Json& t) { t["layer_types"][1] = "linear_attention"; }, ErrorCode::unsupported},
      {"layer_types", [](Json& t) { t["layer_types"][1] = 3; }, ErrorCode::unsupported},
      {"num_kv_shared_layers", [](Json& t) { t["num_kv_shared_layers"] = 7; }},
      {"num_kv_shared_layers", [](Json& t) { t["num_kv_shared_layers"] = 6; }},
      {"none stands before", [](Json& t) { t["num_kv_shared_layers"] = 4; }},
      {"head_dim", [](Json& t) { t["head_dim"] = 15; }},
      {"key-value heads", [](Json& t) { t["num_attention_heads"] = 5; }},
      {"heads differ",
       [](Json& t) { t["per_layer_config"] = Json::parse(R"({"2":{"head_dim":32},"5":{"head_dim":16}})"); }},
      {"per_layer_config.2", [](Json& t) { t["per_layer_config"] = Json::parse(R"({"2":{"color":1}})"); },
       ErrorCode::unsupported},
      {"per_layer_config", [](Json& t) { t["per_layer_config"] = 5; }},
      {"top_k_experts",
       [](Json& t) {
         t["enable_moe_block"] = true, t["num_experts"] = 4, t["top_k_experts"] = 5, t["moe_intermediate_size"] = 8;
       }},
      {"num_experts is missing", [](Json& t) { t["enable_moe_block"] = true; }},
      {"yarn",
       [](Json& t) {
         t["rope_parameters"]["full_attention"] = Json::parse(R"({"rope_type":"yarn","rope_theta":1e6})");
       },
       ErrorCode::unsupported},
      {"partial_rotary_factor",
       [](Json& t) {
         t["rope_parameters"]["full_attention"] =
             Json::parse(R"({"rope_type":"proportional","partial_rotary_factor":2})");
       }},
      {"rope_theta",
       [](Json& t) { t["rope_parameters"]["sliding_attention"] = Json::parse(R"({"rope_theta":"big"})"); }},
      {"theta", [](Json& t) { t["rope_parameters"]["sliding_attention"] = Json::parse(R"({"rope_theta":-1})"); }},
      {"gelu_pytorch_tanh", [](Json& t) { t["hidden_activation"] = "relu"; }, ErrorCode::unsupported},
      {"attention_bias", [](Json& t) { t["attention_bias"] = true; }, ErrorCode::unsupported},
      {"use_bidirectional_attention", [](Json& t) { t["use_bidirectional_attention"] = "all"; },
       ErrorCode::unsupported},
      {"rms_norm_eps", [](Json& t) { t["rms_norm_eps"] = 0; }},
      {"final_logit_softcapping", [](Json& t) { t["final_logit_softcapping"] = -30; }},
      {"max_position_embeddings", [](Json& t) { t["max_position_embeddings"] = 0; }},
      {"model_type", [](Json& t) { t["model_type"] = "llama"; }, ErrorCode::unsupported},
  };
  for (const Case& c : cases) {
    Json json = gemma4();
    c.spoil(json["text_config"]);
    const auto config = read(json);
    ASSERT_FALSE(config) << c.names;
    EXPECT_EQ(config.error().code, c.code) << config.error().message;
    EXPECT_NE(config.error().message.find(c.names), std::string::npos) << config.error().message;
    EXPECT_NE(config.error().message.find(path_.string()), std::string::npos) << config.error().message;
  }
}

// Whatever stands in a field, reading gives a configuration or an error, never an exception.
TEST_F(ConfigTest, AnyValueInAnyFieldIsReadOrRefused) {
  const Json values =
      Json::parse(R"([null,true,"","x",-1,0,1,9223372036854775807,18446744073709551615,1.5,1e300,[],[null],{},{"a":1},
      [[]],{"full_attention":3,"sliding_attention":{"rope_theta":1e4}},{"full_attention":{"rope_type":3}},{"0":{}},{"5":[]}])");
  Json four = gemma4()["text_config"], three = gemma3();
  for (const char* key : {"rope_parameters", "per_layer_config", "rope_scaling", "enable_moe_block", "num_experts",
                          "top_k_experts", "moe_intermediate_size", "attention_k_eq_v", "num_global_key_value_heads",
                          "rms_norm_eps", "use_bidirectional_attention", "hidden_activation", "attention_bias",
                          "sliding_window_pattern", "attn_logit_softcapping", "layer_types", "tie_word_embeddings"}) {
    if (!four.contains(key)) four[key] = nullptr;
    if (!three.contains(key)) three[key] = nullptr;
  }
  int accepted = 0, refused = 0;
  for (const Json& base : {four, three}) {
    for (const auto& [key, old] : base.items()) {
      for (const Json& value : values) {
        Json json = base;
        json[key] = value;
        SCOPED_TRACE(key + ": " + value.dump());
        Result<Config> config = fail(ErrorCode::io, "not read");
        ASSERT_NO_THROW(config = read(json));
        ++(config ? accepted : refused);
        if (!config) {
          EXPECT_FALSE(config.error().message.empty());
        }
      }
    }
  }
  EXPECT_GT(accepted, 50);
  EXPECT_GT(refused, 200);
}

TEST_F(ConfigTest, AConfigurationThatIsNoObjectIsRefused) {
  for (const char* text : {"[]", "3", "null"}) {
    const auto config = read(Json::parse(text));
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, ErrorCode::bad_file);
  }
}

}  // namespace
}  // namespace carat::model
