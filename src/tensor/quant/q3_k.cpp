// q3_k: 256 values of three bits in 16 sub-blocks with signed six-bit scales; the third bits stand apart, inverted.
// value = (d * (scale - 32)) * (q - (high bit set ? 0 : 4))
#include "tensor/quant/block_decode.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor::quant {

namespace {

struct Block {
  std::uint8_t hmask[32];   // bit k of byte l belongs to value 32 k + l
  std::uint8_t qs[64];      // two halves of 32 bytes; bits 2k, 2k + 1 of byte l are value 32 k + l of the half
  std::uint8_t scales[12];  // six bits each: four low bits in bytes 0..7, two high bits in bytes 8..11
  std::uint16_t d;          // f16
};
static_assert(sizeof(Block) == 32 + 64 + 12 + 2);

void decode_one(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int sub = 0; sub < 16; ++sub) {
    const int low = sub < 8 ? block.scales[sub] & 15 : block.scales[sub - 8] >> 4;
    const int high = block.scales[8 + sub % 4] >> (sub / 4 * 2) & 3;
    const float dl = d * static_cast<float>((low | high << 4) - 32);
    for (int i = sub * 16; i < sub * 16 + 16; ++i) {
      const int q = block.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
      const int offset = (block.hmask[i % 32] >> (i / 32) & 1) != 0 ? 0 : 4;
      out[i] = dl * static_cast<float>(q - offset);
    }
  }
}

}  // namespace

void decode_q3_k(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_blocks<Block, kSuperBlock, decode_one>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
