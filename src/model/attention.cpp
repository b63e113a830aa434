// Self-attention of one layer: projections, per-head norms, rotary embedding, the cache, and grouped-query attention
// over the positions each row may see (reference: Gemma4TextAttention.forward; masks: spec of sliding and full layers).
#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "model/decoder_layer.h"

namespace carat::model {
namespace {

void resize(std::vector<float>& buffer, std::int64_t count) { buffer.resize(static_cast<std::size_t>(count)); }

void rope(const LayerPass& pass, float* x, std::int64_t heads) {
  kernels::rope(pass.context, x, pass.rows(), heads, pass.spec.head_dim, pass.cos.data(), pass.sin.data(),
                pass.spec.rope.rotated_pairs);
}

// After the projections: k = rope(norm(k0)), v = rms(v0); where k = v the raw key projection is the value.
void finish_keys_and_values(LayerPass& pass) {
  const LayerSpec& s = pass.spec;
  Workspace& w = pass.w;
  const std::int64_t rows = pass.rows() * s.num_key_value_heads;
  const float eps = pass.config.rms_norm_eps;
  if (s.attention_k_eq_v) std::memcpy(w.v.data(), w.k.data(), static_cast<std::size_t>(rows * s.head_dim) * 4);
  kernels::rms_norm(pass.context, w.k.data(), rows, s.head_dim, pass.weights.k_norm.data(), eps, w.k.data());
  if (pass.config.value_norm) {
    kernels::rms_norm(pass.context, w.v.data(), rows, s.head_dim, nullptr, eps, w.v.data());
  }
  rope(pass, w.k.data(), s.num_key_value_heads);
}

void store(const LayerPass& pass, const SequenceRows& sequence, std::int64_t first, std::int64_t count) {
  const std::int64_t width = pass.spec.num_key_value_heads * pass.spec.head_dim;
  const std::int64_t row = sequence.first_row + first;
  kernels::kv_store(pass.context, sequence.cache->view(pass.index), pass.w.k.data() + row * width,
                    pass.w.v.data() + row * width, count, pass.w.rows.positions[static_cast<std::size_t>(row)]);
}

void attend(const LayerPass& pass, const SequenceRows& sequence, std::int64_t first, std::int64_t count) {
  const LayerSpec& s = pass.spec;
  const std::int64_t row = sequence.first_row + first, width = s.num_attention_heads * s.head_dim;
  kernels::attention(pass.context, pass.w.q.data() + row * width, count, s.num_attention_heads,
                     sequence.cache->view(pass.index), pass.w.key_begin.data() + row, pass.w.key_end.data() + row,
                     pass.config.attention_scale, pass.w.attended.data() + row * width);
}

// How many of the `count` rows from `first` on can be stored before they attend: an image block only whole, since its
// first row sees its last. A block is no longer than what a ring takes at once (KvCache::create).
std::int64_t whole_blocks(const Rows& rows, const SequenceRows& sequence, std::int64_t first, std::int64_t count) {
  if (rows.blocks.empty() || first + count == sequence.count) return count;
  const auto row = static_cast<std::size_t>(sequence.first_row + first + count);
  const std::int64_t begin = rows.blocks[row][0] - rows.positions[row - static_cast<std::size_t>(count)];
  if (rows.blocks[row][1] == 0 || rows.blocks[row][0] == rows.positions[row]) return count;
  base::expects(begin > 0, "a ring takes an image block whole");
  return begin;
}

}  // namespace

void store_keys_and_values(LayerPass& pass) {
  const LayerSpec& s = pass.spec;
  Workspace& w = pass.w;
  const std::int64_t kv_width = s.num_key_value_heads * s.head_dim;
  resize(w.h, pass.rows() * pass.hidden());
  resize(w.k, pass.rows() * kv_width);
  resize(w.v, pass.rows() * kv_width);
  kernels::rms_norm(pass.context, w.x.data(), pass.rows(), pass.hidden(), pass.weights.input_layernorm.data(),
                    pass.config.rms_norm_eps, w.h.data());
  const kernels::MatmulTarget targets[] = {{&pass.weights.k_proj, w.k.data(), 0},
                                           {&pass.weights.v_proj, w.v.data(), 0}};
  kernels::matmul(pass.context, w.h.data(), pass.rows(), {targets, s.attention_k_eq_v ? 1U : 2U});
  finish_keys_and_values(pass);
  for (const SequenceRows& sequence : w.rows.sequences) {
    if (sequence.count > 0) store(pass, sequence, 0, sequence.count);
  }
}

void attention_block(LayerPass& pass) {
  const LayerSpec& s = pass.spec;
  Workspace& w = pass.w;
  const float eps = pass.config.rms_norm_eps;
  const std::int64_t rows = pass.rows(), q_width = s.num_attention_heads * s.head_dim,
                     kv_width = s.num_key_value_heads * s.head_dim;
  const bool owns = s.kv_source == pass.index && !pass.keys_stored;
  resize(w.h, rows * pass.hidden());
  resize(w.q, rows * q_width);
  resize(w.attended, rows * q_width);
  kernels::rms_norm(pass.context, w.x.data(), rows, pass.hidden(), pass.weights.input_layernorm.data(), eps,
                    w.h.data());
  if (owns) {
    resize(w.k, rows * kv_width);
    resize(w.v, rows * kv_width);
  }
  const kernels::MatmulTarget targets[] = {{&pass.weights.q_proj, w.q.data(), 0},
                                           {&pass.weights.k_proj, w.k.data(), 0},
                                           {&pass.weights.v_proj, w.v.data(), 0}};
  kernels::matmul(pass.context, w.h.data(), rows, {targets, !owns ? 1U : s.attention_k_eq_v ? 2U : 3U});
  kernels::rms_norm(pass.context, w.q.data(), rows * s.num_attention_heads, s.head_dim, pass.weights.q_norm.data(), eps,
                    w.q.data());
  rope(pass, w.q.data(), s.num_attention_heads);
  if (owns) finish_keys_and_values(pass);

  // Every mask of the family is one range of positions per row: [position - window + 1, position], and to the end of
  // its image block; where blocks are laid over all layers, from the block's begin too (spec 2.9).
  const VisionBlocks which = pass.config.vision_blocks;
  const bool blocks = !w.rows.blocks.empty() && (which == VisionBlocks::all || s.sliding_window > 0);
  w.key_begin.resize(static_cast<std::size_t>(rows));
  w.key_end.resize(static_cast<std::size_t>(rows));
  for (std::size_t t = 0; t < static_cast<std::size_t>(rows); ++t) {
    const std::int64_t position = w.rows.positions[t];
    w.key_begin[t] = s.sliding_window > 0 ? std::max<std::int64_t>(0, position - s.sliding_window + 1) : 0;
    w.key_end[t] = position + 1;
    if (blocks && w.rows.blocks[t][1] > 0) {
      if (which == VisionBlocks::all) w.key_begin[t] = std::min(w.key_begin[t], w.rows.blocks[t][0]);
      w.key_end[t] = w.rows.blocks[t][1];
    }
  }
  for (const SequenceRows& sequence : w.rows.sequences) {
    if (sequence.count == 0) continue;
    if (!owns) {
      attend(pass, sequence, 0, sequence.count);
      continue;
    }
    // A ring takes only as many new positions at once as leave the window of the first of them in place.
    const std::int64_t span = sequence.cache->store_span(pass.index);
    for (std::int64_t first = 0; first < sequence.count;) {
      const std::int64_t count = whole_blocks(w.rows, sequence, first, std::min(span, sequence.count - first));
      store(pass, sequence, first, count);
      attend(pass, sequence, first, count);
      first += count;
    }
  }
  resize(w.branch, rows * pass.hidden());
  const kernels::MatmulTarget out{&pass.weights.o_proj, w.branch.data(), 0};
  kernels::matmul(pass.context, w.attended.data(), rows, {&out, 1});
  kernels::add_rms_norm(pass.context, w.x.data(), w.branch.data(), rows, pass.hidden(),
                        pass.weights.post_attention_layernorm.data(), eps);
}

}  // namespace carat::model
