// The element and block types a tensor can have, and the facts every reader needs about each: name, block width, bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace carat::tensor {

/// Plain element types first, then the blocked types of GGUF. The numeric values are ours, not those of a file.
enum class DType : std::uint8_t {
  f32,
  f16,
  bf16,
  f64,
  i8,
  i16,
  i32,
  i64,
  u8,
  u16,
  u32,
  u64,
  boolean,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  mxfp4,
  count_,
};
inline constexpr std::size_t kDTypeCount = static_cast<std::size_t>(DType::count_);

/// Decodes whole blocks: `elements` values (a multiple of the block width) from `blocks` into `out`.
/// Bit-exact with the dequantisation of the `gguf` Python package.
using DecodeFn = void (*)(const std::byte* blocks, std::int64_t elements, float* out);

/// The facts about one type; see registry().
struct DTypeInfo {
  DType dtype;
  std::string_view name;                 ///< "bf16", "q4_0", … as users type and read it
  std::int32_t block_elements;           ///< values per block, 1 for plain types
  std::int32_t block_bytes;              ///< bytes per block
  std::optional<std::uint32_t> gguf_id;  ///< ggml_type number in GGUF files, if the type can stand there
  std::string_view safetensors_name;     ///< "BF16", … or empty if the type cannot stand in safetensors
  DecodeFn decode;                       ///< nullptr where the type holds no real numbers usable as weights
};

/// The row of a type. Never fails: every DType has one.
const DTypeInfo& info(DType dtype);
/// All rows, in the order of the enum.
std::span<const DTypeInfo> registry();
/// Look-ups for file readers; nullptr when the type is unknown.
const DTypeInfo* find_gguf_type(std::uint32_t gguf_id);
const DTypeInfo* find_safetensors_type(std::string_view name);
const DTypeInfo* find_dtype(std::string_view name);

}  // namespace carat::tensor
