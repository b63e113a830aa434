// Damaged weights that are NaN or infinite: opening succeeds, using them ends with an error that names the first layer.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "carat/session.h"
#include "model/edited_checkpoint.h"

namespace carat {
namespace {

const char* const kModel = CARAT_TEST_DATA "/golden/e2b_like";

// Generates one token greedily; the error's text, or nothing.
std::string generate(const std::filesystem::path& path, const std::string& isa) {
  auto checkpoint = Checkpoint::open(path);
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  auto model = Model::load(*checkpoint, {.threads = 2, .isa = isa});
  EXPECT_TRUE(model) << model.error().message;
  auto session = Session::create(*model);
  EXPECT_TRUE(session) << session.error().message;
  GenerateOptions options;
  options.max_tokens = 2;
  options.raw = true;
  options.sampling.temperature = 0.0F;
  const std::vector<TokenId> prompt = {6, 20, 33, 41};
  const auto out = session->generate(prompt, options);
  if (out) return {};
  EXPECT_EQ(out.error().code, ErrorCode::not_finite) << out.error().message;
  return out.error().message;
}

TEST(NonFiniteWeights, TheErrorNamesTheFirstLayer) {
  struct Case {
    const char* tensor;
    std::size_t element;
    const char* names;
  };
  const Case cases[] = {
      {"embed_tokens.weight", 33 * 48 + 7, "the embedding gives a NaN or infinity at position 2"},
      {"layers.0.input_layernorm.weight", 3, "layer 0 gives"},
      {"layers.0.self_attn.q_proj.weight", 100, "layer 0 gives"},
      {"layers.1.mlp.down_proj.weight", 11, "layer 1 gives"},
      {"layers.2.self_attn.k_proj.weight", 5, "layer 2 gives"},
      {"layers.3.mlp.gate_proj.weight", 40, "layer 3 gives"},
      {"layers.4.per_layer_projection.weight", 2, "layer 4 gives"},
      {"layers.5.layer_scalar", 0, "layer 5 gives"},
      {"norm.weight", 9, "the output head gives"},
  };
  for (const std::string& isa : Model::isa_names()) {
    if (!Model::load(*Checkpoint::open(kModel), {.threads = 1, .isa = isa})) continue;  // not on this machine
    EXPECT_EQ(generate(kModel, isa), "") << isa;
    for (const float value : {NAN, INFINITY, -INFINITY}) {
      for (const Case& c : cases) {
        SCOPED_TRACE(isa + " " + c.tensor + " " + std::to_string(value));
        test::EditedCheckpoint edited(kModel);
        edited.set(std::string("model.language_model.") + c.tensor, c.element, value);
        edited.save();
        const std::string message = generate(edited.path(), isa);
        EXPECT_NE(message.find(c.names), std::string::npos) << message;
        EXPECT_NE(message.find("position"), std::string::npos) << message;
      }
      if (isa != "auto") break;  // one kind of value per further table
    }
  }
}

// A trace shows the values instead.
TEST(NonFiniteWeights, ATraceIsWrittenAllTheSame) {
  test::EditedCheckpoint edited(kModel);
  edited.set("model.language_model.layers.2.mlp.down_proj.weight", 0, NAN);
  edited.save();
  auto model = Model::load(*Checkpoint::open(edited.path()));
  ASSERT_TRUE(model) << model.error().message;
  const tests::TempDir dir;
  const std::vector<TokenId> ids = {6, 20, 33};
  const auto written = model->trace(ids, dir / "trace.safetensors");
  EXPECT_TRUE(written) << written.error().message;
}

}  // namespace
}  // namespace carat
