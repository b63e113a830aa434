// q6_k: 256 values of six bits around zero in 16 sub-blocks with signed byte scales.
// value = (d * scale) * (q - 32)
#include "tensor/quant/block_decode.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor::quant {

namespace {

struct Block {
  std::uint8_t
      ql[128];          // bits 0..3; two halves of 64 bytes: low nibbles values 0..63 of the half, high nibbles 64..127
  std::uint8_t qh[64];  // bits 4, 5; two halves of 32 bytes: bits 2k, 2k + 1 of byte l are value 32 k + l of the half
  std::int8_t scales[16];  // one per sub-block of 16 values
  std::uint16_t d;         // f16
};
static_assert(sizeof(Block) == 128 + 64 + 16 + 2);

void decode_one(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int half = i / 128;
    const int at = i % 128;
    const int low = block.ql[half * 64 + at % 64] >> (at / 64 * 4) & 15;
    const int high = block.qh[half * 32 + at % 32] >> (at / 32 * 2) & 3;
    const float dl = d * static_cast<float>(block.scales[i / 16]);
    out[i] = dl * static_cast<float>((low | high << 4) - 32);
  }
}

}  // namespace

void decode_q6_k(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_blocks<Block, kSuperBlock, decode_one>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
