// What the files of this folder share: the loop over blocks and the fields several block layouts have in common.
// Value formulas follow the dequantize_blocks functions of the gguf Python package, operation by operation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/tensor_view.h"

namespace carat::tensor::quant {

inline constexpr int kSmallBlock = 32;   ///< values per block of the q4_0 … q8_0 family, iq4_nl and mxfp4
inline constexpr int kSuperBlock = 256;  ///< values per block of the k family and iq4_xs

/// Sixteen signed levels that iq4_nl and iq4_xs index with four bits.
inline constexpr std::array<std::int8_t, 16> kIq4Levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                           1,    13,   25,  38,  53,  69,  89,  113};

/// Calls decode_one(block, out) for each block of `Width` values. Blocks may stand at any address: each is copied out.
template <typename Block, int Width, void (*decode_one)(const Block& block, float* out)>
void decode_blocks(const std::byte* blocks, std::int64_t elements, float* out) {
  for (std::int64_t done = 0; done < elements; done += Width) {
    Block block;
    std::memcpy(&block, blocks, sizeof block);
    decode_one(block, out);
    blocks += sizeof block;
    out += Width;
  }
}

/// Scale and minimum of one of the eight sub-blocks of q4_k and q5_k, each six bits.
struct ScaleAndMin {
  std::uint8_t scale;
  std::uint8_t min;
};

/// Unpacks pair `i` (0..7). Bytes 0..3 hold scales 0..3 and bytes 4..7 minima 0..3 in their low six bits; bytes 8..11
/// hold the low four bits of scales and minima 4..7, whose upper two bits top bytes 0..3 and 4..7.
inline ScaleAndMin unpack_scale_and_min(const std::uint8_t (&packed)[12], int i) {
  if (i < 4) {
    return {static_cast<std::uint8_t>(packed[i] & 63), static_cast<std::uint8_t>(packed[i + 4] & 63)};
  }
  return {static_cast<std::uint8_t>((packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4),
          static_cast<std::uint8_t>((packed[i + 4] >> 4) | (packed[i] >> 6) << 4)};
}

}  // namespace carat::tensor::quant
