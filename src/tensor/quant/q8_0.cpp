// q8_0: 32 signed bytes with one f16 scale.
// value = d * q
#include "tensor/quant/block_decode.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor::quant {

namespace {

struct Block {
  std::uint16_t d;  // f16
  std::int8_t qs[32];
};
static_assert(sizeof(Block) == 2 + 32);

void decode_one(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) out[i] = static_cast<float>(block.qs[i]) * d;
}

}  // namespace

void decode_q8_0(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_blocks<Block, kSmallBlock, decode_one>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
