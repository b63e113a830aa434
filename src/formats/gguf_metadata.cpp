// Typed look-ups in the key-value part of a GGUF file. Nothing converts silently: a text where a number is expected, a
// fraction where a whole number is, or a value out of range is an error that names file, key and both types.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/checked.h"
#include "base/concat.h"
#include "formats/byte_cursor.h"
#include "formats/checkpoint.h"
#include "formats/gguf_types.h"
#include "formats/quote.h"

namespace carat::formats {
namespace {

using base::concat;

/// What kind of value it is, for messages: "u64", "array of string".
std::string kind_of(const GgufValue& value) {
  struct {
    std::string operator()(std::uint64_t) const { return "an unsigned integer"; }
    std::string operator()(std::int64_t) const { return "an integer"; }
    std::string operator()(double) const { return "a floating-point number"; }
    std::string operator()(bool) const { return "a bool"; }
    std::string operator()(std::string_view) const { return "a string"; }
    std::string operator()(const GgufArray& array) const {
      return concat("an array of ", gguf_type_name(array.element_type));
    }
  } visitor;
  return std::visit(visitor, value);
}

std::unexpected<Error> wrong(const GgufMetadata& metadata, std::string_view key, const std::string& what) {
  return fail(ErrorCode::bad_file, concat("gguf \"", metadata.origin(), "\": metadata ", quote(key), " ", what));
}

std::unexpected<Error> wrong_kind(const GgufMetadata& metadata, std::string_view key, const GgufValue& value,
                                  std::string_view expected) {
  return wrong(metadata, key, concat("is ", kind_of(value), "; expected ", expected));
}

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

/// Calls `use(index, value)` for each element of a fixed-size array with its own C++ type (bool as u8); stops when it
/// returns false. False for arrays of another type.
template <typename Use>
bool for_each_number(const GgufArray& array, Use use) {
  const auto walk = [&]<typename T>(T) {
    const std::byte* at = array.bytes.data();
    base::expects(array.bytes.size() / sizeof(T) >= array.count, "the reader checked that all elements lie inside");
    for (std::uint64_t i = 0; i < array.count; ++i, at += sizeof(T))
      if (!use(i, load<T>(at))) return;
  };
  switch (static_cast<GgufType>(array.element_type)) {
    case GgufType::u8:
    case GgufType::boolean:
      walk(std::uint8_t{});
      return true;
    case GgufType::i8:
      walk(std::int8_t{});
      return true;
    case GgufType::u16:
      walk(std::uint16_t{});
      return true;
    case GgufType::i16:
      walk(std::int16_t{});
      return true;
    case GgufType::u32:
      walk(std::uint32_t{});
      return true;
    case GgufType::i32:
      walk(std::int32_t{});
      return true;
    case GgufType::u64:
      walk(std::uint64_t{});
      return true;
    case GgufType::i64:
      walk(std::int64_t{});
      return true;
    case GgufType::f32:
      walk(float{});
      return true;
    case GgufType::f64:
      walk(double{});
      return true;
    case GgufType::string:
    case GgufType::array:
      break;
  }
  return false;
}

bool is_float_array(const GgufArray& array) {
  return array.element_type == static_cast<std::uint32_t>(GgufType::f32) ||
         array.element_type == static_cast<std::uint32_t>(GgufType::f64);
}

}  // namespace

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto at = values_.find(key);
  return at == values_.end() ? nullptr : &at->second;
}

Result<std::optional<std::int64_t>> GgufMetadata::integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* i = std::get_if<std::int64_t>(value)) return *i;
  if (const auto* u = std::get_if<std::uint64_t>(value)) {
    if (*u > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return wrong(*this, key, concat("is ", *u, ", past the largest 64-bit signed integer"));
    return static_cast<std::int64_t>(*u);
  }
  return wrong_kind(*this, key, *value, "an integer");
}

Result<std::optional<double>> GgufMetadata::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* i = std::get_if<std::int64_t>(value)) return static_cast<double>(*i);
  if (const auto* u = std::get_if<std::uint64_t>(value)) return static_cast<double>(*u);
  if (const auto* d = std::get_if<double>(value)) {
    if (!std::isfinite(*d)) return wrong(*this, key, concat("is ", *d, "; expected a finite number"));
    return *d;
  }
  return wrong_kind(*this, key, *value, "a number");
}

Result<std::optional<bool>> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* b = std::get_if<bool>(value)) return *b;
  return wrong_kind(*this, key, *value, "a bool");
}

Result<std::optional<std::string_view>> GgufMetadata::text(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* text = std::get_if<std::string_view>(value)) return *text;
  return wrong_kind(*this, key, *value, "a string");
}

Result<std::optional<std::vector<std::int64_t>>> GgufMetadata::integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto* array = std::get_if<GgufArray>(value);
  if (array == nullptr || is_float_array(*array)) return wrong_kind(*this, key, *value, "an array of integers");
  std::vector<std::int64_t> out;
  std::optional<std::uint64_t> too_large;
  const bool numeric = for_each_number(*array, [&]<typename T>(std::uint64_t i, T element) {
    if (i == 0) out.reserve(array->count);  // bounded: `count` elements lie in the file
    if constexpr (std::is_same_v<T, std::uint64_t>) {
      if (element > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        too_large = i;
        return false;
      }
    }
    out.push_back(static_cast<std::int64_t>(element));
    return true;
  });
  if (!numeric) return wrong_kind(*this, key, *value, "an array of integers");
  if (too_large)
    return wrong(*this, key, concat("has element ", *too_large, " past the largest 64-bit signed integer"));
  return out;
}

Result<std::optional<std::vector<float>>> GgufMetadata::numbers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto* array = std::get_if<GgufArray>(value);
  if (array == nullptr || array->element_type == static_cast<std::uint32_t>(GgufType::boolean))
    return wrong_kind(*this, key, *value, "an array of numbers");
  std::vector<float> out;
  std::optional<std::uint64_t> not_finite;
  const bool numeric = for_each_number(*array, [&](std::uint64_t i, auto element) {
    if (i == 0) out.reserve(array->count);
    const auto wide = static_cast<double>(element);
    if (!(std::fabs(wide) <= static_cast<double>(std::numeric_limits<float>::max()))) {
      not_finite = i;
      return false;
    }
    out.push_back(static_cast<float>(wide));
    return true;
  });
  if (!numeric) return wrong_kind(*this, key, *value, "an array of numbers");
  if (not_finite) return wrong(*this, key, concat("has element ", *not_finite, " that is no finite 32-bit float"));
  return out;
}

Result<std::optional<std::vector<std::string_view>>> GgufMetadata::texts(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto* array = std::get_if<GgufArray>(value);
  if (array == nullptr || array->element_type != static_cast<std::uint32_t>(GgufType::string))
    return wrong_kind(*this, key, *value, "an array of strings");
  std::vector<std::string_view> out;
  if (array->count > array->bytes.size() / sizeof(std::uint64_t))
    return wrong(*this, key, concat("promises ", array->count, " strings, more than its bytes can hold"));
  out.reserve(array->count);
  ByteCursor cursor(array->bytes);
  for (std::uint64_t i = 0; i < array->count; ++i) {
    const auto element = cursor.text();
    if (!element) return wrong(*this, key, concat("ends inside string ", i, " of ", array->count));
    out.push_back(*element);
  }
  return out;
}

}  // namespace carat::formats
