// Tables of the type numbers of GGUF (ggml's ggml.h and gguf.h list them).
#include "formats/gguf_types.h"

#include <algorithm>
#include <array>

#include "base/concat.h"
#include "tensor/dtype.h"

namespace carat::formats {
namespace {

struct ValueType {
  std::string_view name;
  std::uint32_t bytes;  ///< 0: not of a fixed size
};
constexpr std::array<ValueType, 13> kValueTypes = {{
    {"u8", 1},
    {"i8", 1},
    {"u16", 2},
    {"i16", 2},
    {"u32", 4},
    {"i32", 4},
    {"f32", 4},
    {"bool", 1},
    {"string", 0},
    {"array", 0},
    {"u64", 8},
    {"i64", 8},
    {"f64", 8},
}};

struct TensorType {
  std::uint32_t id;
  std::string_view name;
};
// Only those the dtype registry does not know; a name there wins.
constexpr TensorType kForeignTensorTypes[] = {
    {4, "q4_2"},        {5, "q4_3"},      {9, "q8_1"},   {15, "q8_k"},  {16, "iq2_xxs"},    {17, "iq2_xs"},
    {18, "iq3_xxs"},    {19, "iq1_s"},    {21, "iq3_s"}, {22, "iq2_s"}, {29, "iq1_m"},      {31, "q4_0_4_4"},
    {32, "q4_0_4_8"},   {33, "q4_0_8_8"}, {34, "tq1_0"}, {35, "tq2_0"}, {36, "iq4_nl_4_4"}, {37, "iq4_nl_4_8"},
    {38, "iq4_nl_8_8"}, {40, "nvfp4"},    {41, "q1_0"},  {42, "q2_0"},
};

}  // namespace

std::string gguf_type_name(std::uint32_t type) {
  if (type < kValueTypes.size()) return std::string(kValueTypes[type].name);
  return base::concat("type ", type);
}

std::optional<std::uint32_t> gguf_type_bytes(std::uint32_t type) {
  if (type >= kValueTypes.size() || kValueTypes[type].bytes == 0) return std::nullopt;
  return kValueTypes[type].bytes;
}

std::string_view ggml_tensor_type_name(std::uint32_t type) {
  if (const auto* known = tensor::find_gguf_type(type)) return known->name;
  const auto* const foreign = std::ranges::find(kForeignTensorTypes, type, &TensorType::id);
  return foreign == std::end(kForeignTensorTypes) ? std::string_view{} : foreign->name;
}

}  // namespace carat::formats
