#include "model/vision_tower.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/arena.h"
#include "base/concat.h"
#include "base/thread_pool.h"

namespace carat::model {

using base::concat;

namespace {

constexpr EncoderName kLayers{"vision_tower.encoder.layers.", "v.blk."};

void resize(base::RawVector<float>& buffer, std::int64_t count) { buffer.resize(static_cast<std::size_t>(count)); }

}  // namespace

VisionTower VisionTower::load(EncoderLoader& loader, const VisionTowerConfig& config, float eps) {
  VisionTower out;
  out.config_ = config;
  out.eps_ = eps;
  const std::int64_t hidden = config.hidden_size, side = config.patch_size, patch = side * side * 3;
  const EncoderName projection{"vision_tower.patch_embedder.input_proj.weight", "v.patch_embd.weight"};
  if (loader.gguf()) {
    // A convolution there, [hidden, 3, side, side]: its channels come first.
    const auto stored = loader.values(loader.name(projection), tensor::Shape{hidden, 3, side, side});
    out.input_proj_values_.resize(stored.size());
    for (std::size_t i = 0; i < stored.size(); ++i) {
      const auto pixels = static_cast<std::size_t>(side * side);
      const std::size_t row = i / (3 * pixels), channel = i / pixels % 3, pixel = i % pixels;
      out.input_proj_values_[row * 3 * pixels + pixel * 3 + channel] = stored[i];
    }
    const tensor::TensorView view{tensor::DType::f32, tensor::Shape{hidden, patch},
                                  reinterpret_cast<const std::byte*>(out.input_proj_values_.data())};
    if (!stored.empty()) out.input_proj_ = loader.packed(view, loader.name(projection));
  } else {
    out.input_proj_ = loader.matrix(loader.name(projection), hidden, patch);
  }
  out.position_embedding_table_ =
      loader.values(loader.name({"vision_tower.patch_embedder.position_embedding_table", "v.position_embd.weight"}),
                    tensor::Shape{2, config.position_embedding_size, hidden});
  const std::int64_t width = config.num_attention_heads * config.head_dim, inner = config.intermediate_size;
  for (std::int64_t i = 0; i < config.num_hidden_layers && !loader.error(); ++i) {
    const auto at = [&](std::string_view huggingface, std::string_view gguf) {
      return loader.layer_name(kLayers, i, {huggingface, gguf});
    };
    Layer w;
    w.input_layernorm = loader.vector(at("input_layernorm.weight", "ln1.weight"), hidden);
    w.post_attention_layernorm = loader.vector(at("post_attention_layernorm.weight", "attn_post_norm.weight"), hidden);
    w.pre_feedforward_layernorm = loader.vector(at("pre_feedforward_layernorm.weight", "ln2.weight"), hidden);
    w.post_feedforward_layernorm =
        loader.vector(at("post_feedforward_layernorm.weight", "ffn_post_norm.weight"), hidden);
    w.q_norm = loader.vector(at("self_attn.q_norm.weight", "attn_q_norm.weight"), config.head_dim);
    w.k_norm = loader.vector(at("self_attn.k_norm.weight", "attn_k_norm.weight"), config.head_dim);
    w.q_proj = loader.clipped(at("self_attn.q_proj", "attn_q"), width, hidden);
    w.k_proj = loader.clipped(at("self_attn.k_proj", "attn_k"), width, hidden);
    w.v_proj = loader.clipped(at("self_attn.v_proj", "attn_v"), width, hidden);
    w.o_proj = loader.clipped(at("self_attn.o_proj", "attn_out"), hidden, width);
    w.gate_proj = loader.clipped(at("mlp.gate_proj", "ffn_gate"), inner, hidden);
    w.up_proj = loader.clipped(at("mlp.up_proj", "ffn_up"), inner, hidden);
    w.down_proj = loader.clipped(at("mlp.down_proj", "ffn_down"), hidden, inner);
    out.layers_.push_back(std::move(w));
  }
  // Some converters pack the bounds of all layers into one tensor, and those of the projector behind them.
  if (loader.gguf() && loader.has("v.clamp_data")) {
    const auto bounds = loader.vector("v.clamp_data", (config.num_hidden_layers * 7 + 1) * 4);
    const float* next = bounds.data();
    for (Layer& w : out.layers_) {
      if (bounds.empty()) break;
      for (ClippedLinear* linear :
           {&w.q_proj, &w.k_proj, &w.v_proj, &w.o_proj, &w.gate_proj, &w.up_proj, &w.down_proj}) {
        linear->input = {next[0], next[1]};
        linear->output = {next[2], next[3]};
        next += 4;
      }
    }
  }
  if (config.standardize) {
    out.std_bias_ = loader.vector(loader.name({"vision_tower.std_bias", "v.std_bias"}), hidden);
    out.std_scale_ = loader.vector(loader.name({"vision_tower.std_scale", "v.std_scale"}), hidden);
  }
  return out;
}

// Intermediates of one image; T patches.
struct VisionTower::Scratch {
  std::int64_t rows = 0;
  base::RawVector<float> x, h, branch, q, k, v, attended, gate, clamped;  ///< [T, …]
  std::vector<float> cos, sin;                                            ///< [T, 2, head_dim / 4]: by x, by y
  std::vector<std::int64_t> key_begin, key_end;
  base::Arena arena;  ///< of the cache: vectors of it begin with cache lines
  kernels::KvView cache;
};

namespace {

// The two halves of a head turn by the patch's column and row: pairs (j, j + m/2) within each half of width m
// (reference: apply_rotary_pos_emb over two axes).
void rope_2d(const kernels::Context& context, float* x, std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
             const std::vector<float>& cos, const std::vector<float>& sin) {
  const std::int64_t pairs = head_dim / 4;
  context.pool().parallel_for(rows, 64, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t part = 0; part < 2 * heads; ++part) {  // halves of heads, by x and by y in turn
        float* low = x + (t * 2 * heads + part) * 2 * pairs;
        float* high = low + pairs;
        const float* c = cos.data() + (t * 2 + part % 2) * pairs;
        const float* s = sin.data() + (t * 2 + part % 2) * pairs;
        for (std::int64_t j = 0; j < pairs; ++j) {
          const float a = low[j], b = high[j];
          low[j] = a * c[j] - b * s[j];
          high[j] = b * c[j] + a * s[j];
        }
      }
    }
  });
}

}  // namespace

void VisionTower::layer(const kernels::Context& context, const Layer& w, Scratch& s) const {
  const std::int64_t rows = s.rows, hidden = config_.hidden_size, heads = config_.num_attention_heads,
                     dim = config_.head_dim;
  kernels::rms_norm(context, s.x.data(), rows, hidden, w.input_layernorm.data(), eps_, s.h.data());
  const ClippedTarget in[] = {{&w.q_proj, s.q.data()}, {&w.k_proj, s.k.data()}, {&w.v_proj, s.v.data()}};
  clipped_matmul(context, s.h.data(), rows, in, s.clamped);
  kernels::rms_norm(context, s.q.data(), rows * heads, dim, w.q_norm.data(), eps_, s.q.data());
  kernels::rms_norm(context, s.k.data(), rows * heads, dim, w.k_norm.data(), eps_, s.k.data());
  kernels::rms_norm(context, s.v.data(), rows * heads, dim, nullptr, eps_, s.v.data());
  rope_2d(context, s.q.data(), rows, heads, dim, s.cos, s.sin);
  rope_2d(context, s.k.data(), rows, heads, dim, s.cos, s.sin);
  kernels::kv_store(context, s.cache, s.k.data(), s.v.data(), rows, 0);
  kernels::attention(context, s.q.data(), rows, heads, s.cache, s.key_begin.data(), s.key_end.data(), 1.0F,
                     s.attended.data());
  const ClippedTarget out{&w.o_proj, s.branch.data()};
  clipped_matmul(context, s.attended.data(), rows, {&out, 1}, s.clamped);
  kernels::add_rms_norm(context, s.x.data(), s.branch.data(), rows, hidden, w.post_attention_layernorm.data(), eps_);

  kernels::rms_norm(context, s.x.data(), rows, hidden, w.pre_feedforward_layernorm.data(), eps_, s.h.data());
  clipped_gelu_gated_matmul(context, s.h.data(), rows, w.gate_proj, w.up_proj, s.gate.data(), s.clamped);
  const ClippedTarget down{&w.down_proj, s.branch.data()};
  clipped_matmul(context, s.gate.data(), rows, {&down, 1}, s.clamped);
  kernels::add_rms_norm(context, s.x.data(), s.branch.data(), rows, hidden, w.post_feedforward_layernorm.data(), eps_);
}

// Means of squares of patches, times sqrt(hidden_size), standardised (reference: Gemma4VisionPooler, in f32).
std::vector<float> VisionTower::pool(const Scratch& s, std::span<const std::int32_t> positions,
                                     std::int64_t columns) const {
  const std::int64_t hidden = config_.hidden_size, side = config_.pooling_kernel_size;
  std::vector<float> out(static_cast<std::size_t>(s.rows / (side * side) * hidden));
  for (std::int64_t t = 0; t < s.rows; ++t) {
    const std::int64_t x = positions[static_cast<std::size_t>(2 * t)] / side,
                       y = positions[static_cast<std::size_t>(2 * t + 1)] / side;
    float* to = out.data() + (y * (columns / side) + x) * hidden;
    const float* from = s.x.data() + t * hidden;
    const float share = 1.0F / static_cast<float>(side * side);
    for (std::int64_t i = 0; i < hidden; ++i) to[i] += from[i] * share;
  }
  const auto root = static_cast<float>(std::sqrt(static_cast<double>(hidden)));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] *= root;
    if (config_.standardize) {
      const std::size_t channel = i % static_cast<std::size_t>(hidden);
      out[i] = (out[i] - std_bias_[channel]) * std_scale_[channel];
    }
  }
  return out;
}

Result<std::vector<float>> VisionTower::encode(const kernels::Context& context, std::span<const float> patches,
                                               std::span<const std::int32_t> positions,
                                               const EncodeProgress& progress) const {
  const std::int64_t hidden = config_.hidden_size, pooling = config_.pooling_kernel_size;
  const auto rows = static_cast<std::int64_t>(positions.size() / 2);
  std::int64_t columns = 0, lines = 0;
  for (std::int64_t t = 0; t < rows; ++t) {
    const std::int64_t x = positions[static_cast<std::size_t>(2 * t)],
                       y = positions[static_cast<std::size_t>(2 * t + 1)];
    if (x < 0 || y < 0 || x >= config_.position_embedding_size || y >= config_.position_embedding_size) {
      return fail(ErrorCode::invalid_argument,
                  concat("image: patch ", t, " lies at column ", x, ", row ", y,
                         "; the vision tower's position table has ", config_.position_embedding_size, " entries"));
    }
    columns = std::max(columns, x + 1);
    lines = std::max(lines, y + 1);
  }
  if (rows == 0 || columns * lines != rows || columns % pooling != 0 || lines % pooling != 0) {
    return fail(ErrorCode::invalid_argument,
                concat("image: found ", rows, " patches on a grid of ", columns, " by ", lines,
                       "; expected a whole grid with sides divisible by ", pooling));
  }
  Scratch s;
  s.rows = rows;
  const std::int64_t width = config_.num_attention_heads * config_.head_dim;
  for (auto* buffer : {&s.x, &s.h, &s.branch}) resize(*buffer, rows * hidden);
  for (auto* buffer : {&s.q, &s.k, &s.v, &s.attended}) resize(*buffer, rows * width);
  resize(s.gate, rows * config_.intermediate_size);

  // h = W (2 p - 1) + table[0][x] + table[1][y]
  std::vector<float> centred(patches.begin(), patches.end());
  for (float& value : centred) value = 2 * (value - 0.5F);
  const kernels::MatmulTarget embed{&input_proj_, s.x.data(), 0};
  kernels::matmul(context, centred.data(), rows, {&embed, 1});
  const std::int64_t pairs = config_.head_dim / 4;
  std::vector<float> frequencies;
  for (std::int64_t j = 0; j < pairs; ++j) {
    frequencies.push_back(static_cast<float>(
        1.0 / std::pow(config_.rope_theta, static_cast<double>(2 * j) / (static_cast<double>(config_.head_dim) / 2))));
  }
  for (std::int64_t t = 0; t < rows; ++t) {
    float* to = s.x.data() + t * hidden;
    for (std::int64_t axis = 0; axis < 2; ++axis) {
      const std::int64_t at = positions[static_cast<std::size_t>(2 * t + axis)];
      const float* from = position_embedding_table_.data() + (axis * config_.position_embedding_size + at) * hidden;
      for (std::int64_t i = 0; i < hidden; ++i) to[i] += from[i];
      for (const float frequency : frequencies) {
        const float angle = static_cast<float>(at) * frequency;
        s.cos.push_back(std::cos(angle));
        s.sin.push_back(std::sin(angle));
      }
    }
  }
  // Every patch sees every other: one range of keys for all rows.
  s.key_begin.assign(static_cast<std::size_t>(rows), 0);
  s.key_end.assign(static_cast<std::size_t>(rows), rows);
  // Where activations are rounded to bf16 for the weights, they may be for each other.
  s.cache.dtype =
      kernels::rounds_to_bf16(context, layers_.front().k_proj.weight) ? tensor::DType::bf16 : tensor::DType::f32;
  s.cache.slots = (rows + kernels::kKvBlock - 1) / kernels::kKvBlock * kernels::kKvBlock;
  s.cache.num_kv_heads = config_.num_attention_heads;
  s.cache.head_dim = config_.head_dim;
  const std::int64_t bytes = config_.num_attention_heads * (s.cache.slots / kernels::kKvBlock) *
                             kernels::kv_block_bytes(s.cache.dtype, config_.head_dim);
  auto keys = s.arena.allocate(static_cast<std::size_t>(bytes)),
       values = s.arena.allocate(static_cast<std::size_t>(bytes));
  if (!keys || !values) return forward(keys ? values : keys);
  s.cache.keys = *keys;
  s.cache.values = *values;

  const auto count = static_cast<std::int64_t>(layers_.size());
  for (std::int64_t i = 0; i < count; ++i) {
    if (progress && !progress(i, count)) return fail(ErrorCode::cancelled, "cancelled while encoding an image");
    layer(context, layers_[static_cast<std::size_t>(i)], s);
  }
  if (progress) progress(count, count);
  return pool(s, positions, columns);
}

}  // namespace carat::model
