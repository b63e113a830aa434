// iq4_xs: the levels of iq4_nl in eight sub-blocks of 32 with signed six-bit scales.
// value = (d * (scale - 32)) * level[q]
#include "tensor/quant/block_decode.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor::quant {

namespace {

struct Block {
  std::uint16_t d;           // f16
  std::uint16_t scales_h;    // bits 4, 5 of scale i are bits 2i, 2i + 1
  std::uint8_t scales_l[4];  // bits 0..3 of scales 0..7, low nibble first
  std::uint8_t qs[128];      // 16 bytes per sub-block: low nibbles values 0..15, high nibbles 16..31
};
static_assert(sizeof(Block) == 2 + 2 + 4 + 128);

void decode_one(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < 8; ++sub) {
    const int low = block.scales_l[sub / 2] >> (sub % 2 * 4) & 15;
    const int high = block.scales_h >> (sub * 2) & 3;
    const float dl = d * static_cast<float>((low | high << 4) - 32);
    for (int j = 0; j < 16; ++j) {
      const std::uint8_t pair = block.qs[sub * 16 + j];
      out[sub * 32 + j] = dl * static_cast<float>(kIq4Levels[pair & 15]);
      out[sub * 32 + j + 16] = dl * static_cast<float>(kIq4Levels[pair >> 4]);
    }
  }
}

}  // namespace

void decode_iq4_xs(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_blocks<Block, kSuperBlock, decode_one>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
