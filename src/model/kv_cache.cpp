#include "model/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"

namespace carat::model {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

// Offsets start on pages, so that a ring's memory is its own.
constexpr std::int64_t kPage = 4096;

// Whether rows attend a layer's keys only after the whole chunk was stored: later layers that share them do, and so do
// the rows that go on past the last layer that owns keys.
bool read_after_whole_chunk(const Config& config, std::int64_t layer) {
  if (layer == config.last_kv_owner()) return true;
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    if (static_cast<std::int64_t>(i) != layer && config.layers[i].kv_source == layer) return true;
  }
  return false;
}

}  // namespace

KvPlan plan_kv_cache(const Config& config, tensor::DType dtype, std::int64_t context_length, std::int64_t prompt_chunk,
                     std::int64_t image_block) {
  KvPlan plan;
  const std::int64_t all = round_up(context_length, kernels::kKvBlock);
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerSpec& spec = config.layers[i];
    KvLayerLayout layout;
    if (spec.kv_source == static_cast<std::int64_t>(i)) {
      layout.slots = all;
      if (spec.sliding_window > 0) {
        // A ring holds the window and what one store adds to it: the whole chunk, or one block where chunks are stored
        // and attended block by block; and an image whose rows see one another.
        std::int64_t slack = read_after_whole_chunk(config, static_cast<std::int64_t>(i))
                                 ? std::max(prompt_chunk, kernels::kKvBlock)
                                 : kernels::kKvBlock;
        if (config.vision_blocks != VisionBlocks::causal) slack = std::max(slack, image_block);
        layout.slots = std::min(all, round_up(spec.sliding_window + slack, kernels::kKvBlock));
      }
      const std::int64_t half =
          spec.num_key_value_heads * (layout.slots / kernels::kKvBlock) * kernels::kv_block_bytes(dtype, spec.head_dim);
      layout.bytes = 2 * half;
      layout.key_offset = static_cast<std::size_t>(plan.total_bytes);
      layout.value_offset = layout.key_offset + static_cast<std::size_t>(round_up(half, kPage));
      plan.total_bytes += 2 * round_up(half, kPage);
    }
    plan.layers.push_back(layout);
  }
  return plan;
}

std::int64_t kv_bytes(const Config& config, const KvPlan& plan, tensor::DType dtype, std::int64_t tokens) {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    const LayerSpec& spec = config.layers[i];
    bytes += 2 * std::min(tokens, plan.layers[i].slots) * spec.num_key_value_heads *
             (kernels::kv_block_bytes(dtype, spec.head_dim) / kernels::kKvBlock);
  }
  return bytes;
}

Result<KvCache> KvCache::create(const Config& config, tensor::DType dtype, std::int64_t context_length,
                                std::int64_t prompt_chunk, std::int64_t image_block) {
  KvCache cache;
  cache.specs_ = config.layers;
  cache.dtype_ = dtype;
  cache.context_length_ = context_length;
  cache.prompt_chunk_ = prompt_chunk;
  cache.image_block_ = image_block;
  cache.plan_ = plan_kv_cache(config, dtype, context_length, prompt_chunk, image_block);
  auto memory = base::ReservedMemory::reserve(static_cast<std::size_t>(cache.plan_.total_bytes));
  if (!memory) return forward(memory);
  cache.memory_ = std::move(*memory);
  return cache;
}

kernels::KvView KvCache::view(std::int64_t layer) const {
  const std::int64_t source = specs_[static_cast<std::size_t>(layer)].kv_source;
  const LayerSpec& spec = specs_[static_cast<std::size_t>(source)];
  const KvLayerLayout& layout = plan_.layers[static_cast<std::size_t>(source)];
  kernels::KvView view;
  view.dtype = dtype_;
  view.keys = memory_.data() + layout.key_offset;
  view.values = memory_.data() + layout.value_offset;
  view.slots = layout.slots;
  view.num_kv_heads = spec.num_key_value_heads;
  view.head_dim = spec.head_dim;
  return view;
}

std::int64_t KvCache::store_span(std::int64_t layer) const {
  const LayerSpec& spec = specs_[static_cast<std::size_t>(layer)];
  const KvLayerLayout& layout = plan_.layers[static_cast<std::size_t>(layer)];
  // The first of n stored rows still needs the window - 1 positions before it; a ring that never wraps has no limit.
  if (spec.sliding_window == 0 || layout.slots >= context_length_) return context_length_;
  return layout.slots - spec.sliding_window + 1;
}

bool KvCache::can_truncate(std::int64_t length) const {
  if (length < 0 || length > length_) return false;
  if (length == 0) return true;
  if (length < floor_) return false;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const std::int64_t slots = plan_.layers[i].slots;
    if (specs_[i].sliding_window == 0 || slots == 0) continue;
    const std::int64_t oldest_needed = std::max<std::int64_t>(0, length - specs_[i].sliding_window + 1);
    if (oldest_needed < written_ - slots) return false;
  }
  return true;
}

void KvCache::truncate(std::int64_t length) {
  base::expects(can_truncate(length), "a ring no longer holds the window before the new length");
  length_ = length;
  if (length == 0) written_ = floor_ = 0;
}

void KvCache::append(std::int64_t tokens) {
  length_ += tokens;
  written_ = std::max(written_, length_);
}

void KvCache::clear() {
  length_ = written_ = floor_ = 0;
  memory_.release();
}

// Calls copy(cache bytes, size) for every block of ring slots that holds a position of the windows before floor …
// length, in a fixed order. Keys are interleaved within a block, so blocks are what can be copied.
template <typename Copy>
void KvCache::each_ring_block(std::int64_t floor, std::int64_t length, Copy copy) const {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const LayerSpec& spec = specs_[i];
    const KvLayerLayout& layout = plan_.layers[i];
    if (spec.sliding_window == 0 || layout.slots == 0) continue;
    const std::int64_t ring = layout.slots / kernels::kKvBlock;
    const std::int64_t first = std::max<std::int64_t>(0, floor - spec.sliding_window + 1) / kernels::kKvBlock;
    // The first and the last block of positions may share a block of slots.
    const std::int64_t last = std::min(first + ring, round_up(length, kernels::kKvBlock) / kernels::kKvBlock);
    const auto bytes = static_cast<std::size_t>(kernels::kv_block_bytes(dtype_, spec.head_dim));
    for (const std::size_t offset : {layout.key_offset, layout.value_offset}) {
      for (std::int64_t head = 0; head < spec.num_key_value_heads; ++head) {
        for (std::int64_t block = first; block < last; ++block) {
          copy(memory_.data() + offset + static_cast<std::size_t>(head * ring + block % ring) * bytes, bytes);
        }
      }
    }
  }
}

// Rings have a block of slack beyond the window, so that much more can be taken back. The next prompt often differs
// from this one in its last few tokens (the opened model turn).
std::int64_t KvCache::snapshot_floor() const {
  return length_ < written_ ? length_ : std::max({std::int64_t{1}, floor_, length_ - kernels::kKvBlock + 1});
}

std::int64_t KvCache::snapshot_bytes() const {
  std::size_t size = 0;
  each_ring_block(snapshot_floor(), length_, [&](std::byte*, std::size_t bytes) { size += bytes; });
  return static_cast<std::int64_t>(size);
}

KvCache::RingSnapshot KvCache::snapshot() const {
  RingSnapshot out;
  out.length = length_;
  out.floor = snapshot_floor();
  out.bytes.reserve(static_cast<std::size_t>(snapshot_bytes()));
  each_ring_block(out.floor, length_,
                  [&](std::byte* data, std::size_t bytes) { out.bytes.insert(out.bytes.end(), data, data + bytes); });
  return out;
}

void KvCache::restore(const RingSnapshot& snapshot) {
  const std::byte* from = snapshot.bytes.data();
  each_ring_block(snapshot.floor, snapshot.length, [&](std::byte* data, std::size_t bytes) {
    std::memcpy(data, from, bytes);
    from += bytes;
  });
  length_ = written_ = snapshot.length;
  floor_ = snapshot.floor;
}

}  // namespace carat::model
