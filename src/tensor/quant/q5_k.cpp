// q5_k: q4_k with a fifth bit per value; the fifth bits stand together.
// value = (d * scale) * q - (dmin * min)
#include "tensor/quant/block_decode.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor::quant {

namespace {

struct Block {
  std::uint16_t d;          // f16
  std::uint16_t dmin;       // f16
  std::uint8_t scales[12];  // see unpack_scale_and_min
  std::uint8_t qh[32];      // bit 4 of value l of sub-block i is bit i of byte l
  std::uint8_t qs[128];     // 32 bytes per pair of sub-blocks: low nibbles the first, high nibbles the second
};
static_assert(sizeof(Block) == 2 + 2 + 12 + 32 + 128);

void decode_one(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int sub = 0; sub < 8; ++sub) {
    const ScaleAndMin packed = unpack_scale_and_min(block.scales, sub);
    const float dl = d * static_cast<float>(packed.scale);
    const float ml = dmin * static_cast<float>(packed.min);
    for (int l = 0; l < 32; ++l) {
      const int low = block.qs[sub / 2 * 32 + l] >> (sub % 2 * 4) & 15;
      const int high = block.qh[l] >> sub & 1;
      out[sub * 32 + l] = dl * static_cast<float>(low | high << 4) - ml;
    }
  }
}

}  // namespace

void decode_q5_k(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_blocks<Block, kSuperBlock, decode_one>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
