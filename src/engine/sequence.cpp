#include "engine/sequence.h"

#include <algorithm>

#include "base/checked.h"

namespace carat::engine {

Result<Sequence> Sequence::create(const model::Config& config, tensor::DType cache_type, std::int64_t context_length,
                                  std::int64_t prompt_chunk, std::int64_t snapshot_bytes) {
  Sequence out;
  auto cache = model::KvCache::create(config, cache_type, context_length, prompt_chunk);
  if (!cache) return forward(cache);
  out.cache_ = std::move(*cache);
  out.snapshot_bytes_ = snapshot_bytes;
  return out;
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
  return cache_.length();
}

void Sequence::remember() {
  if (!snapshots_.empty() && snapshots_.back().length == cache_.length()) return;
  auto snapshot = cache_.snapshot();
  const auto size = static_cast<std::int64_t>(snapshot.bytes.size());
  if (size == 0 || size > snapshot_bytes_) return;
  std::int64_t total = size;
  for (const auto& s : snapshots_) total += static_cast<std::int64_t>(s.bytes.size());
  while (total > snapshot_bytes_) {
    total -= static_cast<std::int64_t>(snapshots_.front().bytes.size());
    snapshots_.erase(snapshots_.begin());
  }
  snapshots_.push_back(std::move(snapshot));
}

Result<std::span<const float>> Sequence::prefill(const Compute& compute, std::span<const TokenId> prompt,
                                                 const PromptProgress& progress) {
  const auto total = static_cast<std::int64_t>(prompt.size());
  const auto shared = std::mismatch(ids_.begin(), ids_.end(), prompt.begin(), prompt.end()).first - ids_.begin();
  // At least the last token is computed, for its logits.
  reused_ = rewind(std::min<std::int64_t>(shared, total - 1));
  std::span<const float> logits;
  while (cache_.length() < total) {
    const std::int64_t begin = cache_.length(), count = std::min(cache_.prompt_chunk(), total - begin);
    if (progress && !progress(begin, total)) return fail(ErrorCode::cancelled, "cancelled while reading the prompt");
    const bool last = begin + count == total;
    const model::SequenceChunk chunk{&cache_,
                                     prompt.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
                                     last ? count - 1 : count};
    auto result = compute.transformer.forward(compute.context, compute.workspace, {&chunk, 1});
    if (!result) return result;
    ids_.insert(ids_.end(), chunk.tokens.begin(), chunk.tokens.end());
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
  snapshots_.clear();
}

}  // namespace carat::engine
