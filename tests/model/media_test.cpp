// Media encoders and the soft tokens they put into a prompt, against the reference implementation, with every kernel
// table this machine runs.
#include <gtest/gtest.h>

#include "kernels/abi.h"
#include "model/media_encoder.h"
#include "model/tiny_model.h"

namespace carat::test {
namespace {

constexpr double kTolerance = 1e-4;

std::vector<GoldenCase> media_cases() {
  std::vector<GoldenCase> out;
  for (GoldenCase& test : golden_cases()) {
    test.golden.replace_filename("media.safetensors");
    if (std::filesystem::is_directory(test.model) && std::filesystem::exists(test.golden)) out.push_back(test);
  }
  return out;
}

std::vector<std::string> runnable_tables() {
  std::vector<std::string> out;
  for (const std::string& name : kernels::isa_names()) {
    if (name != "auto" && kernels::select_kernels(name)) out.push_back(name);
  }
  return out;
}

class Media : public testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    auto opened = formats::open_safetensors(GetParam().golden);
    ASSERT_TRUE(opened) << opened.error().message;
    golden_ = std::move(*opened);
    ids_ = token_ids(golden_, "ids");
    kinds_ = token_ids(golden_, "kinds");
    rows_ = {floats(golden_, "image.0.projected"), floats(golden_, "image.1.projected"),
             floats(golden_, "video.0.frame.0.projected")};
    if (golden_.find("audio.0.projected") != nullptr) rows_.push_back(floats(golden_, "audio.0.projected"));
  }

  // The soft rows of tokens [begin, end), in the order of the prompt: images by their turn, the frame, the sound.
  std::vector<model::SoftRows> soft(std::int64_t begin, std::int64_t end, std::int64_t hidden) const {
    std::vector<model::SoftRows> out;
    const auto count = static_cast<std::int64_t>(kinds_.size());
    std::size_t image = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto kind = kinds_[static_cast<std::size_t>(i)];
      if (kind == 0) continue;
      const std::int64_t first = i;
      while (i < count && kinds_[static_cast<std::size_t>(i)] == kind) ++i;
      const auto& rows = rows_[kind == 3 ? 3 : kind == 2 ? 2 : image++];
      EXPECT_EQ(static_cast<std::int64_t>(rows.size()), (i - first) * hidden);
      const std::int64_t from = std::max(first, begin), to = std::min(i, end);
      if (from < to) out.push_back({from - begin, to - from, rows.data() + (from - first) * hidden, kind != 3});
    }
    return out;
  }

  // Logits of every position, cut into chunks of at most `chunk` tokens; blocks stay whole where rows see one another.
  std::vector<float> logits(TinyModel& model, std::int64_t chunk, const model::ForwardOptions& options = {}) const {
    const auto count = static_cast<std::int64_t>(ids_.size());
    const bool whole = model.config().vision_blocks != model::VisionBlocks::causal;
    auto cache = model::KvCache::create(model.config(), tensor::DType::f32, count, std::min(chunk, count), 20);
    EXPECT_TRUE(cache);
    std::vector<float> out;
    for (std::int64_t begin = 0; begin < count;) {
      std::int64_t end = std::min(begin + chunk, count);
      const auto image = [&](std::int64_t i) {
        return kinds_[static_cast<std::size_t>(i)] == 1 || kinds_[static_cast<std::size_t>(i)] == 2;
      };
      if (whole && end < count && image(end) && image(end - 1)) {
        std::int64_t start = end;
        while (image(start - 1)) --start;
        if (start > begin) {
          end = start;
        } else {
          while (image(end)) ++end;
        }
      }
      const auto rows = soft(begin, end, model.config().hidden_size);
      model::SequenceChunk part{
          &*cache, std::span(ids_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)), 0,
          rows};
      auto result = model.transformer().forward(model.context(), model.workspace(), {&part, 1}, options);
      EXPECT_TRUE(result) << result.error().message;
      if (!result) return {};
      out.insert(out.end(), result->begin(), result->end());
      begin = end;
    }
    return out;
  }

  formats::SafetensorsFile golden_;
  std::vector<model::TokenId> ids_, kinds_;
  std::vector<std::vector<float>> rows_;
};

TEST_P(Media, EncodersEqualTheReference) {
  for (const std::string& isa : runnable_tables()) {
    SCOPED_TRACE(isa);
    TinyModel model(GetParam().model, isa);
    ASSERT_TRUE(model.ok());
    auto encoder = model::MediaEncoder::load(model.checkpoint(), model.config().hidden_size, model.context().table());
    ASSERT_TRUE(encoder) << encoder.error().message;
    ASSERT_TRUE(encoder->config().image_format());
    for (const std::string name : {"image.0", "image.1", "video.0.frame.0"}) {
      const auto patches = floats(golden_, name + ".patches");
      const auto positions = token_ids(golden_, name + ".positions");
      auto made = encoder->encode_image(model.context(), patches, positions);
      ASSERT_TRUE(made) << made.error().message;
      EXPECT_LE(relative_error(made->tower, floats(golden_, name + ".tower")), kTolerance) << name;
      EXPECT_LE(relative_error(made->projected, floats(golden_, name + ".projected")), kTolerance) << name;
    }
    EXPECT_EQ(encoder->config().sound_format().has_value(), golden_.find("audio.0.mel") != nullptr);
    if (!encoder->config().sound_format()) continue;
    auto made = encoder->encode_sound(model.context(), floats(golden_, "audio.0.mel"));
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_LE(relative_error(made->tower, floats(golden_, "audio.0.tower")), kTolerance);
    EXPECT_LE(relative_error(made->projected, floats(golden_, "audio.0.projected")), kTolerance);
  }
}

TEST_P(Media, OneModalityCanBeLoadedAlone) {
  TinyModel model(GetParam().model);
  ASSERT_TRUE(model.ok());
  const auto load = [&](std::optional<model::Modality> only) {
    return model::MediaEncoder::load(model.checkpoint(), model.config().hidden_size, model.context().table(), nullptr,
                                     only);
  };
  auto both = load(std::nullopt), sees = load(model::Modality::vision), hears = load(model::Modality::audio);
  ASSERT_TRUE(both && sees && hears);
  EXPECT_FALSE(sees->config().sound_format());
  EXPECT_FALSE(hears->config().image_format());
  const auto patches = floats(golden_, "image.0.patches");
  const auto positions = token_ids(golden_, "image.0.positions");
  auto expected = both->encode_image(model.context(), patches, positions),
       alone = sees->encode_image(model.context(), patches, positions);
  ASSERT_TRUE(expected && alone);
  EXPECT_EQ(alone->projected, expected->projected);
  EXPECT_EQ(hears->config().sound_format().has_value(), both->config().sound_format().has_value());
  if (!both->config().sound_format()) return;
  expected = both->encode_sound(model.context(), floats(golden_, "audio.0.mel"));
  alone = hears->encode_sound(model.context(), floats(golden_, "audio.0.mel"));
  ASSERT_TRUE(expected && alone);
  EXPECT_EQ(alone->projected, expected->projected);
}

// The same encoders from projector files, in the names of llama.cpp's converter and of ollama's.
TEST(Projectors, GiveTheSameAsTheCheckpoint) {
  const std::pair<const char*, const char*> cases[] = {{"e2b_like", "e2b_like/mmproj-f32.gguf"},
                                                       {"e2b_like", "projector/e2b_like-ollama.gguf"},
                                                       {"moe_26b_like", "projector/moe_26b_like.gguf"},
                                                       {"unified_12b_like", "projector/unified_12b_like.gguf"}};
  const std::filesystem::path golden = CARAT_TEST_DATA "/golden";
  for (const auto& [name, file] : cases) {
    SCOPED_TRACE(file);
    TinyModel model(golden / name);
    ASSERT_TRUE(model.ok());
    const auto projector = formats::open_checkpoint(golden / file);
    ASSERT_TRUE(projector) << projector.error().message;
    auto encoder = model::MediaEncoder::load(*projector, model.config().hidden_size, model.context().table());
    ASSERT_TRUE(encoder) << encoder.error().message;
    const auto expected = formats::open_safetensors(golden / name / "media.safetensors");
    ASSERT_TRUE(expected);
    auto image = encoder->encode_image(model.context(), floats(*expected, "image.1.patches"),
                                       token_ids(*expected, "image.1.positions"));
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_LE(relative_error(image->projected, floats(*expected, "image.1.projected")), kTolerance);
    EXPECT_EQ(encoder->config().sound_format().has_value(), expected->find("audio.0.mel") != nullptr);
    if (!encoder->config().sound_format()) continue;
    auto sound = encoder->encode_sound(model.context(), floats(*expected, "audio.0.mel"));
    ASSERT_TRUE(sound) << sound.error().message;
    EXPECT_LE(relative_error(sound->projected, floats(*expected, "audio.0.projected")), kTolerance);
  }
}

TEST_P(Media, TheDecoderSeesThemAsTheReferenceDoes) {
  for (const std::string& isa : runnable_tables()) {
    SCOPED_TRACE(isa);
    TinyModel model(GetParam().model, isa);
    ASSERT_TRUE(model.ok());
    std::size_t compared = 0;
    model::ForwardOptions options;
    options.trace = [&](const std::string& name, std::span<const std::int64_t> dims, const float* values) {
      if (golden_.find(name) == nullptr) return;
      std::int64_t elements = 1;
      for (const std::int64_t dim : dims) elements *= dim;
      EXPECT_LE(relative_error({values, static_cast<std::size_t>(elements)}, floats(golden_, name)), kTolerance)
          << name;
      ++compared;
    };
    logits(model, 1000, options);
    EXPECT_EQ(compared, model.config().layers.size() + 2);  // embedding, layers, logits
  }
}

TEST_P(Media, PromptsCutAnywhereGiveTheSameBits) {
  TinyModel model(GetParam().model);
  ASSERT_TRUE(model.ok());
  const auto whole = logits(model, 1000);
  ASSERT_FALSE(whole.empty());
  for (const std::int64_t chunk : {1, 2, 5, 9, 16, 23, 40}) EXPECT_EQ(logits(model, chunk), whole) << chunk;
}

// The masks are what makes the numbers above: without blocks they differ exactly from the first image's rows on.
TEST_P(Media, ImagesAreSeenInBothDirectionsWhereTheModelHasItSo) {
  TinyModel model(GetParam().model);
  ASSERT_TRUE(model.ok());
  const auto with = logits(model, 1000);
  for (auto& kind : kinds_) kind = kind == 1 || kind == 2 ? 3 : kind;  // no block, the rows as before
  auto sound = rows_.size() > 3 ? rows_[3] : std::vector<float>();
  // One run after another in the order of the prompt.
  std::vector<std::vector<float>> runs = {rows_[0]};
  if (!sound.empty()) runs.push_back(sound);
  runs.push_back(rows_[1]);
  runs.push_back(rows_[2]);
  const auto count = static_cast<std::int64_t>(ids_.size());
  auto cache = model::KvCache::create(model.config(), tensor::DType::f32, count, count, 20);
  ASSERT_TRUE(cache);
  std::vector<model::SoftRows> soft;
  std::size_t run = 0;
  std::int64_t first_image = -1;
  for (std::int64_t i = 0; i < count; ++i) {
    if (kinds_[static_cast<std::size_t>(i)] == 0) continue;
    const std::int64_t begin = i;
    while (i < count && kinds_[static_cast<std::size_t>(i)] != 0) ++i;
    if (first_image < 0) first_image = begin;
    soft.push_back({begin, i - begin, runs[run++].data(), false});
  }
  const model::SequenceChunk chunk{&*cache, ids_, 0, soft};
  auto result = model.transformer().forward(model.context(), model.workspace(), {&chunk, 1});
  ASSERT_TRUE(result);
  const std::vector<float> without(result->begin(), result->end());
  if (model.config().vision_blocks == model::VisionBlocks::causal) {
    EXPECT_EQ(with, without);
    return;
  }
  const auto vocab = model.config().vocab_size;
  const auto differ = std::mismatch(with.begin(), with.end(), without.begin()).first - with.begin();
  EXPECT_EQ(differ / vocab, first_image);
}

TEST(MediaErrors, AreOneClearSentence) {
  TinyModel model(CARAT_TEST_DATA "/golden/e2b_like");
  ASSERT_TRUE(model.ok());
  auto encoder = model::MediaEncoder::load(model.checkpoint(), model.config().hidden_size, model.context().table());
  ASSERT_TRUE(encoder);
  const std::vector<float> patches(9 * 48);
  std::vector<std::int32_t> positions;
  for (int i = 0; i < 9; ++i) positions.insert(positions.end(), {i % 3, i / 3});
  EXPECT_TRUE(encoder->encode_image(model.context(), patches, positions));
  positions[0] = 96;
  auto outside = encoder->encode_image(model.context(), patches, positions);
  ASSERT_FALSE(outside);
  EXPECT_NE(outside.error().message.find("column 96"), std::string::npos) << outside.error().message;
  positions[0] = 5;
  EXPECT_FALSE(encoder->encode_image(model.context(), patches, positions));
  EXPECT_FALSE(encoder->encode_sound(model.context(), {}));
  EXPECT_FALSE(encoder->encode_sound(model.context(), std::vector<float>(13)));
  const auto stop = [](std::int64_t, std::int64_t) { return false; };
  auto cancelled = encoder->encode_sound(model.context(), std::vector<float>(80), stop);
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, ErrorCode::cancelled);

  TinyModel text(CARAT_TEST_DATA "/golden/e4b_like");
  ASSERT_TRUE(text.ok());
  auto none = model::MediaEncoder::load(text.checkpoint(), text.config().hidden_size, text.context().table());
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_FALSE(none->config().image_format());
  EXPECT_FALSE(none->config().sound_format());
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Media, testing::ValuesIn(media_cases()), case_name);

}  // namespace
}  // namespace carat::test
