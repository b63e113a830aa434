// mxfp4 (OCP microscaling): 32 e2m1 values with one shared power of two, e8m0.
// value = 2^(e - 128) * twice the e2m1 value, so that the levels are whole numbers
#include <bit>

#include "tensor/quant/block_decode.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor::quant {

namespace {

constexpr std::array<std::int8_t, 16> kDoubledE2m1 = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct Block {
  std::uint8_t e;       // exponent, bias 127
  std::uint8_t qs[16];  // low nibbles are values 0..15, high nibbles 16..31
};
static_assert(sizeof(Block) == 1 + 16);

void decode_one(const Block& block, float* out) {
  // Half of 2^(e - 127). For e = 0 and 1 that is an f32 subnormal, so its bits are written out.
  const std::uint32_t bits = block.e < 2 ? 0x00200000u << block.e : static_cast<std::uint32_t>(block.e - 1) << 23;
  const float d = std::bit_cast<float>(bits);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kDoubledE2m1[block.qs[j] & 15]);
    out[j + 16] = d * static_cast<float>(kDoubledE2m1[block.qs[j] >> 4]);
  }
}

}  // namespace

void decode_mxfp4(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_blocks<Block, kSmallBlock, decode_one>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
