// Contexts of 131072 and 262144 tokens on a tiny model with a shrunken window: positions are right to the last one,
// sliding layers keep their rings, and a prompt's cut does not matter. Only the last layers attend to everything, and
// only for rows whose logits are wanted, so that the time is linear in the length.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "formats/file_builders.h"
#include "formats/json.h"
#include "formats/temp_dir.h"
#include "kernels/abi.h"
#include "model/rope.h"
#include "model/tiny_model.h"

namespace carat::test {
namespace {

using formats::Json;
using model::TokenId;

constexpr std::int64_t kWindow = 16, kVocab = 48, kHidden = 16;

/// Writes random weights: a sliding and a full layer that own their keys, then, when `shared`, one more of each that
/// reads them. `blind`: full layers add nothing to the stream, which leaves what the windows see.
class LongModel {
 public:
  LongModel(std::int64_t context, bool shared, bool blind) {
    const int layers = shared ? 4 : 2;
    Json config =
        Json::parse(R"({"model_type":"gemma4_text","hidden_size":16,"intermediate_size":16,"num_attention_heads":2,
        "num_key_value_heads":1,"head_dim":8,"global_head_dim":16,"final_logit_softcapping":0.0,"vocab_size":48})");
    config["max_position_embeddings"] = context;
    config["sliding_window"] = kWindow;
    config["num_hidden_layers"] = layers;
    config["num_kv_shared_layers"] = layers - 2;
    for (int i = 0; i < layers; ++i)
      config["layer_types"].push_back(i % 2 == 0 ? "sliding_attention" : "full_attention");
    dir_.write("config.json", config.dump());

    tensor("embed_tokens.weight", {kVocab, kHidden}, 1);
    tensor("norm.weight", {kHidden}, 0.3F, 1);
    for (int i = 0; i < layers; ++i) {
      const std::int64_t dim = i % 2 == 0 ? 8 : 16;
      const std::string l = "layers." + std::to_string(i) + ".";
      for (const char* norm :
           {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"}) {
        tensor(l + norm + ".weight", {kHidden}, 0.3F, 1);
      }
      tensor(l + "self_attn.q_proj.weight", {2 * dim, kHidden}, 0.5F);
      tensor(l + "self_attn.q_norm.weight", {dim}, 0.1F, 1);
      tensor(l + "self_attn.o_proj.weight", {kHidden, 2 * dim}, blind && i % 2 == 1 ? 0 : 0.5F);
      if (i < 2) {
        tensor(l + "self_attn.k_proj.weight", {dim, kHidden}, 0.5F);
        tensor(l + "self_attn.v_proj.weight", {dim, kHidden}, 0.5F);
        tensor(l + "self_attn.k_norm.weight", {dim}, 0.1F, 1);
      }
      for (const char* mlp : {"gate_proj", "up_proj", "down_proj"})
        tensor(l + "mlp." + mlp + ".weight", {16, 16}, 0.5F);
      tensor(l + "layer_scalar", {1}, 0.1F, 1);
    }
    dir_.write("model.safetensors", tests::safetensors(header_.dump(), data_));
    model_ = std::make_unique<TinyModel>(dir_.path());
  }
  TinyModel& operator*() { return *model_; }
  TinyModel* operator->() { return model_.get(); }

 private:
  void tensor(const std::string& name, const std::vector<std::int64_t>& shape, float spread, float mean = 0) {
    std::int64_t elements = 1;
    for (const std::int64_t d : shape) elements *= d;
    const std::size_t begin = data_.size();
    for (std::int64_t i = 0; i < elements; ++i) {
      data_ += tests::raw(mean + spread * (static_cast<float>(random_() % 2001) / 1000.0F - 1));
    }
    header_["model." + name] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", Json::array({begin, data_.size()})}};
  }

  tests::TempDir dir_;
  std::mt19937 random_{17};
  Json header_ = Json::object();
  std::string data_;
  std::unique_ptr<TinyModel> model_;
};

std::vector<TokenId> random_text(std::int64_t length) {
  std::mt19937 random(23);
  std::vector<TokenId> out;
  for (std::int64_t i = 0; i < length; ++i) out.push_back(static_cast<TokenId>(random() % kVocab));
  return out;
}

/// Appends text[begin, end) in chunks; logits of its last token.
std::vector<float> prefill(TinyModel& model, model::KvCache& cache, std::span<const TokenId> text, std::int64_t chunk) {
  std::vector<float> logits;
  while (!text.empty()) {
    const auto n = std::min(static_cast<std::size_t>(chunk), text.size());
    logits = model.run(cache, text.first(n), static_cast<std::int64_t>(n) - (n == text.size() ? 1 : 0));
    text = text.subspan(n);
  }
  return logits;
}

/// Continues greedily for a few tokens.
std::vector<TokenId> greedy(TinyModel& model, model::KvCache& cache, std::vector<float> logits, int count) {
  std::vector<TokenId> out;
  for (int i = 0; i < count && !logits.empty(); ++i) {
    out.push_back(static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    if (i + 1 < count) logits = model.run(cache, {&out.back(), 1}, 0);
  }
  return out;
}

constexpr std::int64_t kTail = 160;  // several windows: what stands before it no window reaches any more
constexpr int kGreedy = 8;

struct Length {
  std::int64_t positions;
  bool shared;  ///< whether later layers read the keys of earlier ones
};

class LongContext : public testing::TestWithParam<Length> {
 protected:
  std::int64_t length() const { return GetParam().positions; }
};

TEST_P(LongContext, WindowsSeeTheirOwnPositions) {
  LongModel model(length(), GetParam().shared, /*blind=*/true);
  ASSERT_TRUE(model->ok());
  const auto text = random_text(length() - kGreedy);
  const auto count = static_cast<std::int64_t>(text.size());
  model::KvCache cache = model->cache(length(), 1024);
  const auto logits = prefill(*model, cache, text, 1024);
  EXPECT_EQ(cache.length(), count);

  // The oracle: a fresh cache told that it holds so many positions already, and the last windows alone.
  model::KvCache fresh = model->cache(length(), 1024);
  fresh.append(count - kTail);
  const auto expected = prefill(*model, fresh, std::span(text).last(kTail), 32);
  EXPECT_EQ(logits, expected);

  // And one that begins at position 0: rotations are relative, up to the rounding of large f32 angles.
  model::KvCache early = model->cache(length(), 1024);
  EXPECT_LE(relative_error(prefill(*model, early, std::span(text).last(kTail), 32), expected), 0.1);

  // Keys of the first layer depend on their token and position alone: position 0 leaves them unturned.
  const kernels::KvView ring = cache.view(0);
  const auto key_at = [](const kernels::KvView& view, std::int64_t position) {
    constexpr std::int64_t kStrip = kernels::kStrip;
    const std::int64_t slot = position % view.slots, padded = kernels::padded_dim(view.head_dim);
    std::vector<float> key;
    for (std::int64_t i = 0; i < view.head_dim; ++i) {
      key.push_back(reinterpret_cast<const float*>(view.keys)[(slot / kStrip * padded + i) * kStrip + slot % kStrip]);
    }
    return key;
  };
  const auto frequencies = model::rope_frequencies(model->config().layers[0].rope);
  ASSERT_EQ(frequencies.size(), 4U);
  for (std::int64_t position = count - kWindow; position < count; ++position) {
    model::KvCache single = model->cache(32, 32);
    model->run(single, std::span(text).subspan(static_cast<std::size_t>(position), 1), 1);
    const auto still = key_at(single.view(0), 0);
    const auto turned = key_at(ring, position);
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const auto angle = static_cast<double>(static_cast<float>(position) * frequencies[i]);
      const double a = still[i], b = still[i + 4];
      EXPECT_NEAR(turned[i], a * std::cos(angle) - b * std::sin(angle), 1e-5) << position << " pair " << i;
      EXPECT_NEAR(turned[i + 4], b * std::cos(angle) + a * std::sin(angle), 1e-5) << position << " pair " << i;
    }
  }

  // Up to the last position.
  const auto continued = greedy(*model, cache, logits, kGreedy + 1);
  EXPECT_EQ(continued, greedy(*model, fresh, expected, kGreedy + 1));
  EXPECT_EQ(cache.length(), length());
}

TEST_P(LongContext, FullLayersSeeEverythingHoweverThePromptIsCut) {
  LongModel model(length(), GetParam().shared, /*blind=*/false);
  ASSERT_TRUE(model->ok());
  auto text = random_text(length());
  const auto run = [&](std::int64_t chunk) {
    model::KvCache cache = model->cache(length(), chunk);
    return prefill(*model, cache, text, chunk);
  };
  const auto whole = run(4096);
  EXPECT_EQ(run(1000), whole);
  if (!GetParam().shared) return;  // time
  text.front() = (text.front() + 1) % kVocab;
  EXPECT_NE(run(4096), whole) << "the first token is out of sight";
}

TEST_P(LongContext, RingsStayAsSmallAsTheirWindow) {
  LongModel model(length(), GetParam().shared, true);
  ASSERT_TRUE(model->ok());
  constexpr std::int64_t kChunk = 512;
  const auto plan = model::plan_kv_cache(model->config(), tensor::DType::f32, length(), kChunk);
  const auto small = model::plan_kv_cache(model->config(), tensor::DType::f32, 4096, kChunk);
  EXPECT_EQ(plan.layers[0].bytes, small.layers[0].bytes);
  EXPECT_EQ(plan.layers[0].bytes, 2 * plan.layers[0].slots * kernels::kStrip * 4);  // head_dim 8 in a strip of its own
  EXPECT_GE(plan.layers[0].slots, kWindow);
  // Where later layers read the ring, it holds a whole chunk beyond the window.
  EXPECT_LE(plan.layers[0].slots, kWindow + (GetParam().shared ? kChunk : kernels::kKvBlock) + kernels::kKvBlock);
  EXPECT_EQ(plan.layers[1].bytes, 2 * length() * 16 * 4);
  EXPECT_EQ(model::kv_bytes(model->config(), plan, tensor::DType::f32, length()),
            plan.layers[0].bytes + plan.layers[1].bytes);
  model::KvCache cache = model->cache(length(), kChunk);
  EXPECT_EQ(cache.plan().layers[0].bytes, plan.layers[0].bytes);
  EXPECT_EQ(cache.view(0).slots, plan.layers[0].slots);
}

// The maxima of the small and the large models.
INSTANTIATE_TEST_SUITE_P(Lengths, LongContext, testing::Values(Length{131072, true}, Length{262144, false}),
                         [](const auto& test) { return std::to_string(test.param.positions); });

}  // namespace
}  // namespace carat::test
