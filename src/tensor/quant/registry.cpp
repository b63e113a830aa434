// The table of all element and block types: one row each, in the order of the enum. A new type is a row here and a
// file with its decoder; readers, the model and the tests find it through this table.
#include <algorithm>
#include <array>

#include "base/checked.h"
#include "tensor/dtype.h"
#include "tensor/quant/decoders.h"

namespace carat::tensor {

namespace {

// Numbers are those of ggml_type, as in GGMLQuantizationType of the gguf Python package.
constexpr std::array<DTypeInfo, kDTypeCount> kRegistry = {{
    // type, name, values and bytes per block, GGUF number, safetensors name, decoder
    {DType::f32, "f32", 1, 4, 0, "F32", quant::decode_f32},
    {DType::f16, "f16", 1, 2, 1, "F16", quant::decode_f16},
    {DType::bf16, "bf16", 1, 2, 30, "BF16", quant::decode_bf16},
    {DType::f64, "f64", 1, 8, 28, "F64", nullptr},
    {DType::i8, "i8", 1, 1, 24, "I8", nullptr},
    {DType::i16, "i16", 1, 2, 25, "I16", nullptr},
    {DType::i32, "i32", 1, 4, 26, "I32", nullptr},
    {DType::i64, "i64", 1, 8, 27, "I64", nullptr},
    {DType::u8, "u8", 1, 1, std::nullopt, "U8", nullptr},
    {DType::u16, "u16", 1, 2, std::nullopt, "U16", nullptr},
    {DType::u32, "u32", 1, 4, std::nullopt, "U32", nullptr},
    {DType::u64, "u64", 1, 8, std::nullopt, "U64", nullptr},
    {DType::boolean, "boolean", 1, 1, std::nullopt, "BOOL", nullptr},
    {DType::q4_0, "q4_0", 32, 18, 2, "", quant::decode_q4_0},
    {DType::q4_1, "q4_1", 32, 20, 3, "", quant::decode_q4_1},
    {DType::q5_0, "q5_0", 32, 22, 6, "", quant::decode_q5_0},
    {DType::q5_1, "q5_1", 32, 24, 7, "", quant::decode_q5_1},
    {DType::q8_0, "q8_0", 32, 34, 8, "", quant::decode_q8_0},
    {DType::q2_k, "q2_k", 256, 84, 10, "", quant::decode_q2_k},
    {DType::q3_k, "q3_k", 256, 110, 11, "", quant::decode_q3_k},
    {DType::q4_k, "q4_k", 256, 144, 12, "", quant::decode_q4_k},
    {DType::q5_k, "q5_k", 256, 176, 13, "", quant::decode_q5_k},
    {DType::q6_k, "q6_k", 256, 210, 14, "", quant::decode_q6_k},
    {DType::iq4_nl, "iq4_nl", 32, 18, 20, "", quant::decode_iq4_nl},
    {DType::iq4_xs, "iq4_xs", 256, 136, 23, "", quant::decode_iq4_xs},
    {DType::mxfp4, "mxfp4", 32, 17, 39, "", quant::decode_mxfp4},
}};

constexpr bool rows_follow_the_enum() {
  for (std::size_t i = 0; i < kDTypeCount; ++i) {
    if (kRegistry[i].dtype != static_cast<DType>(i)) return false;
  }
  return true;
}
static_assert(rows_follow_the_enum());

template <typename Predicate>
const DTypeInfo* find(Predicate matches) {
  const auto row = std::ranges::find_if(kRegistry, matches);
  return row == kRegistry.end() ? nullptr : &*row;
}

}  // namespace

const DTypeInfo& info(DType dtype) {
  base::expects(dtype < DType::count_, "a DType names a row of the registry");
  return kRegistry[static_cast<std::size_t>(dtype)];
}

std::span<const DTypeInfo> registry() { return kRegistry; }

const DTypeInfo* find_gguf_type(std::uint32_t gguf_id) {
  return find([gguf_id](const DTypeInfo& row) { return row.gguf_id == gguf_id; });
}

const DTypeInfo* find_safetensors_type(std::string_view name) {
  return name.empty() ? nullptr : find([name](const DTypeInfo& row) { return row.safetensors_name == name; });
}

const DTypeInfo* find_dtype(std::string_view name) {
  return find([name](const DTypeInfo& row) { return row.name == name; });
}

}  // namespace carat::tensor
