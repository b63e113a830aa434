// carat::Model::trace and compare_traces: every intermediate of a forward pass as a file, and the proof by comparison.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "api/state.h"
#include "base/concat.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"

namespace carat {

using base::concat;

Result<void> Model::trace(std::span<const TokenId> ids, const std::filesystem::path& out,
                          const Progress& progress) const {
  RenderedPrompt prompt;
  prompt.ids.assign(ids.begin(), ids.end());
  return trace(prompt, out, progress);
}

Result<void> Model::trace(const RenderedPrompt& prompt, const std::filesystem::path& out,
                          const Progress& progress) const {
  const std::span<const TokenId> ids = prompt.ids;
  const model::Config& config = state_->transformer->config();
  const auto count = static_cast<std::int64_t>(ids.size());
  if (count < 1 || count > config.max_position_embeddings) {
    return fail(ErrorCode::invalid_argument,
                concat("trace: found ", count, " token ids; expected 1 to ", config.max_position_embeddings));
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= config.vocab_size) {
      return fail(ErrorCode::invalid_argument,
                  concat("trace: token ", i, " is ", ids[i], "; expected 0 to ", config.vocab_size - 1));
    }
  }
  std::vector<std::shared_ptr<const model::SoftTokens>> features;
  std::vector<model::SoftRows> soft;
  std::int64_t block = 0;
  std::vector<formats::TensorDeclaration> tensors;
  if (prompt.soft_tokens != nullptr) {
    EncodedMedia encoded;
    if (auto good = state_->encode(*prompt.soft_tokens, progress, encoded); !good) return forward(good);
    features = std::move(encoded.features);
    for (std::size_t i = 0; i < features.size(); ++i) {
      const engine::PlacedMedium& medium = prompt.soft_tokens->placed[i];
      const engine::MediumInput& input = *medium.input;
      const model::SoftTokens& made = *features[i];
      const bool sound = input.kind == engine::MediumInput::Kind::sound;
      const auto rows = static_cast<std::int64_t>(input.features.size()) / input.feature_width;
      tensors.push_back(
          {concat(medium.name, sound ? ".mel" : ".patches"), tensor::DType::f32, {rows, input.feature_width}});
      if (!sound) tensors.push_back({concat(medium.name, ".positions"), tensor::DType::i32, {rows, 2}});
      tensors.push_back({concat(medium.name, ".tower"),
                         tensor::DType::f32,
                         {made.count, static_cast<std::int64_t>(made.tower.size()) / made.count}});
      tensors.push_back({concat(medium.name, ".projected"), tensor::DType::f32, {made.count, config.hidden_size}});
      soft.push_back({medium.begin, made.count, made.projected.data(), !sound});
      if (!sound && config.vision_blocks != model::VisionBlocks::causal) block = std::max(block, made.count);
    }
  }
  auto cache = model::KvCache::create(config, tensor::DType::f32, count, count, block);
  if (!cache) return forward(cache);
  // Declared in the order the pass emits them, then streamed, so that a long trace takes no memory of its own.
  const auto layers = static_cast<std::int64_t>(config.layers.size());
  tensors.push_back({"ids", tensor::DType::i32, {count}});
  tensors.push_back({"embedding", tensor::DType::f32, {count, config.hidden_size}});
  if (config.hidden_size_per_layer_input > 0) {
    tensors.push_back({"per_layer_inputs", tensor::DType::f32, {count, layers, config.hidden_size_per_layer_input}});
  }
  for (std::int64_t i = 0; i < layers; ++i) {
    tensors.push_back({concat("layer.", i), tensor::DType::f32, {count, config.hidden_size}});
  }
  tensors.push_back({"norm", tensor::DType::f32, {count, config.hidden_size}});
  tensors.push_back({"logits", tensor::DType::f32, {count, config.vocab_size}});
  const auto steps = static_cast<std::int64_t>(tensors.size());
  auto writer = formats::SafetensorsWriter::create(out, std::move(tensors));
  if (!writer) return forward(writer);
  std::int64_t done = 0;
  Result<void> status;
  const auto write = [&](const std::string& name, std::span<const std::byte> bytes) {
    if (!status) return;
    status = writer->write(name, bytes);
    if (status && progress && !progress(++done, steps)) status = fail(ErrorCode::cancelled, "trace was cancelled");
  };
  for (std::size_t i = 0; i < features.size(); ++i) {
    const engine::PlacedMedium& medium = prompt.soft_tokens->placed[i];
    const bool sound = medium.input->kind == engine::MediumInput::Kind::sound;
    write(concat(medium.name, sound ? ".mel" : ".patches"), std::as_bytes(std::span(medium.input->features)));
    if (!sound) write(concat(medium.name, ".positions"), std::as_bytes(std::span(medium.input->positions)));
    write(concat(medium.name, ".tower"), std::as_bytes(std::span(features[i]->tower)));
    write(concat(medium.name, ".projected"), std::as_bytes(std::span(features[i]->projected)));
  }
  write("ids", std::as_bytes(ids));
  if (!status) return status;

  model::ForwardOptions options;
  options.check_finite = false;
  options.trace = [&](const std::string& name, std::span<const std::int64_t> dims, const float* values) {
    std::int64_t elements = 1;
    for (const std::int64_t dim : dims) elements *= dim;
    write(name, std::as_bytes(std::span(values, static_cast<std::size_t>(elements))));
  };
  {
    const State::Turn turn = state_->take_turn();
    const model::SequenceChunk chunk{&*cache, ids, 0, soft};
    auto logits = turn.compute.transformer.forward(turn.compute.context, turn.compute.workspace, {&chunk, 1}, options);
    if (!logits) return forward(logits);
  }
  if (!status) return status;
  return writer->finish();
}

const TraceComparison::Row* TraceComparison::first_divergence() const {
  const auto found = std::find_if(rows.begin(), rows.end(), [](const Row& row) { return !row.within; });
  return found == rows.end() ? nullptr : &*found;
}

namespace {

// The place of a tensor in the forward pass, so that the first divergence is the first in computation.
std::int64_t pass_order(std::string_view name) {
  constexpr std::string_view order[] = {"ids", "embedding", "per_layer_inputs"};
  for (std::size_t i = 0; i < std::size(order); ++i) {
    if (name == order[i]) return static_cast<std::int64_t>(i);
  }
  // Media come first, in the order of their names' files.
  if (name.starts_with("image.") || name.starts_with("audio.") || name.starts_with("video.")) return -1;
  if (name.starts_with("layer.")) return 100 + std::atoll(std::string(name.substr(6)).c_str());
  return name == "norm" ? 1'000'000 : name == "logits" ? 1'000'001 : 2'000'000;
}

// One value as double; integers and floats compare alike.
double value_at(const tensor::TensorView& view, std::int64_t i, const std::vector<float>& decoded) {
  if (view.dtype == tensor::DType::i32) {
    std::int32_t out = 0;
    std::memcpy(&out, view.data + i * 4, 4);
    return out;
  }
  if (view.dtype == tensor::DType::i64) {
    std::int64_t out = 0;
    std::memcpy(&out, view.data + i * 8, 8);
    return static_cast<double>(out);
  }
  return static_cast<double>(decoded[static_cast<std::size_t>(i)]);
}

Result<std::vector<float>> decode(const formats::NamedTensor& tensor) {
  const tensor::TensorView& view = tensor.view;
  if (view.dtype == tensor::DType::i32 || view.dtype == tensor::DType::i64) return std::vector<float>();
  if (tensor::info(view.dtype).decode == nullptr) {
    return fail(ErrorCode::unsupported, concat(tensor.file, ": tensor ", tensor.name, " has type ",
                                               tensor::info(view.dtype).name, "; expected f32, f16, bf16, i32 or i64"));
  }
  std::vector<float> out(static_cast<std::size_t>(view.shape.elements()));
  const auto width = static_cast<std::size_t>(view.shape.row_elements());
  for (std::int64_t row = 0; row < view.shape.rows(); ++row) {
    tensor::decode_row(view, row, std::span(out).subspan(static_cast<std::size_t>(row) * width, width));
  }
  return out;
}

}  // namespace

Result<TraceComparison> compare_traces(const std::filesystem::path& trace, const std::filesystem::path& reference,
                                       double tolerance) {
  auto ours = formats::open_safetensors(trace);
  if (!ours) return forward(ours);
  auto theirs = formats::open_safetensors(reference);
  if (!theirs) return forward(theirs);
  TraceComparison out;
  for (const formats::NamedTensor& a : ours->tensors()) {
    const formats::NamedTensor* b = theirs->find(a.name);
    if (b == nullptr) continue;
    if (a.view.shape != b->view.shape) {
      return fail(ErrorCode::bad_file, concat("trace: tensor ", a.name, " has shape ", a.view.shape.text(), " in ",
                                              trace, " and ", b->view.shape.text(), " in ", reference));
    }
    auto left = decode(a);
    if (!left) return forward(left);
    auto right = decode(*b);
    if (!right) return forward(right);
    TraceComparison::Row row;
    row.name = a.name;
    double largest = 0;
    std::int64_t worst = 0;
    bool finite = true;
    const std::int64_t count = a.view.shape.elements();
    for (std::int64_t i = 0; i < count; ++i) {
      const double x = value_at(a.view, i, *left), y = value_at(b->view, i, *right);
      if (std::isfinite(y)) largest = std::max(largest, std::abs(y));
      const double error = std::abs(x - y);
      if (!std::isfinite(error)) {  // equal infinities or NaN on both sides are no proof of anything
        if (finite) worst = i;
        finite = false;
        row.absolute_error = INFINITY;
      } else if (finite && error > row.absolute_error) {
        row.absolute_error = error;
        worst = i;
      }
    }
    row.relative_error = row.absolute_error == 0 ? 0 : largest > 0 ? row.absolute_error / largest : INFINITY;
    row.position = a.view.shape.rank() > 0 && count > 0 ? worst / (count / a.view.shape[0]) : 0;
    row.within = row.relative_error <= tolerance;
    out.rows.push_back(std::move(row));
  }
  if (out.rows.empty()) {
    return fail(ErrorCode::bad_file, concat("trace: ", trace, " and ", reference, " share no tensor name"));
  }
  std::stable_sort(out.rows.begin(), out.rows.end(),
                   [](const auto& a, const auto& b) { return pass_order(a.name) < pass_order(b.name); });
  return out;
}

}  // namespace carat
