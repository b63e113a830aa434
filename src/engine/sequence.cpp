#include "engine/sequence.h"

#include <algorithm>

#include "base/checked.h"

namespace carat::engine {

Result<Sequence> Sequence::create(const model::Config& config, tensor::DType cache_type, std::int64_t context_length,
                                  std::int64_t prompt_chunk, std::int64_t snapshot_bytes, std::int64_t image_block) {
  Sequence out;
  auto cache = model::KvCache::create(config, cache_type, context_length, prompt_chunk, image_block);
  if (!cache) return forward(cache);
  out.cache_ = std::move(*cache);
  out.snapshot_bytes_ = snapshot_bytes;
  return out;
}

std::int64_t longest_block(const model::Config& config, std::span<const SoftRun> soft) {
  std::int64_t longest = 0;
  if (config.vision_blocks == model::VisionBlocks::causal) return 0;
  for (const SoftRun& run : soft) longest = std::max(longest, run.block ? run.count : 0);
  return longest;
}

// How many positions of the cache are those of the prompt: the same ids, and the same rows where rows stand for them.
// At least the last token is computed, for its logits; and a block whose rows see one another is there whole or not.
std::int64_t Sequence::shared_prefix(const model::Config& config, std::span<const TokenId> prompt,
                                     std::span<const SoftRun> soft) const {
  std::int64_t shared = std::mismatch(ids_.begin(), ids_.end(), prompt.begin(), prompt.end()).first - ids_.begin();
  shared = std::min(shared, static_cast<std::int64_t>(prompt.size()) - 1);
  for (std::size_t i = 0; i < std::max(soft.size(), soft_.size()); ++i) {
    if (i < soft.size() && i < soft_.size()) {
      const SoftRun &a = soft[i], &b = soft_[i];
      if (a.begin == b.begin && a.count == b.count && a.key == b.key) continue;
      shared = std::min({shared, a.begin, b.begin});
    } else {
      shared = std::min(shared, i < soft.size() ? soft[i].begin : soft_[i].begin);
    }
    break;
  }
  if (config.vision_blocks == model::VisionBlocks::causal) return shared;
  for (const SoftRun& run : soft) {
    if (run.block && run.begin < shared && shared < run.begin + run.count) shared = run.begin;
  }
  return shared;
}

// Goes back to the longest state within the first `common` positions; returns its length.
std::int64_t Sequence::rewind(std::int64_t common) {
  if (cache_.can_truncate(common)) {
    cache_.truncate(common);
  } else {
    const auto usable = [&](const model::KvCache::RingSnapshot& s) { return s.floor <= common; };
    const auto last = std::find_if(snapshots_.rbegin(), snapshots_.rend(), usable);
    if (last == snapshots_.rend()) {
      cache_.truncate(0);
    } else {
      cache_.restore(*last);
      cache_.truncate(std::min(common, last->length));
    }
  }
  // What comes after will be written anew, so snapshots beyond are of another text.
  std::erase_if(snapshots_, [&](const auto& s) { return s.length > cache_.length(); });
  ids_.resize(static_cast<std::size_t>(cache_.length()));
  std::erase_if(soft_, [&](const SoftRun& run) { return run.begin >= cache_.length(); });
  return cache_.length();
}

void Sequence::remember() {
  if (!snapshots_.empty() && snapshots_.back().length == cache_.length()) return;
  // Counted before anything is copied: of a large model one snapshot is most of a gigabyte.
  const std::int64_t size = cache_.snapshot_bytes();
  if (size == 0 || size > snapshot_bytes_) return;
  std::int64_t total = size;
  for (const auto& s : snapshots_) total += static_cast<std::int64_t>(s.bytes.size());
  while (total > snapshot_bytes_) {
    total -= static_cast<std::int64_t>(snapshots_.front().bytes.size());
    snapshots_.erase(snapshots_.begin());
  }
  snapshots_.push_back(cache_.snapshot());
}

Result<std::span<const float>> Sequence::prefill(const Compute& compute, std::span<const TokenId> prompt,
                                                 const PromptProgress& progress, std::span<const SoftRun> soft) {
  const model::Config& config = compute.transformer.config();
  base::expects(longest_block(config, soft) <= cache_.image_block(), "the cache was made for shorter images");
  const auto total = static_cast<std::int64_t>(prompt.size());
  reused_ = rewind(shared_prefix(config, prompt, soft));
  const bool whole_blocks = config.vision_blocks != model::VisionBlocks::causal;
  std::span<const float> logits;
  while (cache_.length() < total) {
    const std::int64_t begin = cache_.length();
    std::int64_t end = std::min(begin + cache_.prompt_chunk(), total);
    std::vector<model::SoftRows> rows;
    for (const SoftRun& run : soft) {
      const std::int64_t run_end = run.begin + run.count;
      if (whole_blocks && run.block && run.begin < end && end < run_end) {
        // A block goes into one pass: this one when it begins with it, else the next.
        end = run.begin > begin ? run.begin : run_end;
      }
      const std::int64_t from = std::max(run.begin, begin), to = std::min(run_end, end);
      if (from >= to) continue;
      rows.push_back({from - begin, to - from, run.rows + (from - run.begin) * config.hidden_size, run.block});
    }
    if (progress && !progress(begin, total)) return fail(ErrorCode::cancelled, "cancelled while reading the prompt");
    const std::int64_t count = end - begin;
    const model::SequenceChunk chunk{&cache_,
                                     prompt.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
                                     end == total ? count - 1 : count, rows};
    auto result = compute.transformer.forward(compute.context, compute.workspace, {&chunk, 1});
    if (!result) return result;
    ids_.insert(ids_.end(), chunk.tokens.begin(), chunk.tokens.end());
    for (const SoftRun& run : soft) {
      if (run.begin >= begin && run.begin < end) soft_.push_back({run.begin, run.count, run.key, nullptr, run.block});
    }
    logits = *result;
  }
  if (progress) progress(total, total);
  remember();
  return logits;
}

Result<std::span<const float>> Sequence::decode(const Compute& compute, TokenId token) {
  const model::SequenceChunk chunk{&cache_, {&token, 1}, 0};
  auto result = compute.transformer.forward(compute.context, compute.workspace, {&chunk, 1});
  if (result) ids_.push_back(token);
  return result;
}

void Sequence::reset() {
  cache_.clear();
  ids_.clear();
  soft_.clear();
  snapshots_.clear();
}

}  // namespace carat::engine
