// The value and tensor type numbers of GGUF files: sizes, and names for messages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace carat::formats {

/// Types of metadata values, numbered as in the file.
enum class GgufType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

/// "u32", "string", …, or "type 77" for a number no type has.
std::string gguf_type_name(std::uint32_t type);

/// Bytes of one value of a fixed-size type; nothing for strings, arrays and unknown types.
std::optional<std::uint32_t> gguf_type_bytes(std::uint32_t type);

/// What ggml calls the tensor type of that number, also where Carat does not read it: "iq2_xxs". Empty when unknown.
std::string_view ggml_tensor_type_name(std::uint32_t type);

}  // namespace carat::formats
