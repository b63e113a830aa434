// ByteCursor: reads little-endian numbers and length-prefixed text from bytes nobody trusts, never past their end.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace carat::formats {

static_assert(std::endian::native == std::endian::little, "file numbers are little-endian and are read as they stand");

/// Every read either succeeds whole or gives nothing and leaves the position where it was.
class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }

  /// The next `count` bytes.
  std::optional<std::span<const std::byte>> take(std::uint64_t count) {
    if (count > remaining()) return std::nullopt;
    const auto taken = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += taken.size();
    return taken;
  }

  /// The next number, at any alignment.
  template <typename T>
    requires std::is_arithmetic_v<T>
  std::optional<T> number() {
    const auto raw = take(sizeof(T));
    if (!raw) return std::nullopt;
    T value;
    std::memcpy(&value, raw->data(), sizeof value);
    return value;
  }

  /// A u64 length and that many bytes, as GGUF writes strings.
  std::optional<std::string_view> text() {
    const std::size_t start = position_;
    if (const auto length = number<std::uint64_t>()) {
      if (const auto raw = take(*length))
        return std::string_view(reinterpret_cast<const char*>(raw->data()), raw->size());
    }
    position_ = start;
    return std::nullopt;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

}  // namespace carat::formats
