// Scratch memory of forward passes: the rows in flight and every intermediate, grown once and reused.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace carat::model {

class KvCache;
using TokenId = std::int32_t;

/// The rows of one sequence among all rows in flight.
struct SequenceRows {
  KvCache* cache = nullptr;
  std::int64_t first_row = 0, count = 0;
};

/// The rows in flight: all new tokens at first, later only those whose logits are wanted.
struct Rows {
  std::int64_t count = 0;
  std::vector<TokenId> tokens;
  std::vector<std::int64_t> positions;
  /// Per row the positions [begin, end) of the image block it belongs to, both 0 outside; empty when no row has one.
  std::vector<std::array<std::int64_t, 2>> blocks;
  std::vector<SequenceRows> sequences;
};

/// One per concurrently computing caller. Names follow the reference's variables; T rows in flight.
struct Workspace {
  Rows rows;
  std::vector<float> x;                          ///< [T, hidden] residual stream
  std::vector<float> h;                          ///< [T, hidden] normed input of a branch
  std::vector<float> branch;                     ///< [T, hidden] output of a branch
  std::vector<float> q, k, v, attended;          ///< [T, heads, head_dim]
  std::vector<float> gate;                       ///< [T, intermediate_size] gelu(gate) * up
  std::vector<float> ple_head, ple_tail;         ///< per-layer inputs up to and after the last layer that owns keys
  std::vector<float> ple_rows;                   ///< [T, hidden] input embeddings, kept for ple_tail
  std::vector<float> ple_row, ple_gate;          ///< one decoded table row; [T, per-layer width]
  std::vector<float> logits;                     ///< [rows, vocab_size]
  std::vector<std::vector<float>> cos, sin;      ///< per rotary embedding: [T, rotated_pairs]
  std::vector<std::int64_t> key_begin, key_end;  ///< [T] positions a row sees

  // Mixture of experts.
  std::vector<float> expert_in, expert_out, router;  ///< [T, hidden], [T, hidden], [T, experts]
  std::vector<std::int32_t> expert_ids;              ///< [T, top_k]
  std::vector<float> expert_weights;                 ///< [T, top_k]
  std::vector<std::int64_t> expert_tokens;           ///< rows of the expert at hand
  std::vector<float> expert_rows;                    ///< their inputs and outputs, gathered
};

}  // namespace carat::model
