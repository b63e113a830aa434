// The portable table: plain compiler vectors with the baseline flags of the target. Quantised weights are decoded to
// f32 and multiplied with unrounded activations, which makes it the oracle of the integer kernels.
#include "kernels/attention.h"
#include "kernels/float_tile.h"
#include "kernels/vector_rows.h"

namespace carat::kernels {

namespace {

constexpr KernelTable make_table() {
  KernelTable table = vector_rows_table("portable");
  table.matmul[0] = float_tile<ElementF32>;  // tensor::DType::f32, f16, bf16
  table.matmul[1] = float_tile<ElementF16>;
  table.matmul[2] = float_tile<ElementBf16>;
  add_cache_types(table);
  return table;
}

}  // namespace

extern const KernelTable kPortableTable;
const KernelTable kPortableTable = make_table();

}  // namespace carat::kernels
