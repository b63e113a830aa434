// The operations of ops.h: shapes checked, scratch kept, work cut into tiles over the thread pool. How work is cut
// never changes a result, because each tile function computes every row by itself.
#include "kernels/ops.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <utility>

#include "base/checked.h"
#include "base/concat.h"
#include "base/thread_pool.h"
#include "kernels/abi.h"
#include "kernels/packed_matrix.h"

namespace carat::kernels {

using base::expects;

// Grown once, reused by every call.
struct Context::Scratch {
  std::vector<std::int8_t> q;
  std::vector<std::uint16_t> rounded;
  std::vector<float> scale, sum, half_sum, total, half_total;
  std::vector<std::int64_t> ends;  ///< of the pieces that a matrix's tiles are handed out in
  std::vector<std::vector<float>> per_thread;
  std::vector<std::vector<float>> gated;  ///< per thread too: products that wait while per_thread holds decoded rows
};

Context::Context(std::shared_ptr<const KernelTable> table, base::ThreadPool& pool)
    : table_(std::move(table)), pool_(&pool), scratch_(std::make_unique<Scratch>()) {
  scratch_->per_thread.resize(static_cast<std::size_t>(pool.threads()));
  scratch_->gated.resize(static_cast<std::size_t>(pool.threads()));
}
Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

namespace {

// Elementwise work below this many values is not worth waking other threads for.
constexpr std::int64_t kSerialElements = 1 << 15;

std::int64_t pieces(std::int64_t whole, std::int64_t part) { return (whole + part - 1) / part; }

/// The rows of all targets in tiles of `tile_rows`, counted through.
struct Tiles {
  std::span<const MatmulTarget> targets;
  std::int64_t tile_rows, count = 0;
  Tiles(std::span<const MatmulTarget> t, std::int64_t rows) : targets(t), tile_rows(rows) {
    for (const MatmulTarget& target : targets) count += tiles_of(target);
  }
  std::int64_t tiles_of(const MatmulTarget& target) const { return pieces(target.weight->out_features(), tile_rows); }
  std::pair<const MatmulTarget*, std::int64_t> at(std::int64_t index) const {
    const MatmulTarget* target = targets.data();
    while (index >= tiles_of(*target)) index -= tiles_of(*target++);
    return {target, index * tile_rows};
  }
};

template <typename T>
void grow(std::vector<T>& v, std::int64_t n) {
  if (static_cast<std::int64_t>(v.size()) < n) v.resize(static_cast<std::size_t>(n));
}

// Calls row(t) for all rows, on all threads where that is worth waking them.
template <typename Row>
void each_row(const Context& context, std::int64_t rows, std::int64_t width, const Row& row) {
  const auto body = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) row(t);
  };
  if (rows * width < kSerialElements) return body(0, rows, 0);
  const std::int64_t grain = std::max<std::int64_t>(1, rows / (4 * context.pool().threads()));
  context.pool().parallel_for(rows, grain, std::ref(body));
}

void quantise(const Context& context, const float* x, std::int64_t tokens, std::int64_t in, QuantisedRows& out) {
  Context::Scratch& s = context.scratch();
  const std::int64_t padded = (in + kActivationGroup - 1) / kActivationGroup * kActivationGroup;
  grow(s.q, tokens * padded);
  grow(s.scale, tokens * padded / 32);
  grow(s.sum, tokens * padded / 32);
  grow(s.half_sum, tokens * padded / 16);
  grow(s.total, tokens * padded / 32);
  grow(s.half_total, tokens * padded / 16);
  out = {s.q.data(), s.scale.data(), s.sum.data(), s.half_sum.data(), s.total.data(), s.half_total.data(), padded};
  each_row(context, tokens, in, [&](std::int64_t t) {
    context.table().quantise_row(x + t * in, in, padded, s.q.data() + t * padded, s.scale.data() + t * padded / 32,
                                 s.sum.data() + t * padded / 32, s.half_sum.data() + t * padded / 16,
                                 s.total.data() + t * padded / 32, s.half_total.data() + t * padded / 16);
  });
}

// To bf16; returns how far apart rows are.
std::int64_t round_rows(const Context& context, const float* x, std::int64_t tokens, std::int64_t in) {
  std::vector<std::uint16_t>& out = context.scratch().rounded;
  const std::int64_t stride = (in + kRoundedGroup - 1) / kRoundedGroup * kRoundedGroup;
  grow(out, tokens * stride);
  each_row(context, tokens, in,
           [&](std::int64_t t) { context.table().round_row(x + t * in, in, stride, out.data() + t * stride); });
  return stride;
}

// Types without a kernel of their own: the tile's rows decoded to f32, then the f32 kernel.
void decoded_tile(const Context& context, const tensor::TensorView& weight, std::int64_t row, MatmulTile tile,
                  int thread) {
  std::vector<float>& rows = context.scratch().per_thread[static_cast<std::size_t>(thread)];
  const auto needed = static_cast<std::size_t>(context.table().tile_rows * tile.in);
  if (rows.size() < needed) rows.resize(needed);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    tensor::decode_row(
        weight, row + r,
        std::span(rows).subspan(static_cast<std::size_t>(r * tile.in), static_cast<std::size_t>(tile.in)));
  }
  tile.weights = reinterpret_cast<const std::uint8_t*>(rows.data());
  tile.weight_row_bytes = tile.in * 4;
  context.table().matmul[static_cast<std::size_t>(tensor::DType::f32)](tile);
}

// Elementwise work over one long run of values, cut at multiples of 4096 so that vector tails stay where they are.
template <typename Run>
void each_run(const Context& context, std::int64_t count, const Run& run) {
  constexpr std::int64_t kRun = 4096;
  if (count < kSerialElements) return run(0, count);
  const std::int64_t runs = (count + kRun - 1) / kRun;
  context.pool().parallel_for(runs, std::max<std::int64_t>(1, runs / (4 * context.pool().threads())),
                              [&](std::int64_t begin, std::int64_t end, int) {
                                run(begin * kRun, std::min(count, end * kRun) - begin * kRun);
                              });
}

std::size_t cache_type_index(tensor::DType dtype) {
  switch (dtype) {
    case tensor::DType::f32:
      return 0;
    case tensor::DType::f16:
      return 1;
    case tensor::DType::bf16:
      return 2;
    default:
      expects(dtype == tensor::DType::q8_0, "a cache is f32, f16, bf16 or q8_0");
      return 3;
  }
}

// Tokens whose activations stay in the second cache level while tile after tile of weights is multiplied with them;
// fewer would have the weights unpacked too often. Multiples of what kernels take at a time, of equal size.
std::int64_t tokens_at_a_time(std::int64_t tokens, std::int64_t in, std::int64_t bytes_each) {
  constexpr std::int64_t kBytes = 384 << 10, kLeast = 48, kMultiple = 24;
  const std::int64_t most = std::max(kLeast, kBytes / (in * bytes_each) / kMultiple * kMultiple);
  return tokens <= most ? tokens : pieces(pieces(tokens, pieces(tokens, most)), kMultiple) * kMultiple;
}

Activations taken_by(const Context& context, const PackedMatrix& weight) {
  return context.table().takes[static_cast<std::size_t>(weight.dtype())];
}

/// Activations [tokens, in] as the kernels of the weights they are multiplied with take them, prepared once.
class Activated {
 public:
  Activated(const Context& context, const float* x, std::int64_t tokens, std::span<const MatmulTarget> targets)
      : context_(context), x_(x), tokens_(tokens), in_(targets[0].weight->in_features()) {
    bool taken[kActivations] = {};
    for (const MatmulTarget& target : targets) {
      expects(target.weight->in_features() == in_, "all targets of a matmul take the same input");
      taken[static_cast<int>(taken_by(context, *target.weight))] = true;
    }
    const bool any_float = taken[static_cast<int>(Activations::f32)],
               any_bf16 = taken[static_cast<int>(Activations::bf16)];
    if (taken[static_cast<int>(Activations::int8)]) quantise(context, x, tokens, in_, quantised_);
    if (any_bf16) rounded_stride_ = round_rows(context, x, tokens, in_);
    block_ = tokens_at_a_time(tokens, in_, any_float ? 4 : any_bf16 ? 2 : 1);
  }

  /// Tokens of a tile.
  std::int64_t block() const { return block_; }

  /// The products of tile_rows rows of a target's weight from `row` on with block() tokens from `first` on, or as many
  /// as there are; out[0], wherever that lies, belongs to the first of both.
  void multiply(const MatmulTarget& target, std::int64_t row, std::int64_t first, int thread, float* out,
                std::int64_t out_stride) const {
    const KernelTable& table = context_.table();
    const PackedMatrix::Impl& matrix = target.weight->impl();
    const tensor::TensorView& view = matrix.view;
    MatmulTile tile;
    tile.weight_row_bytes = view.row_bytes();
    tile.packed = matrix.packed != nullptr;
    tile.stream_ahead = table.stream_ahead;
    tile.weights =
        reinterpret_cast<const std::uint8_t*>(tile.packed ? matrix.packed : view.data) + row * tile.weight_row_bytes;
    tile.rows = std::min(table.tile_rows, view.shape[0] - row);
    tile.in = in_;
    tile.x = x_ + first * in_;
    tile.quantised = quantised_.from(first);
    tile.rounded = rounded_stride_ > 0 ? context_.scratch().rounded.data() + first * rounded_stride_ : nullptr;
    tile.rounded_stride = rounded_stride_;
    tile.tokens = std::min(block_, tokens_ - first);
    tile.out_stride = out_stride;
    tile.out = out;
    if (const auto kernel = table.matmul[static_cast<std::size_t>(view.dtype)])
      kernel(tile);
    else
      decoded_tile(context_, view, row, tile, thread);
    if (target.bounds == Bounds{}) return;
    for (std::int64_t t = 0; t < tile.tokens; ++t) {
      float* values = out + t * out_stride;
      table.clamp(values, tile.rows, target.bounds.low, target.bounds.high, values);
    }
  }

  /// Calls body(begin, end, first, thread) for runs of `tiles` tiles of rows and block after block of tokens, on all
  /// threads where that is worth waking them.
  template <typename Body>
  void each_run_of_tiles(std::int64_t tiles, const Body& body) const {
    const std::int64_t threads = context_.pool().threads(), blocks = pieces(tokens_, block_);
    if (tiles * context_.table().tile_rows * in_ * tokens_ < kSerialElements) {
      for (std::int64_t i = 0; i < blocks; ++i) body(0, tiles, i * block_, 0);
      return;
    }
    std::vector<std::int64_t>& ends = context_.scratch().ends;
    ends.clear();
    if (blocks == 1) {
      // Large pieces first, then smaller and smaller ones: no thread waits long for the last, and few pieces begin
      // elsewhere than at the bytes that the one before has asked for.
      for (std::int64_t end = 0; end < tiles; ends.push_back(end))
        end += std::max<std::int64_t>(1, (tiles - end) / threads);
    } else {
      // Some pieces for each thread, of as many tiles of rows as that leaves: a block of activations is read again from
      // a slower cache for every piece. Pieces of the same rows follow one another, so that weights come from memory
      // once.
      const std::int64_t rows = std::max<std::int64_t>(1, tiles * blocks / (8 * threads));
      for (std::int64_t end = 0; end < tiles; ends.push_back(end)) end = std::min(tiles, end + rows);
    }
    const auto part = [&](std::int64_t begin, std::int64_t end, int thread) {
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const auto piece = static_cast<std::size_t>(unit / blocks);
        body(piece == 0 ? 0 : ends[piece - 1], ends[piece], unit % blocks * block_, thread);
      }
    };
    // By reference: a copy of the closure would be allocated at every call.
    context_.pool().parallel_for(static_cast<std::int64_t>(ends.size()) * blocks, 1, std::ref(part));
  }

 private:
  const Context& context_;
  const float* x_;
  std::int64_t tokens_, in_, block_ = 0, rounded_stride_ = 0;
  QuantisedRows quantised_;
};

}  // namespace

void matmul(const Context& context, const float* x, std::int64_t tokens, std::span<const MatmulTarget> targets) {
  if (tokens == 0 || targets.empty()) return;
  const Activated activated(context, x, tokens, targets);
  const Tiles tiles(targets, context.table().tile_rows);
  activated.each_run_of_tiles(tiles.count, [&](std::int64_t begin, std::int64_t end, std::int64_t first, int thread) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto [target, row] = tiles.at(i);
      const std::int64_t stride = target->out_stride != 0 ? target->out_stride : target->weight->out_features();
      activated.multiply(*target, row, first, thread, target->out + first * stride + row, stride);
    }
  });
}

void gelu_gated_matmul(const Context& context, const float* x, std::int64_t tokens, const PackedMatrix& gate,
                       const PackedMatrix& up, float* out, const Bounds& gate_bounds, const Bounds& up_bounds) {
  if (tokens == 0) return;
  const std::int64_t width = gate.out_features(), rows = context.table().tile_rows;
  expects(up.out_features() == width, "gate and up have one shape");
  const MatmulTarget targets[] = {{&gate, nullptr, 0, gate_bounds}, {&up, nullptr, 0, up_bounds}};
  const Activated activated(context, x, tokens, targets);
  const std::int64_t block = activated.block();
  // Some tiles of one matrix before those of the other: memory is read in long runs (docs/benchmarks.md).
  constexpr std::int64_t kTiles = 64;
  const std::int64_t most = std::max<std::int64_t>(1, kTiles / block);
  activated.each_run_of_tiles(
      pieces(width, rows), [&](std::int64_t begin, std::int64_t end, std::int64_t first, int thread) {
        std::vector<float>& both = context.scratch().gated[static_cast<std::size_t>(thread)];
        grow(both, 2 * block * rows * most);
        const std::int64_t count = std::min(block, tokens - first);
        for (std::int64_t i = begin; i < end; i += most) {
          const std::int64_t run = std::min(most, end - i), stride = run * rows;
          float *const gates = both.data(), *const ups = gates + block * stride;
          for (std::int64_t j = 0; j < run; ++j)
            activated.multiply(targets[0], (i + j) * rows, first, thread, gates + j * rows, stride);
          for (std::int64_t j = 0; j < run; ++j)
            activated.multiply(targets[1], (i + j) * rows, first, thread, ups + j * rows, stride);
          const std::int64_t values = std::min(stride, width - i * rows);
          for (std::int64_t t = 0; t < count; ++t)
            context.table().gelu_tanh_mul(gates + t * stride, ups + t * stride, values,
                                          out + (first + t) * width + i * rows);
        }
      });
}

bool rounds_to_bf16(const Context& context, const PackedMatrix& weight) {
  return taken_by(context, weight) == Activations::bf16;
}

void rms_norm(const Context& context, const float* x, std::int64_t rows, std::int64_t width, const float* weight,
              float eps, float* y) {
  each_row(context, rows, width,
           [&](std::int64_t t) { context.table().rms_norm(x + t * width, width, weight, eps, y + t * width); });
}

void add_rms_norm(const Context& context, float* x, const float* y, std::int64_t rows, std::int64_t width,
                  const float* weight, float eps) {
  each_row(context, rows, width,
           [&](std::int64_t t) { context.table().add_rms_norm(x + t * width, y + t * width, width, weight, eps); });
}

void rope(const Context& context, float* x, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim,
          const float* cos, const float* sin, std::int64_t rotated_pairs) {
  expects(2 * rotated_pairs <= head_dim, "no more pairs turn than there are");
  each_row(context, tokens, heads * head_dim, [&](std::int64_t t) {
    context.table().rope(x + t * heads * head_dim, heads, head_dim, cos + t * rotated_pairs, sin + t * rotated_pairs,
                         rotated_pairs);
  });
}

void gelu_tanh_mul(const Context& context, const float* gate, const float* up, std::int64_t count, float* out) {
  each_run(context, count, [&](std::int64_t begin, std::int64_t n) {
    context.table().gelu_tanh_mul(gate + begin, up + begin, n, out + begin);
  });
}
void sigmoid_mul(const Context& context, const float* x, const float* gate, std::int64_t count, float* out) {
  each_run(context, count, [&](std::int64_t begin, std::int64_t n) {
    context.table().sigmoid_mul(x + begin, gate + begin, n, out + begin);
  });
}
void clamp(const Context& context, const float* x, std::int64_t count, const Bounds& bounds, float* out) {
  each_run(context, count, [&](std::int64_t begin, std::int64_t n) {
    context.table().clamp(x + begin, n, bounds.low, bounds.high, out + begin);
  });
}
void layer_norm(const Context& context, const float* x, std::int64_t rows, std::int64_t width, const float* weight,
                const float* bias, float eps, float* y) {
  each_row(context, rows, width, [&](std::int64_t t) {
    const float* from = x + t * width;
    float* to = y + t * width;
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < width; ++i) sum += static_cast<double>(from[i]);
    const double mean = sum / static_cast<double>(width);
    for (std::int64_t i = 0; i < width; ++i) {
      const double difference = static_cast<double>(from[i]) - mean;
      squares += difference * difference;
    }
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(eps));
    for (std::int64_t i = 0; i < width; ++i) {
      const auto normed = static_cast<float>((static_cast<double>(from[i]) - mean) * factor);
      to[i] = normed * weight[i] + (bias != nullptr ? bias[i] : 0.0F);
    }
  });
}
void softcap(const Context& context, float* x, std::int64_t count, float cap) {
  each_run(context, count, [&](std::int64_t begin, std::int64_t n) { context.table().softcap(x + begin, n, cap); });
}
void scale(const Context& context, float* x, std::int64_t count, float factor) {
  each_run(context, count, [&](std::int64_t begin, std::int64_t n) {
    for (float* p = x + begin; p < x + begin + n; ++p) *p *= factor;
  });
}
void add(const Context& context, float* x, const float* y, std::int64_t count) {
  each_run(context, count, [&](std::int64_t begin, std::int64_t n) {
    for (std::int64_t i = begin; i < begin + n; ++i) x[i] += y[i];
  });
}
void add_scaled(const Context& context, float* x, const float* y, std::int64_t count, float factor) {
  each_run(context, count, [&](std::int64_t begin, std::int64_t n) {
    for (std::int64_t i = begin; i < begin + n; ++i) x[i] += factor * y[i];
  });
}

std::int64_t kv_block_bytes(tensor::DType dtype, std::int64_t head_dim) {
  const std::int64_t padded = padded_dim(head_dim);
  if (dtype != tensor::DType::q8_0) return kKvBlock * padded * tensor::info(dtype).block_bytes;
  return kKvBlock * padded + (head_dim + kKvBlock - 1) / kKvBlock * kKvBlock * 2;
}

void kv_store(const Context& context, const KvView& cache, const float* k, const float* v, std::int64_t tokens,
              std::int64_t first_position) {
  expects(tokens <= cache.slots, "more positions than slots would overwrite each other");
  const auto store_value = context.table().store_value[cache_type_index(cache.dtype)];
  const auto store_key = context.table().store_key[cache_type_index(cache.dtype)];
  const std::int64_t heads = cache.num_kv_heads, dim = cache.head_dim, block = kv_block_bytes(cache.dtype, dim);
  each_row(context, tokens, 2 * heads * dim, [&](std::int64_t t) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t slot = (first_position + t) % cache.slots;
      const std::int64_t at = (h * (cache.slots / kKvBlock) + slot / kKvBlock) * block;
      store_key(k + (t * heads + h) * dim, dim, reinterpret_cast<std::uint8_t*>(cache.keys) + at, slot % kKvBlock);
      store_value(v + (t * heads + h) * dim, dim, reinterpret_cast<std::uint8_t*>(cache.values) + at, slot % kKvBlock);
    }
  });
}

void attention(const Context& context, const float* q, std::int64_t tokens, std::int64_t num_heads, const KvView& cache,
               const std::int64_t* key_begin, const std::int64_t* key_end, float scale, float* out) {
  const std::int64_t dim = cache.head_dim, group = num_heads / cache.num_kv_heads;
  expects(num_heads % cache.num_kv_heads == 0, "query heads share key-value heads evenly");
  static_assert(kKvBlock == kKeyBlock);
  expects(cache.slots % kKvBlock == 0, "rings are whole blocks");
  const auto kernel = context.table().attention[cache_type_index(cache.dtype)];
  const std::int64_t block = kv_block_bytes(cache.dtype, dim), head_bytes = cache.slots / kKvBlock * block;
  // As many rows share a block of keys as a tile takes; fewer where threads would stand idle. Which rows stand together
  // changes no result.
  const std::int64_t threads = context.pool().threads();
  std::int64_t heads = std::min(group, kAttentionRows), together = std::min(tokens, kAttentionRows / heads);
  const auto units = [&] { return cache.num_kv_heads * pieces(group, heads) * pieces(tokens, together); };
  while (units() < 4 * threads && together > 1) together = (together + 1) / 2;
  while (units() < threads && heads > 1) heads = (heads + 1) / 2;
  const std::int64_t head_pieces = pieces(group, heads), token_pieces = pieces(tokens, together);
  const auto body = [&](std::int64_t begin, std::int64_t end, int thread) {
    std::vector<float>& scratch = context.scratch().per_thread[static_cast<std::size_t>(thread)];
    grow(scratch, together * heads * dim);
    for (std::int64_t i = begin; i < end; ++i) {
      // One head after the other, so that its keys and values stay in a cache; the last tokens, which see the most of
      // them, first, so that no thread is left alone with them.
      const std::int64_t kv_head = i / (head_pieces * token_pieces), part = i % head_pieces * heads;
      const std::int64_t t = (token_pieces - 1 - i / head_pieces % token_pieces) * together;
      const std::int64_t first_head = kv_head * group + part;
      AttentionTile tile;
      tile.q = q + (t * num_heads + first_head) * dim;
      tile.out = out + (t * num_heads + first_head) * dim;
      tile.tokens = std::min(together, tokens - t);
      tile.token_stride = num_heads * dim;
      tile.heads = std::min(heads, group - part);
      tile.head_dim = dim;
      tile.keys = reinterpret_cast<const std::uint8_t*>(cache.keys) + kv_head * head_bytes;
      tile.values = reinterpret_cast<const std::uint8_t*>(cache.values) + kv_head * head_bytes;
      tile.block_bytes = block;
      tile.slots = cache.slots;
      tile.key_begin = key_begin + t;
      tile.key_end = key_end + t;
      tile.scale = scale;
      tile.scratch = scratch.data();
      kernel(tile);
    }
  };
  std::int64_t keys = 0;
  for (std::int64_t t = 0; t < tokens; ++t) keys += key_end[t] - key_begin[t];
  if (keys * num_heads * dim < kSerialElements) return body(0, units(), 0);
  context.pool().parallel_for(units(), 1, std::ref(body));
}

void local_attention(const Context& context, float* q, const float* k, const float* v, const float* relative,
                     std::int64_t tokens, std::int64_t num_heads, std::int64_t head_dim, std::int64_t seen, float cap) {
  const LocalAttention attention{q, k, v, relative, num_heads, head_dim, seen, cap};
  context.pool().parallel_for(tokens, 16, [&](std::int64_t begin, std::int64_t end, int thread) {
    std::vector<float>& scores = context.scratch().per_thread[static_cast<std::size_t>(thread)];
    grow(scores, seen);
    for (std::int64_t t = begin; t < end; ++t) context.table().local_attention(attention, t, scores.data());
  });
}

std::int64_t first_non_finite_row(const Context& context, const float* x, std::int64_t rows, std::int64_t width) {
  std::atomic<std::int64_t> first{rows};
  each_row(context, rows, width, [&](std::int64_t t) {
    if (context.table().all_finite(x + t * width, width)) return;
    std::int64_t seen = first.load();
    while (t < seen && !first.compare_exchange_weak(seen, t)) {
    }
  });
  return first == rows ? -1 : first.load();
}

}  // namespace carat::kernels
