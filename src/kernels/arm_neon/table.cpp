// NEON with dot products of bytes; compiled a second time with FEAT_I8MM, for the processors that have it.
#include <arm_neon.h>

#include "kernels/arm_neon/products.h"
#include "kernels/attention.h"
#include "kernels/float_matmul.h"
#include "kernels/quantised_matmul.h"
#include "kernels/vector_rows.h"

namespace carat::kernels {
namespace {

struct Half {
  using Stored = std::uint16_t;
  static Floats read(const Stored* p) { return Neon::halves(load<Halves>(p)); }
};

constexpr KernelTable make_table(const char* name) {
  KernelTable table = vector_rows_table(name);
  add_cache_types(table);
  table.matmul[0] = float_matmul_tile<Neon, FloatF32>;
  table.matmul[1] = float_matmul_tile<Neon, FloatF16>;
  table.matmul[2] = float_matmul_tile<Neon, FloatBf16>;
  table.attention[1] = attention_tile<SingleWords<Half>>;
  table.busy_int8 = busy_int8_neon;
  add_quantised_types<Neon>(table);
  return table;
}

}  // namespace

#if defined(__ARM_FEATURE_MATMUL_INT8)
extern const KernelTable kNeonI8mmTable;
const KernelTable kNeonI8mmTable = make_table("neon_i8mm");
#else
extern const KernelTable kNeonTable;
const KernelTable kNeonTable = make_table("neon");
#endif

}  // namespace carat::kernels
