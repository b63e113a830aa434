// What the dispatcher and the ISA folders agree on: plain structs of pointers and sizes, and the table of functions an
// ISA offers. Code compiled with ISA flags includes this, <cstdint>, <cstddef> and intrinsics, nothing else.
#pragma once

#include <cstddef>
#include <cstdint>

namespace carat::kernels {

/// Number of tensor::DType values, checked against it in dispatch.cpp.
inline constexpr int kMatmulTypes = 26;
/// Quantised activations are padded with zeros to a multiple of this; one pass of the integer kernels covers as many.
inline constexpr std::int64_t kActivationGroup = 512;

/// A block of a type as kernels read it: some 16-bit numbers and a run of 32-bit words, offsets in bytes.
struct BlockFields {
  int values = 0, bytes = 0, halves_at = 0, halves = 0, words_at = 0, words = 0;
  /// Packed rows have the words in the order in which kernels read them, so that memory is read in the order of its
  /// bytes: the place of each four of words, where that is not its own.
  bool reordered = false;
  std::uint8_t fours[13] = {};

  /// The place of word `w` of a block in packed rows.
  [[gnu::always_inline]] constexpr std::int64_t packed_place(std::int64_t w) const {
    return reordered ? 4 * fours[w / 4] + w % 4 : w;
  }
};
/// By tensor::DType; no bytes where a type cannot be packed.
constexpr BlockFields block_fields(int type) {
  switch (type) {
    case 0:  // f32
      return {.values = 1, .bytes = 4, .halves_at = 0, .halves = 0, .words_at = 0, .words = 1};
    case 1:  // f16: vectors of halves are what is converted
      return {.values = 1, .bytes = 2, .halves_at = 0, .halves = 1, .words_at = 0, .words = 0};
    case 2:  // bf16: two columns in a word, each a shift or a mask away from f32
      return {.values = 2, .bytes = 4, .halves_at = 0, .halves = 0, .words_at = 0, .words = 1};
    case 13:  // q4_0: scale, nibbles
    case 23:  // iq4_nl
      return {.values = 32, .bytes = 18, .halves_at = 0, .halves = 1, .words_at = 2, .words = 4};
    case 14:  // q4_1: scale, minimum, nibbles
      return {.values = 32, .bytes = 20, .halves_at = 0, .halves = 2, .words_at = 4, .words = 4};
    case 15:  // q5_0: scale, fifth bits, nibbles
      return {.values = 32, .bytes = 22, .halves_at = 0, .halves = 1, .words_at = 2, .words = 5};
    case 16:  // q5_1
      return {.values = 32, .bytes = 24, .halves_at = 0, .halves = 2, .words_at = 4, .words = 5};
    case 17:  // q8_0: scale, bytes
      return {.values = 32, .bytes = 34, .halves_at = 0, .halves = 1, .words_at = 2, .words = 8};
    case 20:  // q4_k: both scales in one word, 3 words of 6-bit scales, 32 of nibbles
      return {.values = 256, .bytes = 144, .halves_at = 0, .halves = 0, .words_at = 0, .words = 36};
    case 21:  // q5_k: 8 words of fifth bits before the nibbles
      return {.values = 256, .bytes = 176, .halves_at = 0, .halves = 0, .words_at = 0, .words = 44};
    case 22:  // q6_k: 32 words of nibbles, 16 of bit pairs, 4 of scales, and a scale at the end
      return {.values = 256,
              .bytes = 210,
              .halves_at = 208,
              .halves = 1,
              .words_at = 0,
              .words = 52,
              .reordered = true,
              .fours = {2, 5, 3, 6, 8, 11, 9, 12, 1, 4, 7, 10, 0}};
    default:
      return {};
  }
}

/// Activations in bf16 are padded with zeros to a multiple of this.
inline constexpr std::int64_t kRoundedGroup = 32;

/// Rows of activations as 8-bit integers: x[i] ≈ scale[i / 32] * q[i].
struct QuantisedRows {
  const std::int8_t* q = nullptr;     ///< [T][padded]
  const float* scale = nullptr;       ///< [T][padded / 32]
  const float* sum = nullptr;         ///< [T][padded / 32] scale * sum of the block's q
  const float* half_sum = nullptr;    ///< [T][padded / 16] the same over halves of blocks
  const float* total = nullptr;       ///< [T][padded / 32] sum of the block's q
  const float* half_total = nullptr;  ///< [T][padded / 16] the same over halves of blocks
  std::int64_t padded = 0;

  /// The same rows from one of them on.
  constexpr QuantisedRows from(std::int64_t row) const {
    if (q == nullptr) return *this;
    const std::int64_t blocks = row * padded / 32;
    return {q + row * padded, scale + blocks,          sum + blocks, half_sum + 2 * blocks,
            total + blocks,   half_total + 2 * blocks, padded};
  }
};

/// How the kernels of a type take activations: as they are, rounded to 8 bits per block of 32, or rounded to bf16.
enum class Activations : std::uint8_t { f32, int8, bf16 };
inline constexpr int kActivations = 3;

/// A tile of a matmul: out[t * out_stride + r] = sum_i weights[r][i] * x[t][i] for r < rows, t < tokens.
struct MatmulTile {
  /// Rows `weight_row_bytes` apart; or, `packed`, groups of KernelTable::packed_rows rows, those past the last one
  /// there too: for every block the halves of all rows, then word after word of all rows.
  const std::uint8_t* weights = nullptr;
  std::int64_t weight_row_bytes = 0;
  bool packed = false;
  std::int64_t stream_ahead = 0;  ///< KernelTable::stream_ahead
  std::int64_t rows = 0;          ///< at most KernelTable::tile_rows
  std::int64_t in = 0;
  const float* x = nullptr;                ///< [T][in], for kernels that take f32 activations
  QuantisedRows quantised;                 ///< for kernels that take 8-bit activations
  const std::uint16_t* rounded = nullptr;  ///< bf16 [T][rounded_stride], zeros behind `in`; for kernels that take those
  std::int64_t rounded_stride = 0;         ///< a multiple of kRoundedGroup
  std::int64_t tokens = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

/// Positions whose keys and values lie together, a block. In the order in which they are read, strips of kStrip lanes:
/// keys [kKeyBlock / kStrip][dimensions][kStrip positions], values [dimensions / kStrip][kKeyBlock][kStrip dimensions],
/// with zeros behind head_dim up to a multiple of kStrip. Where a table multiplies pairs of bf16, two dimensions of a
/// key and two positions of a value lie beside each other in a lane. A block of q8_0 holds 8-bit integers and behind
/// them f16 scales [head_dim / kKeyBlock, rounded up][kKeyBlock], one for each kKeyBlock dimensions of a position.
inline constexpr std::int64_t kKeyBlock = 32, kStrip = 16;
/// Dimensions of a block, those that fill its last strip counted.
constexpr std::int64_t padded_dim(std::int64_t head_dim) { return (head_dim + kStrip - 1) / kStrip * kStrip; }
/// f32, f16, bf16 and q8_0.
inline constexpr int kCacheTypes = 4;
/// The most rows (tokens times heads) of an attention tile.
inline constexpr std::int64_t kAttentionRows = 96;

/// Attention of some tokens' query heads that share a KV head: q and out hold [heads][head_dim] per token.
struct AttentionTile {
  const float* q = nullptr;
  float* out = nullptr;
  std::int64_t tokens = 0, token_stride = 0;  ///< floats between the tokens of q and of out
  std::int64_t heads = 0, head_dim = 0;
  const std::uint8_t *keys = nullptr, *values = nullptr;  ///< of the KV head, slots / kKeyBlock blocks
  std::int64_t block_bytes = 0;                           ///< of keys, and of values
  std::int64_t slots = 0;
  const std::int64_t *key_begin = nullptr,
                     *key_end = nullptr;  ///< [tokens] positions; position p lies in slot p % slots
  float scale = 1;
  float* scratch = nullptr;  ///< [tokens * heads * head_dim], the kernel's own
};

/// Attention of positions to themselves and to the `seen` - 1 before them, with a key for every distance:
/// score[d] = cap * tanh((q k[t - d] + q R[d]) / cap).
struct LocalAttention {
  float* q = nullptr;  ///< [T, heads, head_dim] queries, scaled already; what they attend to takes their place
  const float *k = nullptr, *v = nullptr;  ///< [T, heads, head_dim]
  const float* relative = nullptr;         ///< R [seen, heads, head_dim]
  std::int64_t heads = 0, head_dim = 0, seen = 0;
  float cap = 1;
};

/// One ISA's functions. A matmul that is nullptr has its weights decoded to f32; busy_int8, busy_bf16 and, where
/// nothing takes bf16, round_row may be; every other must be there.
struct KernelTable {
  const char* name = nullptr;
  /// Per tensor::DType. A type no table has is decoded to f32 and takes the f32 kernel.
  void (*matmul[kMatmulTypes])(const MatmulTile&) = {};
  Activations takes[kMatmulTypes] = {};
  /// The most rows of a MatmulTile.
  std::int64_t tile_rows = 16;
  /// Rows in a group of packed weights, a divisor of tile_rows; 0 for a table that reads none. Kernels that take 8-bit
  /// activations read the types that block_fields knows either way.
  std::int64_t packed_rows = 0;
  /// How many bytes before they are read one token's packed weights are asked for; 0 for never. The processor's, not
  /// the instruction set's: the dispatcher sets it.
  std::int64_t stream_ahead = 0;

  void (*quantise_row)(const float* x, std::int64_t in, std::int64_t padded, std::int8_t* q, float* scale, float* sum,
                       float* half_sum, float* total, float* half_total) = nullptr;
  /// To nearest, ties to even; zeros from `in` to `padded`.
  void (*round_row)(const float* x, std::int64_t in, std::int64_t padded, std::uint16_t* out) = nullptr;
  void (*rms_norm)(const float* x, std::int64_t width, const float* weight, float eps, float* y) = nullptr;
  void (*add_rms_norm)(float* x, const float* y, std::int64_t width, const float* weight, float eps) = nullptr;
  void (*rope)(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos, const float* sin,
               std::int64_t rotated_pairs) = nullptr;
  void (*gelu_tanh_mul)(const float* gate, const float* up, std::int64_t count, float* out) = nullptr;
  void (*sigmoid_mul)(const float* x, const float* gate, std::int64_t count, float* out) = nullptr;
  void (*softcap)(float* x, std::int64_t count, float cap) = nullptr;
  /// NaN stays NaN.
  void (*clamp)(const float* x, std::int64_t count, float low, float high, float* out) = nullptr;
  bool (*all_finite)(const float* x, std::int64_t count) = nullptr;
  /// Position t of local_attention; `scores` takes as many floats as it sees positions.
  void (*local_attention)(const LocalAttention&, std::int64_t t, float* scores) = nullptr;
  /// By cache type: 0 f32, 1 f16, 2 bf16, 3 q8_0. The store functions put position `at` < kKeyBlock into its block.
  void (*attention[kCacheTypes])(const AttentionTile&) = {};
  void (*store_key[kCacheTypes])(const float* x, std::int64_t head_dim, std::uint8_t* block, std::int64_t at) = {};
  void (*store_value[kCacheTypes])(const float* x, std::int64_t head_dim, std::uint8_t* block, std::int64_t at) = {};
  /// Where queries and the softmax's weights are rounded to the cache's type.
  bool rounds_queries[kCacheTypes] = {};

  /// Keep the arithmetic units busy for some rounds with what matmuls are made of; return the multiply-adds done.
  /// `sink` takes 16 floats, so that nothing can be left out.
  std::int64_t (*busy_int8)(std::int64_t rounds, float* sink) = nullptr;
  std::int64_t (*busy_bf16)(std::int64_t rounds, float* sink) = nullptr;
  std::int64_t (*busy_float)(std::int64_t rounds, float* sink) = nullptr;
};

}  // namespace carat::kernels
