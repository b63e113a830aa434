// Keys and values of one sequence: a ring for each sliding layer, bounded by the window; a growing table for each full
// layer. Layers that read another's keys own nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "base/reserved_memory.h"
#include "carat/result.h"
#include "kernels/ops.h"
#include "model/config.h"

namespace carat::model {

/// Layout of one layer's keys and values: [num_key_value_heads][slots * head_dim] each, position p in slot p % slots;
/// how slots lie within a head is kernels::KvView's matter.
struct KvLayerLayout {
  std::int64_t slots = 0;  ///< a multiple of kernels::kKvBlock; 0 where the layer owns nothing
  std::int64_t bytes = 0;  ///< keys and values together, all slots
  std::size_t key_offset = 0, value_offset = 0;
};

/// The byte plan of a cache, computed without allocating. Memory is committed as positions are written: all of it at
/// `context_length` positions, kv_bytes(config, …, n) at n.
struct KvPlan {
  std::vector<KvLayerLayout> layers;
  std::int64_t total_bytes = 0;
};
KvPlan plan_kv_cache(const Config& config, tensor::DType dtype, std::int64_t context_length, std::int64_t prompt_chunk,
                     std::int64_t image_block = 0);

/// Bytes the positions [0, tokens) occupy under a plan.
std::int64_t kv_bytes(const Config& config, const KvPlan& plan, tensor::DType dtype, std::int64_t tokens);

/// Not thread-safe; one sequence.
class KvCache {
 public:
  /// `prompt_chunk`: the most tokens one forward pass will add, `image_block` the most that stand in one block whose
  /// tokens see one another (a pass may add so many, too). out_of_memory when address space is refused.
  static Result<KvCache> create(const Config& config, tensor::DType dtype, std::int64_t context_length,
                                std::int64_t prompt_chunk, std::int64_t image_block = 0);

  /// The keys and values layer `layer` reads (its own, or its kv_source's).
  kernels::KvView view(std::int64_t layer) const;
  /// The most positions that can be stored at once in layer `layer` before the first of them attends.
  std::int64_t store_span(std::int64_t layer) const;

  std::int64_t length() const { return length_; }
  std::int64_t context_length() const { return context_length_; }
  std::int64_t prompt_chunk() const { return prompt_chunk_; }
  std::int64_t image_block() const { return image_block_; }
  tensor::DType dtype() const { return dtype_; }
  const KvPlan& plan() const { return plan_; }

  /// Whether positions from `length` on can be dropped: rings must still hold the window before it.
  bool can_truncate(std::int64_t length) const;
  /// Drops positions from `length` on. Requires can_truncate(length).
  void truncate(std::int64_t length);
  void append(std::int64_t tokens);  ///< called by the forward pass once the tokens are stored
  void clear();                      ///< drops everything and gives the memory back

  /// A copy of what the rings hold of the window before the current length and a little more, so that a later state can
  /// come back to any length in [floor, length] even after the rings have moved on. Full layers need none: their
  /// positions stay.
  struct RingSnapshot {
    std::int64_t length = 0, floor = 0;
    std::vector<std::byte> bytes;
  };
  RingSnapshot snapshot() const;
  std::int64_t snapshot_bytes() const;  ///< what a snapshot taken now would hold
  /// Returns to a snapshot taken on this cache. Requires that positions before its length have not been rewritten
  /// since.
  void restore(const RingSnapshot& snapshot);

 private:
  std::int64_t snapshot_floor() const;

  std::vector<LayerSpec> specs_;
  tensor::DType dtype_ = tensor::DType::f16;
  std::int64_t context_length_ = 0, prompt_chunk_ = 0, image_block_ = 0, length_ = 0;
  std::int64_t written_ = 0;  ///< one past the highest position the rings hold
  std::int64_t floor_ = 0;    ///< the rings hold nothing older than the window before this length
  KvPlan plan_;
  base::ReservedMemory memory_;

  template <typename Copy>
  void each_ring_block(std::int64_t floor, std::int64_t length, Copy copy) const;
};

}  // namespace carat::model
