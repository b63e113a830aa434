// q2_k: 256 values of two bits in 16 sub-blocks, each with a four-bit scale and a four-bit minimum.
// value = (d * scale) * q - (dmin * min)
#include "tensor/quant/block_decode.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor::quant {

namespace {

struct Block {
  std::uint8_t scales[16];  // one per sub-block of 16 values: low nibble scale, high nibble minimum
  std::uint8_t qs[64];      // two halves of 32 bytes; bits 2k, 2k + 1 of byte l are value 32 k + l of the half
  std::uint16_t d;          // f16
  std::uint16_t dmin;       // f16
};
static_assert(sizeof(Block) == 16 + 64 + 2 + 2);

void decode_one(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int i = 0; i < kSuperBlock; ++i) {
    const std::uint8_t scale = block.scales[i / 16];
    const float dl = d * static_cast<float>(scale & 15);
    const float ml = dmin * static_cast<float>(scale >> 4);
    const int q = block.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    out[i] = dl * static_cast<float>(q) - ml;
  }
}

}  // namespace

void decode_q2_k(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_blocks<Block, kSuperBlock, decode_one>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
