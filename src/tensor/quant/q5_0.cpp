// q5_0: 32 values of five bits around zero with one f16 scale; the fifth bits stand together.
// value = d * (q - 16)
#include "tensor/quant/block_decode.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor::quant {

namespace {

struct Block {
  std::uint16_t d;      // f16
  std::uint8_t qh[4];   // bit 4 of value i is bit i % 8 of byte i / 8
  std::uint8_t qs[16];  // bits 0..3: low nibbles are values 0..15, high nibbles 16..31
};
static_assert(sizeof(Block) == 2 + 4 + 16);

void decode_one(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) {
    const int low = i < 16 ? block.qs[i] & 15 : block.qs[i - 16] >> 4;
    const int high = block.qh[i / 8] >> (i % 8) & 1;
    out[i] = d * static_cast<float>((low | high << 4) - 16);
  }
}

}  // namespace

void decode_q5_0(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_blocks<Block, kSmallBlock, decode_one>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
