// Loading weights: every tensor the decoder needs is missed by name, and one of another shape or type is refused by
// name.
#include "model/weights.h"

#include <gtest/gtest.h>

#include "kernels/ops.h"
#include "model/edited_checkpoint.h"

namespace carat::model {
namespace {

using formats::Json;

Result<Weights> load(const std::filesystem::path& path) {
  auto checkpoint = formats::open_checkpoint(path);
  if (!checkpoint) return forward(checkpoint);
  auto config = read_config(*checkpoint);
  if (!config) return forward(config);
  auto dispatch = kernels::select_kernels("portable");
  if (!dispatch) return forward(dispatch);
  // The weights borrow the mapped file: only whether they load is of interest here.
  return load_weights(*checkpoint, *config, *dispatch->table);
}

std::string shape_text(const Json& shape) {
  std::string out;
  for (const Json& dim : shape) out += (out.empty() ? "" : ", ") + dim.dump();
  return "[" + out + "]";
}

// Names of tensors that a text model does not read: towers, projectors, and keys and values of layers that share.
bool is_read(const std::string& name, std::int64_t first_shared_layer) {
  if (name == "__metadata__" || name.find("language_model.") == std::string::npos) return false;
  const std::size_t at = name.find("layers.");
  if (at == std::string::npos) return true;
  const bool shared = std::stoll(name.substr(at + 7)) >= first_shared_layer;
  const bool key_or_value = name.find(".k_proj.") != std::string::npos || name.find(".v_proj.") != std::string::npos ||
                            name.find(".k_norm.") != std::string::npos;
  return !(shared && key_or_value);
}

class WeightsTest : public testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path path() const { return std::filesystem::path(CARAT_TEST_DATA "/golden") / GetParam(); }
  std::int64_t first_shared_layer() const {
    const auto checkpoint = formats::open_checkpoint(path());
    const auto config = read_config(*checkpoint);
    std::int64_t first = 0;
    for (const LayerSpec& layer : config->layers) first += layer.kv_source == first;
    return first;
  }
  static std::vector<std::string> names(const Json& header) {
    std::vector<std::string> out;
    for (const auto& [name, tensor] : header.items()) out.push_back(name);
    return out;
  }
};

TEST_P(WeightsTest, EveryTensorThatIsReadIsMissedByName) {
  test::EditedCheckpoint edited(path());
  const Json whole = edited.header;
  const std::int64_t shared = first_shared_layer();
  int missed = 0, passed = 0;
  for (const std::string& name : names(whole)) {
    if (name == "__metadata__") continue;
    SCOPED_TRACE(name);
    edited.header = whole;
    edited.rename(name, "something.else");
    edited.save();
    const auto weights = load(edited.path());
    if (!is_read(name, shared)) {
      EXPECT_TRUE(weights) << weights.error().message;
      ++passed;
      continue;
    }
    ++missed;
    ASSERT_FALSE(weights);
    EXPECT_EQ(weights.error().code, ErrorCode::bad_file);
    // The table of embeddings also tells where the decoder's names begin.
    const std::string expected =
        name.ends_with("embed_tokens.weight") ? "no tensor " + name : "tensor " + name + " is missing";
    EXPECT_NE(weights.error().message.find(expected), std::string::npos) << weights.error().message;
  }
  EXPECT_GE(missed, 30);
  EXPECT_GE(passed, GetParam() == std::string("e2b_like") ? 3 : 0);
}

TEST_P(WeightsTest, AnotherShapeOrTypeIsRefusedByName) {
  test::EditedCheckpoint edited(path());
  const Json whole = edited.header;
  const std::int64_t shared = first_shared_layer();
  for (const std::string& name : names(whole)) {
    if (!is_read(name, shared)) continue;
    SCOPED_TRACE(name);
    // One row becomes a dimension of its own: the same bytes, another shape.
    edited.header = whole;
    edited.header[name]["shape"].push_back(1);
    edited.save();
    auto weights = load(edited.path());
    ASSERT_FALSE(weights);
    EXPECT_EQ(weights.error().code, ErrorCode::bad_file);
    EXPECT_NE(weights.error().message.find("tensor " + name + " has shape " + shape_text(edited.header[name]["shape"])),
              std::string::npos)
        << weights.error().message;
    EXPECT_NE(weights.error().message.find("expected "), std::string::npos) << weights.error().message;

    edited.header = whole;
    edited.header[name]["dtype"] = "I32";
    edited.save();
    weights = load(edited.path());
    ASSERT_FALSE(weights);
    EXPECT_EQ(weights.error().code, ErrorCode::unsupported);
    EXPECT_NE(weights.error().message.find("tensor " + name + " has type i32"), std::string::npos)
        << weights.error().message;
  }
}

TEST_P(WeightsTest, TransposedMatricesAreRefused) {
  test::EditedCheckpoint edited(path());
  const Json whole = edited.header;
  const std::int64_t shared = first_shared_layer();
  int refused = 0;
  for (const std::string& name : names(whole)) {
    const Json& shape = whole[name].is_object() && whole[name].contains("shape") ? whole[name]["shape"] : Json::array();
    if (!is_read(name, shared) || shape.size() != 2 || shape[0] == shape[1]) continue;
    edited.header = whole;
    edited.header[name]["shape"] = Json::array({shape[1], shape[0]});
    edited.save();
    const auto weights = load(edited.path());
    ASSERT_FALSE(weights) << name;
    EXPECT_NE(weights.error().message.find(name.substr(name.find("language_model.") + 15)), std::string::npos)
        << weights.error().message;
    ++refused;
  }
  EXPECT_GE(refused, 10);
}

INSTANTIATE_TEST_SUITE_P(Variants, WeightsTest, testing::Values("e2b_like", "moe_26b_like"),
                         [](const auto& test) { return std::string(test.param); });

TEST(WeightsOfGguf, AMissingTensorIsNamed) {
  const std::filesystem::path source = CARAT_TEST_DATA "/golden/e2b_like/model-f32.gguf";
  std::ifstream in(source, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const tests::TempDir dir;
  for (const std::string name :
       {"blk.0.attn_q.weight", "blk.1.attn_k.weight", "blk.5.ffn_down.weight", "output_norm.weight",
        "token_embd.weight", "blk.0.inp_gate.weight", "per_layer_model_proj.weight"}) {
    SCOPED_TRACE(name);
    std::string damaged = bytes;
    const std::size_t at = damaged.find(name);
    ASSERT_NE(at, std::string::npos);
    damaged[at] = 'X';
    const auto weights = load(dir.write("m.gguf", damaged));
    ASSERT_FALSE(weights);
    EXPECT_EQ(weights.error().code, ErrorCode::bad_file);
    EXPECT_NE(weights.error().message.find(name), std::string::npos) << weights.error().message;
  }
}

}  // namespace
}  // namespace carat::model
