// The decoder against the reference implementation, layer by layer, on tiny random checkpoints of every variant, from
// every file format and with every kernel table this machine runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "formats/checkpoint_state.h"
#include "kernels/abi.h"
#include "model/tiny_model.h"

namespace carat::test {
namespace {

constexpr double kTolerance = 1e-4;
// Where activations are rounded to bf16, which random layers amplify. That it is products of the rounded activations,
// to 2e-6, is for tests/kernels to hold; here the embedding is exact and one layer is off by rounding.
double rounded_tolerance(const std::string& name) {
  if (name == "embedding") return kTolerance;
  return name == "per_layer_inputs" || name == "layer.0" ? 0.01 : 0.2;
}

bool rounds_bf16(const TinyModel& model) {
  return model.transformer().weights().lm_head.dtype() == tensor::DType::bf16 &&
         model.context().table().takes[static_cast<std::size_t>(tensor::DType::bf16)] == kernels::Activations::bf16;
}

class Golden : public testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    auto opened = formats::open_safetensors(GetParam().golden);
    ASSERT_TRUE(opened) << opened.error().message;
    golden_ = std::move(*opened);
    ids_ = token_ids(golden_, "ids");
    ASSERT_GE(ids_.size(), 20U);
  }
  formats::SafetensorsFile golden_;
  std::vector<model::TokenId> ids_;
};

std::vector<std::string> runnable_tables() {
  std::vector<std::string> out;
  for (const std::string& name : kernels::isa_names()) {
    if (name != "auto" && kernels::select_kernels(name)) out.push_back(name);
  }
  return out;
}

TEST_P(Golden, EveryLayerEqualsTheReference) {
  for (const std::string& isa : runnable_tables()) {
    SCOPED_TRACE(isa);
    TinyModel model(GetParam().model, isa);
    ASSERT_TRUE(model.ok());
    const bool rounds = rounds_bf16(model);
    model::KvCache cache = model.cache(static_cast<std::int64_t>(ids_.size()), static_cast<std::int64_t>(ids_.size()));
    std::size_t compared = 0;
    double worst = 0;
    model::ForwardOptions options;
    options.trace = [&](const std::string& name, std::span<const std::int64_t> dims, const float* values) {
      std::int64_t elements = 1;
      for (const std::int64_t dim : dims) elements *= dim;
      const auto expected = floats(golden_, name);
      const double error = relative_error({values, static_cast<std::size_t>(elements)}, expected);
      EXPECT_LE(error, rounds ? rounded_tolerance(name) : kTolerance) << name;
      worst = std::max(worst, error);
      ++compared;
    };
    model.run(cache, ids_, 0, options);
    // embedding, per-layer inputs where there are any, every layer, norm, logits: nothing of the golden file left out
    // but the ids and the continuation.
    std::size_t named = 0;
    for (const auto& tensor : golden_.tensors())
      named += tensor.name == "embedding" || tensor.name == "per_layer_inputs" || tensor.name == "norm" ||
               tensor.name == "logits" || tensor.name.starts_with("layer.");
    EXPECT_EQ(compared, named);
    EXPECT_GE(compared, 3 + model.config().layers.size());
    EXPECT_EQ(worst > kTolerance, rounds);
  }
}

// A copy with its matrices rounded to q8_0 where their width allows; its metadata lies in the original.
formats::Checkpoint rounded_to_q8_0(const formats::Checkpoint& original) {
  auto state = std::make_unique<formats::Checkpoint::State>();
  state->format = original.format();
  state->path = original.path();
  state->config = original.config();
  state->metadata = original.metadata();
  for (formats::NamedTensor tensor : original.tensors()) {
    const tensor::Shape shape = tensor.view.shape;
    const bool round = shape.rank() >= 2 && shape.row_elements() % 32 == 0;
    std::vector<std::byte> bytes(tensor.view.data, tensor.view.data + tensor.view.size_bytes());
    if (round) {
      bytes.clear();
      std::vector<float> row(static_cast<std::size_t>(shape.row_elements()));
      for (std::int64_t r = 0; r < shape.rows(); ++r) {
        tensor::decode_row(tensor.view, r, row);
        for (std::size_t b = 0; b < row.size(); b += 32) {
          float largest = 0;
          for (std::size_t i = b; i < b + 32; ++i) largest = std::max(largest, std::abs(row[i]));
          const std::uint16_t scale = tensor::f32_to_f16(largest / 127);
          const auto* half = reinterpret_cast<const std::byte*>(&scale);
          bytes.insert(bytes.end(), half, half + 2);
          for (std::size_t i = b; i < b + 32; ++i) {
            const float value = largest == 0 ? 0 : std::nearbyint(row[i] * 127 / largest);
            bytes.push_back(static_cast<std::byte>(static_cast<std::int8_t>(value)));
          }
        }
      }
      tensor.view.dtype = tensor::DType::q8_0;
    }
    state->copies.push_back(std::make_unique<std::byte[]>(bytes.size()));
    std::copy(bytes.begin(), bytes.end(), state->copies.back().get());
    tensor.view.data = state->copies.back().get();
    state->tensors.push_back(std::move(tensor));
  }
  return formats::CheckpointBuilder::build(std::move(state));
}

TEST_P(Golden, PackedWeightsGiveTheSameBitsAsMappedOnes) {
  const auto original = formats::open_checkpoint(GetParam().model);
  ASSERT_TRUE(original);
  for (const std::string& isa : runnable_tables()) {
    SCOPED_TRACE(isa);
    std::vector<float> logits[2];
    for (const bool packed : {false, true}) {
      TinyModel model(rounded_to_q8_0(*original), isa, 2, packed);
      ASSERT_TRUE(model.ok());
      const model::Weights& weights = model.transformer().weights();
      EXPECT_EQ(weights.owned_bytes > 0, packed && model.context().table().packed_rows > 0);
      logits[packed ? 1 : 0] = model.all_logits(ids_, 7);
    }
    EXPECT_EQ(logits[0], logits[1]);
    EXPECT_EQ(logits[0].size(), floats(golden_, "logits").size());
  }
}

TEST_P(Golden, GreedyContinuationEqualsTheReference) {
  if (golden_.find("generated") == nullptr) {
    FAIL() << "the golden file holds no continuation";
  }
  TinyModel model(GetParam().model);
  ASSERT_TRUE(model.ok());
  const auto expected = token_ids(golden_, "generated");
  const auto prompt = golden_.find("generated_prompt") != nullptr ? token_ids(golden_, "generated_prompt") : ids_;
  model::KvCache cache = model.cache(static_cast<std::int64_t>(prompt.size() + expected.size()), 512);
  auto logits = model.run(cache, prompt, static_cast<std::int64_t>(prompt.size()) - 1);
  std::vector<model::TokenId> found;
  while (found.size() < expected.size()) {
    ASSERT_FALSE(logits.empty());
    found.push_back(static_cast<model::TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    if (found.size() < expected.size()) logits = model.run(cache, {&found.back(), 1}, 0);
  }
  EXPECT_EQ(found, expected);
}

TEST_P(Golden, PromptsCutAnywhereGiveTheSameBits) {
  TinyModel model(GetParam().model);
  ASSERT_TRUE(model.ok());
  const auto whole = model.all_logits(ids_, static_cast<std::int64_t>(ids_.size()));
  for (const std::int64_t chunk : {1, 2, 3, 7, 16, 31, 33}) {
    EXPECT_EQ(model.all_logits(ids_, chunk), whole) << "chunks of " << chunk;
  }
}

TEST_P(Golden, RowsNobodyAsksForMayStopEarly) {
  TinyModel model(GetParam().model);
  ASSERT_TRUE(model.ok());
  const auto count = static_cast<std::int64_t>(ids_.size());
  const auto whole = model.all_logits(ids_, count);
  const auto vocab = static_cast<std::size_t>(model.config().vocab_size);
  for (const std::int64_t from : {count - 1, count - 2, count / 2, std::int64_t{0}}) {
    model::KvCache cache = model.cache(count, count);
    const auto rows = model.run(cache, ids_, from);
    EXPECT_EQ(rows, std::vector<float>(whole.begin() + from * static_cast<std::int64_t>(vocab), whole.end())) << from;
  }
  // No logits at all, then one token more.
  model::KvCache cache = model.cache(count, count);
  EXPECT_TRUE(model.run(cache, std::span(ids_).first(ids_.size() - 1), count - 1).empty());
  EXPECT_EQ(model.run(cache, std::span(ids_).last(1), 0),
            std::vector<float>(whole.end() - static_cast<std::ptrdiff_t>(vocab), whole.end()));
}

TEST_P(Golden, ThreadsAndNeighboursDoNotChangeARow) {
  TinyModel one(GetParam().model, "auto", 1), three(GetParam().model, "auto", 3);
  ASSERT_TRUE(one.ok() && three.ok());
  const auto count = static_cast<std::int64_t>(ids_.size());
  const auto alone = one.all_logits(ids_, count);
  EXPECT_EQ(three.all_logits(ids_, count), alone);
  for (const int threads : {2, 17, 64}) {
    TinyModel many(GetParam().model, "auto", threads);
    ASSERT_TRUE(many.ok());
    EXPECT_EQ(many.all_logits(ids_, count), alone) << threads;
    EXPECT_EQ(many.all_logits(ids_, 1), alone) << threads;
  }
  // The same sequence beside another one, at another position in its own text.
  model::KvCache first = three.cache(count, count), second = three.cache(count, count);
  const std::vector<model::TokenId> other(ids_.rbegin(), ids_.rend());
  three.run(second, std::span(other).first(5), 4);
  const model::SequenceChunk chunks[] = {{&second, std::span(other).subspan(5, 9), 3}, {&first, ids_, 0}};
  const auto logits = three.transformer().forward(three.context(), three.workspace(), chunks);
  ASSERT_TRUE(logits) << logits.error().message;
  const auto skip = static_cast<std::size_t>(6 * three.config().vocab_size);
  EXPECT_EQ(std::vector<float>(logits->begin() + static_cast<std::ptrdiff_t>(skip), logits->end()), alone);
}

TEST_P(Golden, LongTextsWrapTheRingsManyTimes) {
  TinyModel model(GetParam().model);
  ASSERT_TRUE(model.ok());
  std::vector<model::TokenId> text;
  const auto length = std::min<std::size_t>(240, static_cast<std::size_t>(model.config().max_position_embeddings));
  while (text.size() < length) text.push_back(ids_[(text.size() * 7 + text.size() / 11) % ids_.size()]);
  for (const tensor::DType type : {tensor::DType::f32, tensor::DType::q8_0}) {
    const auto whole = model.all_logits(text, static_cast<std::int64_t>(text.size()), type);
    EXPECT_EQ(model.all_logits(text, 1, type), whole);
    EXPECT_EQ(model.all_logits(text, 50, type), whole);
  }
}

TEST_P(Golden, RoundedCachesStayClose) {
  // Nothing but the caches rounds.
  TinyModel model(GetParam().model, rounds_bf16(TinyModel(GetParam().model)) ? "portable" : "auto");
  ASSERT_TRUE(model.ok());
  const auto count = static_cast<std::int64_t>(ids_.size());
  const auto exact = model.all_logits(ids_, count);
  // Keys and values round to 11 and 8 bits of mantissa, or to 8 bits of the largest of 32, and random layers amplify
  // that; three more bits must show.
  const double half = relative_error(model.all_logits(ids_, count, tensor::DType::f16), exact);
  const double brain = relative_error(model.all_logits(ids_, count, tensor::DType::bf16), exact);
  EXPECT_GT(half, 0);
  EXPECT_LE(half, 2e-2);
  EXPECT_LT(half, brain);
  const double integers = relative_error(model.all_logits(ids_, count, tensor::DType::q8_0), exact);
  EXPECT_LT(half, integers);
  // Among experts a rounding can turn a router's near-tie over, so the coarser type has no useful bound there.
  if (model.config().layers[0].num_experts == 0) {
    EXPECT_LE(brain, 0.2);
    EXPECT_LE(integers, 0.2);
  }
}

TEST_P(Golden, CachesGoBackAndForth) {
  TinyModel model(GetParam().model);
  ASSERT_TRUE(model.ok());
  std::vector<model::TokenId> text = ids_;
  while (text.size() < 120) text.push_back(ids_[text.size() * 5 % ids_.size()]);
  const auto count = static_cast<std::int64_t>(text.size());
  const auto vocab = static_cast<std::ptrdiff_t>(model.config().vocab_size);
  for (const tensor::DType type : {tensor::DType::f32, tensor::DType::q8_0}) {
    const auto whole = model.all_logits(text, count, type);
    const auto expected = [&](std::int64_t position) {
      return std::vector<float>(whole.begin() + position * vocab, whole.begin() + (position + 1) * vocab);
    };
    model::KvCache cache = model.cache(count + 100, 64, type);
    model.run(cache, std::span(text).first(60), 59);
    const std::int64_t snapshot_bytes = cache.snapshot_bytes();
    const auto snapshot = cache.snapshot();
    EXPECT_EQ(snapshot.bytes.size(), static_cast<std::size_t>(snapshot_bytes));
    EXPECT_EQ(model.run(cache, std::span(text).subspan(60, 1), 0), expected(60));
    // A few steps back are always possible: speculation and edited endings need them.
    for (int i = 0; i < 3; ++i) model.run(cache, std::span(text).first(1), 0);
    ASSERT_TRUE(cache.can_truncate(61));
    cache.truncate(61);
    EXPECT_EQ(model.run(cache, std::span(text).subspan(61, 1), 0), expected(61));
    // Far away, then back by snapshot, also to a little before it.
    const std::vector<model::TokenId> noise(90, text[0]);
    model.run(cache, std::span(noise).first(45), 44);
    model.run(cache, std::span(noise).first(45), 44);
    cache.restore(snapshot);
    EXPECT_EQ(cache.length(), 60);
    EXPECT_EQ(model.run(cache, std::span(text).subspan(60, 1), 0), expected(60));
    cache.restore(snapshot);
    ASSERT_TRUE(cache.can_truncate(snapshot.floor));
    cache.truncate(snapshot.floor);
    EXPECT_EQ(model.run(cache, std::span(text).subspan(static_cast<std::size_t>(snapshot.floor), 1), 0),
              expected(snapshot.floor));
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Golden, testing::ValuesIn(golden_cases()), case_name);

}  // namespace
}  // namespace carat::test
