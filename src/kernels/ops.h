// The operations models call. Each checks its shapes in debug builds and splits its work over the thread pool; the work
// itself is done by the kernel table the context holds. Every result row depends on its inputs alone: not on how many
// rows stand beside it, how a prompt was cut, or how many threads ran (fixed order of accumulation throughout).
//
// All activations are f32, rows slowest. Shape letters: T rows (new tokens), D width, H query heads, K KV heads,
// C head_dim (see docs/architecture.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "carat/result.h"
#include "tensor/tensor_view.h"

namespace carat::base {
class Arena;
class ThreadPool;
}  // namespace carat::base

namespace carat::kernels {

struct KernelTable;  // kernels/abi.h

/// One row of the dispatch report: an operation, the table that serves it, why better ones do not.
struct DispatchRow {
  std::string operation;
  std::string chosen;
  std::string refused;
};

/// The dispatcher's answer for one machine and one wish; see select_kernels.
struct Dispatch {
  std::shared_ptr<const KernelTable> table;
  std::string name;  ///< "avx512", "avx2", "neon", "portable": the best row in use
  std::vector<DispatchRow> report;
};

/// Chooses kernels: `isa` is "auto", the best row that this CPU runs and runs fast, or the name of a row; one it cannot
/// run is an error that says what is missing. What a CPU likes is set in the table that is returned.
Result<Dispatch> select_kernels(std::string_view isa, const base::CpuFeatures& cpu = base::detect_cpu_features());
/// Names select_kernels accepts, best first, with "auto" first of all.
std::vector<std::string> isa_names();

/// What the operations of one caller run with: kernels, threads, and scratch memory that grows once and is reused.
/// Not thread-safe: one Context per concurrently computing caller (they may share a pool only in turn).
class Context {
 public:
  Context(std::shared_ptr<const KernelTable> table, base::ThreadPool& pool);
  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

  const KernelTable& table() const { return *table_; }
  base::ThreadPool& pool() const { return *pool_; }
  struct Scratch;
  Scratch& scratch() const { return *scratch_; }

 private:
  std::shared_ptr<const KernelTable> table_;
  base::ThreadPool* pool_;
  std::unique_ptr<Scratch> scratch_;
};

/// With what matrices are packed: threads, and the memory that then holds them.
struct Packing {
  base::ThreadPool& pool;
  base::Arena& memory;
};

/// A weight matrix [out, in] in the layout its kernel wants: the mapped bytes as they are, or a packed copy of them.
/// Opaque; borrows either. Immutable, shareable between threads.
class PackedMatrix {
 public:
  PackedMatrix();
  ~PackedMatrix();
  PackedMatrix(PackedMatrix&&) noexcept;
  PackedMatrix& operator=(PackedMatrix&&) noexcept;

  std::int64_t out_features() const;
  std::int64_t in_features() const;
  tensor::DType dtype() const;
  std::int64_t owned_bytes() const;  ///< memory of a packed copy, 0 when the mapped bytes are used
  bool empty() const { return impl_ == nullptr; }

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  friend Result<PackedMatrix> pack(const KernelTable&, const tensor::TensorView&, const Packing*);
  std::unique_ptr<Impl> impl_;
};

/// Prepares a matrix of rank 2 for matmul. Any type with a decoder works; unsupported for the others. With `packing`
/// the rows of quantised matrices are interleaved in its memory, so that the kernels of `table` read one run of bytes;
/// the bytes of `weight` are then not read again. Products are bit for bit the same either way.
Result<PackedMatrix> pack(const KernelTable& table, const tensor::TensorView& weight, const Packing* packing = nullptr);

/// What values are clamped to; NaN stays NaN.
struct Bounds {
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
  bool operator==(const Bounds&) const = default;
};

/// One product of a matmul call: out[t][o] = clamp(sum_i weight[o][i] * x[t][i]), rows of `out` being `out_stride`
/// floats apart.
struct MatmulTarget {
  const PackedMatrix* weight = nullptr;
  float* out = nullptr;
  std::int64_t out_stride = 0;  ///< 0 means weight->out_features()
  Bounds bounds = {};
};

/// Multiplies x [T, in] with one or more weights of the same in_features, in one parallel region. For f16 and f32
/// weights activations stay f32; for quantised weights each row of x may be rounded to 8 bits per block of 32, for bf16
/// weights to bf16 (abi.h, KernelTable::takes), once for all targets.
void matmul(const Context& context, const float* x, std::int64_t tokens, std::span<const MatmulTarget> targets);

/// out[t][o] = gelu_tanh(gate x[t])[o] * (up x[t])[o], the same bits as matmul and gelu_tanh_mul give, while both
/// products are still in a cache. gate and up have one shape.
void gelu_gated_matmul(const Context& context, const float* x, std::int64_t tokens, const PackedMatrix& gate,
                       const PackedMatrix& up, float* out, const Bounds& gate_bounds = {},
                       const Bounds& up_bounds = {});
/// Whether activations are rounded to bf16 before they are multiplied with this weight.
bool rounds_to_bf16(const Context& context, const PackedMatrix& weight);

/// y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight, per row of `width`; no weight means 1. In place when y == x.
/// Accumulates the mean in f32 or better in a fixed order.
void rms_norm(const Context& context, const float* x, std::int64_t rows, std::int64_t width, const float* weight,
              float eps, float* y);

/// x[t] += y[t] / sqrt(mean(y[t]^2) + eps) * weight: a normed branch joined to the residual stream.
void add_rms_norm(const Context& context, float* x, const float* y, std::int64_t rows, std::int64_t width,
                  const float* weight, float eps);

/// Rotates the halves of each head, NEOX style: pair (i, i + C/2) turns by the angle whose cosine and sine are
/// cos/sin[t][i], i < rotated_pairs; the other elements stay. x is [T, heads, C], cos and sin are [T, rotated_pairs].
void rope(const Context& context, float* x, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim,
          const float* cos, const float* sin, std::int64_t rotated_pairs);

/// out[i] = gelu_tanh(gate[i]) * up[i], gelu_tanh(x) = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). May alias.
void gelu_tanh_mul(const Context& context, const float* gate, const float* up, std::int64_t count, float* out);
/// out[i] = x[i] * sigmoid(gate[i]): silu(x) where gate is x. May alias.
void sigmoid_mul(const Context& context, const float* x, const float* gate, std::int64_t count, float* out);
/// out[i] = min(max(x[i], low), high). In place when out == x.
void clamp(const Context& context, const float* x, std::int64_t count, const Bounds& bounds, float* out);
/// y[t] = (x[t] - mean(x[t])) / sqrt(var(x[t]) + eps) * weight + bias, per row of `width`; no bias means 0. In place
/// when y == x. Sums are double.
void layer_norm(const Context& context, const float* x, std::int64_t rows, std::int64_t width, const float* weight,
                const float* bias, float eps, float* y);
/// x[i] *= factor; x[i] += y[i]; x[i] += factor * y[i]; x[i] = cap * tanh(x[i] / cap).
void scale(const Context& context, float* x, std::int64_t count, float factor);
void add(const Context& context, float* x, const float* y, std::int64_t count);
void add_scaled(const Context& context, float* x, const float* y, std::int64_t count, float factor);
void softcap(const Context& context, float* x, std::int64_t count, float cap);

/// Positions whose keys and values lie together; ring sizes are multiples of it.
inline constexpr std::int64_t kKvBlock = 32;
/// Bytes of a block of one head's keys, or values, head_dim rounded up to a multiple of kStrip (abi.h). q8_0 has an f16
/// scale for each 32 dimensions of a position.
std::int64_t kv_block_bytes(tensor::DType dtype, std::int64_t head_dim);

/// Keys and values of one layer: [num_kv_heads][slots / kKvBlock] blocks each, position p in slot p % slots. How
/// elements lie within a block is the kernels' matter (abi.h).
struct KvView {
  tensor::DType dtype = tensor::DType::f16;  ///< f32, f16, bf16 or q8_0
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  std::int64_t slots = 0;  ///< ring size; a multiple of kKvBlock
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
};

/// Stores k and v [T, K, C] of positions first_position … first_position + T - 1, rounded to the cache type.
void kv_store(const Context& context, const KvView& cache, const float* k, const float* v, std::int64_t tokens,
              std::int64_t first_position);

/// softmax(scale * q k^T) v for T query rows; with a cache of bf16 a table may round q and the softmax to bf16 (abi.h,
/// KernelTable::rounds_queries). q and out are [T, H, C]. Row t sees positions key_begin[t] <= p <
/// key_end[t] (never empty, never more than `slots` long). H is a multiple of K; query head h reads KV head h / (H /
/// K).
void attention(const Context& context, const float* q, std::int64_t tokens, std::int64_t num_heads, const KvView& cache,
               const std::int64_t* key_begin, const std::int64_t* key_end, float scale, float* out);

/// Attention of T positions to themselves and to the `seen` - 1 before them, with a key for every distance:
///   score[d] = cap * tanh((q[t] k[t - d] + q[t] relative[d]) / cap)
/// q, k and v are [T, H, C], relative [seen, H, C]; what they attend to takes the queries' place. Another tanh than the
/// standard library's: a score is right to 1e-7 of `cap`.
void local_attention(const Context& context, float* q, const float* k, const float* v, const float* relative,
                     std::int64_t tokens, std::int64_t num_heads, std::int64_t head_dim, std::int64_t seen, float cap);

/// Index of the first row of x [rows, width] that holds a NaN or infinity, or -1.
std::int64_t first_non_finite_row(const Context& context, const float* x, std::int64_t rows, std::int64_t width);

}  // namespace carat::kernels
