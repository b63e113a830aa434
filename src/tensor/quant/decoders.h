// The decoders the registry lists, one per file of this folder. Reach them through tensor::info(dtype).decode.
#pragma once

#include <cstddef>
#include <cstdint>

namespace carat::tensor::quant {

/// Each decodes `elements` values (a multiple of the block width) from `blocks` into `out`; see DecodeFn.
void decode_f32(const std::byte* blocks, std::int64_t elements, float* out);
void decode_f16(const std::byte* blocks, std::int64_t elements, float* out);
void decode_bf16(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q4_0(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q4_1(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q5_0(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q5_1(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q8_0(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q2_k(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q3_k(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q4_k(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q5_k(const std::byte* blocks, std::int64_t elements, float* out);
void decode_q6_k(const std::byte* blocks, std::int64_t elements, float* out);
void decode_iq4_nl(const std::byte* blocks, std::int64_t elements, float* out);
void decode_iq4_xs(const std::byte* blocks, std::int64_t elements, float* out);
void decode_mxfp4(const std::byte* blocks, std::int64_t elements, float* out);

}  // namespace carat::tensor::quant
