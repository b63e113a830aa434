// Weight matrices as kernels want them: the mapped bytes as they are, or rows interleaved in memory of their own.
#include "kernels/packed_matrix.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "base/arena.h"
#include "base/concat.h"
#include "base/thread_pool.h"
#include "kernels/abi.h"

namespace carat::kernels {

PackedMatrix::PackedMatrix() = default;
PackedMatrix::~PackedMatrix() = default;
PackedMatrix::PackedMatrix(PackedMatrix&&) noexcept = default;
PackedMatrix& PackedMatrix::operator=(PackedMatrix&&) noexcept = default;
std::int64_t PackedMatrix::out_features() const { return impl_->view.shape[0]; }
std::int64_t PackedMatrix::in_features() const { return impl_->view.shape[1]; }
tensor::DType PackedMatrix::dtype() const { return impl_->view.dtype; }
std::int64_t PackedMatrix::owned_bytes() const { return impl_->packed == nullptr ? 0 : impl_->packed_bytes; }

namespace {

// One group of rows: per block the halves of all rows, then word after word of all rows (in BlockFields::packed_place).
// Rows beyond the last one stay zero. Some cache lines of a row at a time: rows often lie a power of two apart, where a
// first-level cache does not hold a line of each.
void interleave(const tensor::TensorView& weight, const BlockFields& fields, std::int64_t group, std::int64_t rows,
                std::byte* out) {
  constexpr std::int64_t kRunBytes = 256;
  const std::int64_t row_bytes = weight.row_bytes(), first = group * rows;
  const std::int64_t present = std::min(rows, weight.shape[0] - first), blocks = row_bytes / fields.bytes,
                     run = std::max<std::int64_t>(1, kRunBytes / fields.bytes);
  std::array<std::int64_t, 4 * sizeof(BlockFields::fours)> place{};
  for (std::int64_t w = 0; w < fields.words; ++w)
    place[static_cast<std::size_t>(w)] = (fields.halves + 2 * fields.packed_place(w)) * rows * 2;
  const std::byte* from = weight.data + first * row_bytes;
  out += first * row_bytes;
  for (std::int64_t begin = 0; begin < blocks; begin += run) {
    const std::int64_t end = std::min(blocks, begin + run);
    for (std::int64_t r = 0; r < present; ++r) {
      const std::byte* block = from + r * row_bytes + begin * fields.bytes;
      std::byte* to = out + begin * rows * fields.bytes;
      for (std::int64_t b = begin; b < end; ++b, block += fields.bytes, to += rows * fields.bytes) {
        for (std::int64_t h = 0; h < fields.halves; ++h)
          std::memcpy(to + (h * rows + r) * 2, block + fields.halves_at + 2 * h, 2);
        for (std::int64_t w = 0; w < fields.words; ++w)
          std::memcpy(to + place[static_cast<std::size_t>(w)] + r * 4, block + fields.words_at + 4 * w, 4);
      }
    }
  }
}

}  // namespace

Result<PackedMatrix> pack(const KernelTable& table, const tensor::TensorView& weight, const Packing* packing) {
  if (weight.shape.rank() != 2) {
    return fail(ErrorCode::bad_file, base::concat("has shape ", weight.shape.text(), "; expected a matrix"));
  }
  if (tensor::info(weight.dtype).decode == nullptr) {
    return fail(ErrorCode::unsupported, base::concat("has type ", tensor::info(weight.dtype).name,
                                                     "; expected a floating-point or quantised type"));
  }
  PackedMatrix out;
  out.impl_ = std::make_unique<PackedMatrix::Impl>();
  out.impl_->view = weight;
  const auto type = static_cast<std::size_t>(weight.dtype);
  const BlockFields fields = block_fields(static_cast<int>(type));
  if (packing == nullptr || table.packed_rows == 0 || table.matmul[type] == nullptr || fields.bytes == 0 ||
      weight.shape[1] % fields.values != 0) {
    return out;
  }
  const std::int64_t rows = (weight.shape[0] + table.tile_rows - 1) / table.tile_rows * table.tile_rows;
  const std::int64_t bytes = rows * weight.row_bytes(), groups = rows / table.packed_rows;
  auto memory = packing->memory.allocate(static_cast<std::size_t>(bytes));
  if (!memory) return std::unexpected(memory.error());
  const auto body = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t g = begin; g < end; ++g) {
      if (g * table.packed_rows < weight.shape[0]) interleave(weight, fields, g, table.packed_rows, *memory);
    }
  };
  packing->pool.parallel_for(groups, std::max<std::int64_t>(1, groups / (4 * packing->pool.threads())), std::ref(body));
  out.impl_->packed = *memory;
  out.impl_->packed_bytes = bytes;
  return out;
}

}  // namespace carat::kernels
