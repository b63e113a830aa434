// Loads the tiny random checkpoints of tests/golden and runs them, for tests of the decoder.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "formats/checkpoint.h"
#include "formats/safetensors.h"
#include "kernels/ops.h"
#include "model/transformer.h"

namespace carat::test {

/// Every checkpoint with a golden file: Hugging Face directories and the GGUF files beside them.
struct GoldenCase {
  std::string name;              ///< for messages
  std::filesystem::path model;   ///< directory or .gguf file
  std::filesystem::path golden;  ///< golden.safetensors
};

inline std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> out;
  for (const auto& entry : std::filesystem::directory_iterator(CARAT_TEST_DATA "/golden")) {
    const auto golden = entry.path() / "golden.safetensors";
    if (!entry.is_directory() || !std::filesystem::exists(golden)) continue;
    if (std::filesystem::exists(entry.path() / "config.json")) {
      out.push_back({entry.path().filename().string(), entry.path(), golden});
    }
    for (const auto& file : std::filesystem::directory_iterator(entry.path())) {
      const std::string file_name = file.path().filename().string();
      if (file.path().extension() != ".gguf" || file_name.find("-of-") != std::string::npos ||
          file_name.starts_with("mmproj"))
        continue;
      out.push_back({entry.path().filename().string() + "/" + file.path().filename().string(), file.path(), golden});
    }
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

/// The case's name with letters and digits only, as GoogleTest wants it.
inline std::string case_name(const testing::TestParamInfo<GoldenCase>& test) {
  std::string name = test.param.name;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

/// A loaded decoder with its own threads.
class TinyModel {
 public:
  explicit TinyModel(const std::filesystem::path& path, const std::string& isa = "auto", int threads = 2) {
    auto opened = formats::open_checkpoint(path);
    EXPECT_TRUE(opened) << opened.error().message;
    if (opened) load(std::move(*opened), isa, threads, false);
  }
  /// With quantised matrices packed or used where they lie.
  TinyModel(formats::Checkpoint checkpoint, const std::string& isa, int threads, bool packed) {
    load(std::move(checkpoint), isa, threads, packed);
  }

 private:
  void load(formats::Checkpoint checkpoint, const std::string& isa, int threads, bool packed) {
    checkpoint_ = std::move(checkpoint);
    auto config = model::read_config(checkpoint_);
    EXPECT_TRUE(config) << config.error().message;
    if (!config) return;
    auto dispatch = kernels::select_kernels(isa);
    EXPECT_TRUE(dispatch) << dispatch.error().message;
    if (!dispatch) return;
    pool_ = std::make_unique<base::ThreadPool>(threads);
    auto weights = model::load_weights(checkpoint_, *config, *dispatch->table, packed ? pool_.get() : nullptr);
    EXPECT_TRUE(weights) << weights.error().message;
    if (!weights) return;
    context_ = std::make_unique<kernels::Context>(dispatch->table, *pool_);
    transformer_ = std::make_unique<model::Transformer>(*config, std::move(*weights));
  }

 public:
  bool ok() const { return transformer_ != nullptr; }
  const model::Config& config() const { return transformer_->config(); }
  const formats::Checkpoint& checkpoint() const { return checkpoint_; }
  const model::Transformer& transformer() const { return *transformer_; }
  const kernels::Context& context() const { return *context_; }
  model::Workspace& workspace() { return workspace_; }

  model::KvCache cache(std::int64_t context_length, std::int64_t chunk, tensor::DType type = tensor::DType::f32) const {
    auto made = model::KvCache::create(config(), type, context_length, chunk);
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }

  /// Appends tokens and returns the logits of those from `logits_from` on.
  std::vector<float> run(model::KvCache& cache, std::span<const model::TokenId> tokens, std::int64_t logits_from,
                         const model::ForwardOptions& options = {}) {
    const model::SequenceChunk chunk{&cache, tokens, logits_from};
    auto logits = transformer_->forward(*context_, workspace_, {&chunk, 1}, options);
    EXPECT_TRUE(logits) << logits.error().message;
    return logits ? std::vector<float>(logits->begin(), logits->end()) : std::vector<float>();
  }

  /// Logits of every position, the prompt taken `chunk` tokens at a time.
  std::vector<float> all_logits(std::span<const model::TokenId> tokens, std::int64_t chunk,
                                tensor::DType type = tensor::DType::f32) {
    const auto count = static_cast<std::int64_t>(tokens.size());
    model::KvCache kv = cache(count, std::min(chunk, count), type);
    std::vector<float> out;
    for (std::int64_t i = 0; i < count; i += chunk) {
      const auto part =
          tokens.subspan(static_cast<std::size_t>(i), static_cast<std::size_t>(std::min(chunk, count - i)));
      const auto rows = run(kv, part, 0);
      out.insert(out.end(), rows.begin(), rows.end());
    }
    return out;
  }

 private:
  formats::Checkpoint checkpoint_;
  std::unique_ptr<base::ThreadPool> pool_;
  std::unique_ptr<kernels::Context> context_;
  std::unique_ptr<model::Transformer> transformer_;
  model::Workspace workspace_;
};

/// Values of a golden tensor as floats or ids.
inline std::vector<float> floats(const formats::SafetensorsFile& file, const std::string& name) {
  const auto* tensor = file.find(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (tensor == nullptr) return {};
  std::vector<float> out(static_cast<std::size_t>(tensor->view.shape.elements()));
  const auto width = static_cast<std::size_t>(tensor->view.shape.row_elements());
  for (std::int64_t row = 0; row < tensor->view.shape.rows(); ++row) {
    tensor::decode_row(tensor->view, row, std::span(out).subspan(static_cast<std::size_t>(row) * width, width));
  }
  return out;
}
inline std::vector<model::TokenId> token_ids(const formats::SafetensorsFile& file, const std::string& name) {
  const auto* tensor = file.find(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (tensor == nullptr) return {};
  EXPECT_EQ(tensor->view.dtype, tensor::DType::i32) << name;
  const auto* data = reinterpret_cast<const std::int32_t*>(tensor->view.data);
  return {data, data + tensor->view.shape.elements()};
}

/// max |a - b| / max |b|, infinite where sizes differ or a value is not finite.
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size() || b.empty()) return INFINITY;
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return largest > 0 ? worst / largest : worst > 0 ? INFINITY : 0;
}

}  // namespace carat::test
