// The portable table: plain compiler vectors with the baseline flags of the target. Quantised weights are decoded to
// f32 and multiplied with unrounded activations, which makes it the oracle of the integer kernels.
#include "kernels/vector_rows.h"

namespace carat::kernels {

extern const KernelTable kPortableTable;
const KernelTable kPortableTable = vector_rows_table("portable");

}  // namespace carat::kernels
