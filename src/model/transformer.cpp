#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/checked.h"
#include "base/concat.h"
#include "model/decoder_layer.h"
#include "model/rope.h"

namespace carat::model {

using base::concat;

Transformer::Transformer(Config config, Weights weights) : config_(std::move(config)), weights_(std::move(weights)) {
  for (const LayerSpec& layer : config_.layers) {
    const auto found = std::find(ropes_.begin(), ropes_.end(), layer.rope);
    layer_rope_.push_back(static_cast<std::size_t>(found - ropes_.begin()));
    if (found == ropes_.end()) {
      ropes_.push_back(layer.rope);
      frequencies_.push_back(rope_frequencies(layer.rope));
    }
  }
}

// One forward pass: the rows still in flight and everything the layers share.
struct Transformer::Pass {
  const Transformer& self;
  const kernels::Context& context;
  Workspace& w;
  std::span<const SequenceChunk> chunks;
  const ForwardOptions& options;
  Rows& rows = w.rows;

  void emit(const std::string& name, std::initializer_list<std::int64_t> dims, const float* values) const {
    if (options.trace) options.trace(name, {dims.begin(), dims.size()}, values);
  }

  void begin();
  void embed();
  void per_layer_inputs(std::int64_t first_layer, std::int64_t end_layer, std::vector<float>& out);
  void rope_tables();
  void select_logit_rows();
  Result<void> check_finite(std::int64_t layer) const;
  Result<void> layers();
  Result<std::span<const float>> head();
};

void Transformer::Pass::begin() {
  rows.count = 0;
  for (const SequenceChunk& chunk : chunks) rows.count += static_cast<std::int64_t>(chunk.tokens.size());
  rows.tokens.clear();
  rows.positions.clear();
  rows.sequences.clear();
  rows.blocks.clear();
  for (const SequenceChunk& chunk : chunks) {
    const auto n = static_cast<std::int64_t>(chunk.tokens.size());
    rows.sequences.push_back({chunk.cache, static_cast<std::int64_t>(rows.positions.size()), n});
    for (std::int64_t i = 0; i < n; ++i) {
      rows.tokens.push_back(chunk.tokens[static_cast<std::size_t>(i)]);
      rows.positions.push_back(chunk.cache->length() + i);
    }
    for (const SoftRows& soft : chunk.soft) {
      base::expects(soft.begin >= 0 && soft.count >= 0 && soft.begin + soft.count <= n, "soft rows lie in the chunk");
      const auto first = static_cast<std::size_t>(rows.sequences.back().first_row + soft.begin);
      for (std::size_t i = 0; i < static_cast<std::size_t>(soft.count); ++i) {
        // Their per-layer row is that of padding (Gemma4Model.forward).
        rows.tokens[first + i] = static_cast<TokenId>(self.config_.pad_token_id);
      }
      if (!soft.block || self.config_.vision_blocks == VisionBlocks::causal) continue;
      const std::int64_t begin = chunk.cache->length() + soft.begin;
      rows.blocks.resize(static_cast<std::size_t>(rows.count));
      for (std::size_t i = 0; i < static_cast<std::size_t>(soft.count); ++i) {
        rows.blocks[first + i] = {begin, begin + soft.count};
      }
    }
  }
}

void Transformer::Pass::embed() {
  const std::int64_t hidden = self.config_.hidden_size;
  w.x.resize(static_cast<std::size_t>(rows.count * hidden));
  for (std::int64_t t = 0; t < rows.count; ++t) {
    const std::span<float> row(w.x.data() + t * hidden, static_cast<std::size_t>(hidden));
    self.weights_.embed_tokens.read(rows.tokens[static_cast<std::size_t>(t)], row);
  }
  self.weights_.embed_tokens.done();
  kernels::scale(context, w.x.data(), rows.count * hidden, self.weights_.embedding_scale);
  for (std::size_t s = 0; s < chunks.size(); ++s) {
    for (const SoftRows& soft : chunks[s].soft) {
      std::memcpy(w.x.data() + (rows.sequences[s].first_row + soft.begin) * hidden, soft.rows,
                  static_cast<std::size_t>(soft.count * hidden) * 4);
    }
  }
  emit("embedding", {rows.count, hidden}, w.x.data());
}

// per_layer_inputs[t][l] = (token part + context part) / sqrt(2) for layers [first, end) of all rows in flight:
// token part PLE[id][l] * sqrt(P), context part rms_norm(W x / sqrt(H))[l] (Gemma4TextModel.project_per_layer_inputs).
void Transformer::Pass::per_layer_inputs(std::int64_t first_layer, std::int64_t end_layer, std::vector<float>& out) {
  const std::int64_t width = self.config_.hidden_size_per_layer_input, hidden = self.config_.hidden_size;
  const std::int64_t row = (end_layer - first_layer) * width;
  if (width == 0 || row == 0) return;
  out.resize(static_cast<std::size_t>(rows.count * row));
  const bool tail = first_layer > 0;
  const kernels::PackedMatrix& projection =
      tail ? self.weights_.per_layer_model_projection_tail : self.weights_.per_layer_model_projection_head;
  const kernels::MatmulTarget target{&projection, out.data(), row};
  const float* x = tail ? w.ple_rows.data() : w.x.data();
  kernels::matmul(context, x, rows.count, {&target, 1});
  kernels::scale(context, out.data(), rows.count * row, 1.0F / std::sqrt(static_cast<float>(hidden)));
  kernels::rms_norm(context, out.data(), rows.count * (end_layer - first_layer), width,
                    self.weights_.per_layer_projection_norm.data(), self.config_.rms_norm_eps, out.data());
  const RowTable& table = self.weights_.embed_tokens_per_layer;
  w.ple_row.resize(static_cast<std::size_t>(table.view.shape[1]));
  const float token_scale = std::sqrt(static_cast<float>(width));
  const float half = 1.0F / std::sqrt(2.0F);
  for (std::int64_t t = 0; t < rows.count; ++t) {
    // Ids outside the table read row 0, the pad row.
    std::int64_t id = rows.tokens[static_cast<std::size_t>(t)];
    if (id >= table.view.shape[0]) id = 0;
    table.read(id, w.ple_row);
    float* to = out.data() + t * row;
    const float* from = w.ple_row.data() + first_layer * width;
    for (std::int64_t i = 0; i < row; ++i) to[i] = (to[i] + from[i] * token_scale) * half;
  }
  table.done();
}

void Transformer::Pass::rope_tables() {
  w.cos.resize(self.ropes_.size());
  w.sin.resize(self.ropes_.size());
  for (std::size_t i = 0; i < self.ropes_.size(); ++i) {
    rope_table(self.frequencies_[i], rows.positions, w.cos[i], w.sin[i]);
  }
}

// Keeps only the rows whose logits are wanted: later layers store no keys, so nobody reads the others again.
void Transformer::Pass::select_logit_rows() {
  const std::int64_t hidden = self.config_.hidden_size;
  std::int64_t kept = 0;
  for (std::size_t s = 0; s < chunks.size(); ++s) {
    SequenceRows& sequence = rows.sequences[s];
    const std::int64_t first = kept;
    for (std::int64_t i = chunks[s].logits_from; i < sequence.count; ++i) {
      const std::int64_t from = sequence.first_row + i;
      if (from != kept) {
        std::memmove(w.x.data() + kept * hidden, w.x.data() + from * hidden, static_cast<std::size_t>(hidden) * 4);
        if (!w.ple_rows.empty()) {
          std::memmove(w.ple_rows.data() + kept * hidden, w.ple_rows.data() + from * hidden,
                       static_cast<std::size_t>(hidden) * 4);
        }
        if (!w.ple_head.empty()) {
          const auto row =
              static_cast<std::size_t>((self.config_.last_kv_owner() + 1) * self.config_.hidden_size_per_layer_input);
          std::memmove(w.ple_head.data() + static_cast<std::size_t>(kept) * row,
                       w.ple_head.data() + static_cast<std::size_t>(from) * row, row * 4);
        }
        rows.tokens[static_cast<std::size_t>(kept)] = rows.tokens[static_cast<std::size_t>(from)];
        rows.positions[static_cast<std::size_t>(kept)] = rows.positions[static_cast<std::size_t>(from)];
        if (!rows.blocks.empty()) {
          rows.blocks[static_cast<std::size_t>(kept)] = rows.blocks[static_cast<std::size_t>(from)];
        }
      }
      ++kept;
    }
    sequence.first_row = first;
    sequence.count = kept - first;
  }
  rows.count = kept;
  rows.tokens.resize(static_cast<std::size_t>(kept));
  rows.positions.resize(static_cast<std::size_t>(kept));
  rope_tables();
}

Result<void> Transformer::Pass::check_finite(std::int64_t layer) const {
  if (!options.check_finite) return {};
  const std::int64_t bad = kernels::first_non_finite_row(context, w.x.data(), rows.count, self.config_.hidden_size);
  if (bad < 0) return {};
  const std::string where = layer < 0 ? std::string("the embedding") : concat("layer ", layer);
  return fail(ErrorCode::not_finite,
              concat(where, " gives a NaN or infinity at position ", rows.positions[static_cast<std::size_t>(bad)],
                     "; its weights are damaged, or activations overflow"));
}

Result<void> Transformer::Pass::layers() {
  const auto count = static_cast<std::int64_t>(self.config_.layers.size());
  const std::int64_t last_owner = self.config_.last_kv_owner();
  const std::int64_t width = self.config_.hidden_size_per_layer_input;
  const bool all_rows = static_cast<bool>(options.trace);
  const auto owner_layers = last_owner + 1;
  w.ple_rows.clear();
  w.ple_head.clear();
  if (width > 0) {
    per_layer_inputs(0, owner_layers, w.ple_head);
    if (owner_layers < count) w.ple_rows.assign(w.x.begin(), w.x.begin() + rows.count * self.config_.hidden_size);
    if (all_rows) {
      per_layer_inputs(owner_layers, count, w.ple_tail);
      std::vector<float> joined;
      for (std::int64_t t = 0; t < rows.count; ++t) {
        const auto head = w.ple_head.begin() + t * owner_layers * width;
        joined.insert(joined.end(), head, head + owner_layers * width);
        const auto tail = w.ple_tail.begin() + t * (count - owner_layers) * width;
        joined.insert(joined.end(), tail, tail + (count - owner_layers) * width);
      }
      emit("per_layer_inputs", {rows.count, count, width}, joined.data());
    }
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const LayerSpec& spec = self.config_.layers[static_cast<std::size_t>(i)];
    const LayerWeights& weights = self.weights_.layers[static_cast<std::size_t>(i)];
    LayerPass layer{self.config_, spec, weights, i, context, w};
    const auto rope = self.layer_rope_[static_cast<std::size_t>(i)];
    const auto bind_rope = [&] {
      layer.cos = w.cos[rope];
      layer.sin = w.sin[rope];
    };
    bind_rope();
    if (i == last_owner && !all_rows) {
      store_keys_and_values(layer);
      select_logit_rows();
      if (rows.count == 0) return {};
      if (width > 0 && owner_layers < count) per_layer_inputs(owner_layers, count, w.ple_tail);
      bind_rope();
      layer.keys_stored = true;
    }
    if (width > 0) {
      const bool head = i < owner_layers;
      layer.per_layer_stride = (head ? owner_layers : count - owner_layers) * width;
      layer.per_layer_input = (head ? w.ple_head : w.ple_tail).data() + (head ? i : i - owner_layers) * width;
    }
    decoder_layer(layer);
    if (options.trace) emit(concat("layer.", i), {rows.count, self.config_.hidden_size}, w.x.data());
    if (auto finite = check_finite(i); !finite) return finite;
  }
  return {};
}

Result<std::span<const float>> Transformer::Pass::head() {
  const std::int64_t hidden = self.config_.hidden_size, vocab = self.config_.vocab_size;
  if (rows.count == 0) return std::span<const float>();
  w.h.resize(static_cast<std::size_t>(rows.count * hidden));
  kernels::rms_norm(context, w.x.data(), rows.count, hidden, self.weights_.norm.data(), self.config_.rms_norm_eps,
                    w.h.data());
  emit("norm", {rows.count, hidden}, w.h.data());
  w.logits.resize(static_cast<std::size_t>(rows.count * vocab));
  const kernels::MatmulTarget target{&self.weights_.lm_head, w.logits.data(), vocab};
  kernels::matmul(context, w.h.data(), rows.count, {&target, 1});
  // Before the softcap, which would make an infinity its bound.
  if (options.check_finite) {
    const std::int64_t bad = kernels::first_non_finite_row(context, w.logits.data(), rows.count, vocab);
    if (bad >= 0) {
      return fail(ErrorCode::not_finite, concat("the output head gives a NaN or infinity at position ",
                                                rows.positions[static_cast<std::size_t>(bad)]));
    }
  }
  if (self.config_.final_logit_softcapping > 0) {
    kernels::softcap(context, w.logits.data(), rows.count * vocab, self.config_.final_logit_softcapping);
  }
  emit("logits", {rows.count, vocab}, w.logits.data());
  return std::span<const float>(w.logits.data(), static_cast<std::size_t>(rows.count * vocab));
}

Result<std::span<const float>> Transformer::forward(const kernels::Context& context, Workspace& workspace,
                                                    std::span<const SequenceChunk> chunks,
                                                    const ForwardOptions& options) const {
  Pass pass{*this, context, workspace, chunks, options};
  pass.begin();
  if (pass.rows.count == 0) return std::span<const float>();
  pass.embed();
  pass.rope_tables();
  if (auto finite = pass.check_finite(-1); !finite) return carat::forward(finite);
  if (auto done = pass.layers(); !done) return carat::forward(done);
  auto logits = pass.head();
  if (!logits) return logits;
  for (const SequenceChunk& chunk : chunks) chunk.cache->append(static_cast<std::int64_t>(chunk.tokens.size()));
  return logits;
}

}  // namespace carat::model
