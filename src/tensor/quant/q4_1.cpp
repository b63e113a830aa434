// q4_1: 32 values of four bits with an f16 scale and an f16 offset.
// value = d * q + m
#include "tensor/quant/block_decode.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor::quant {

namespace {

struct Block {
  std::uint16_t d;      // f16
  std::uint16_t m;      // f16
  std::uint8_t qs[16];  // low nibbles are values 0..15, high nibbles 16..31
};
static_assert(sizeof(Block) == 2 + 2 + 16);

void decode_one(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float m = f16_to_f32(block.m);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(block.qs[j] & 15) + m;
    out[j + 16] = d * static_cast<float>(block.qs[j] >> 4) + m;
  }
}

}  // namespace

void decode_q4_1(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_blocks<Block, kSmallBlock, decode_one>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
