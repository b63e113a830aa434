// Builds GGUF and safetensors files byte by byte, right ones and deliberately wrong ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace carat::tests {

/// The bytes of a number as they stand in a little-endian file.
template <typename T>
std::string raw(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

/// A GGUF string: u64 length, then the text.
inline std::string gguf_string(std::string_view text) { return raw<std::uint64_t>(text.size()) + std::string(text); }

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// A copy of bytes on the heap with nothing behind them, so that the address sanitizer sees a read of one byte too
/// many.
class ExactBytes {
 public:
  explicit ExactBytes(std::string_view text) : size_(text.size()), data_(new std::byte[text.size()]) {
    if (size_ != 0) std::memcpy(data_.get(), text.data(), size_);
  }
  std::span<const std::byte> span() const { return {data_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<std::byte[]> data_;
};

/// Collects the parts of a GGUF file; everything a right file computes can be overridden to make it wrong.
struct GgufBuilder {
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;
  std::optional<std::uint64_t> entry_count, tensor_count;  ///< said instead of the true counts
  std::optional<std::string> data;                         ///< stands in for the data of the tensors

  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> dims;  ///< fastest first, as in the file
    std::uint32_t type = 0;
    std::string data;
    std::optional<std::uint64_t> offset;  ///< said instead of the place of its data
    std::optional<std::uint32_t> rank;    ///< said instead of dims.size()
  };
  std::vector<std::string> entries;  ///< finished metadata entries
  std::vector<Tensor> tensors;

  /// A metadata entry from the raw bytes of its value.
  GgufBuilder& entry(std::string_view key, std::uint32_t type, const std::string& value) {
    entries.push_back(gguf_string(key) + raw(type) + value);
    return *this;
  }
  GgufBuilder& u32(std::string_view key, std::uint32_t value) { return entry(key, 4, raw(value)); }
  GgufBuilder& u16(std::string_view key, std::uint16_t value) { return entry(key, 2, raw(value)); }
  GgufBuilder& i32(std::string_view key, std::int32_t value) { return entry(key, 5, raw(value)); }
  GgufBuilder& f32(std::string_view key, float value) { return entry(key, 6, raw(value)); }
  GgufBuilder& string(std::string_view key, std::string_view value) { return entry(key, 8, gguf_string(value)); }
  GgufBuilder& array(std::string_view key, std::uint32_t element_type, std::uint64_t count,
                     const std::string& elements) {
    return entry(key, 9, raw(element_type) + raw(count) + elements);
  }
  GgufBuilder& strings(std::string_view key, std::initializer_list<std::string_view> values) {
    std::string elements;
    for (const auto value : values) elements += gguf_string(value);
    return array(key, 8, values.size(), elements);
  }
  GgufBuilder& tensor(std::string name, std::vector<std::uint64_t> dims, std::uint32_t type, std::string bytes) {
    tensors.push_back({std::move(name), std::move(dims), type, std::move(bytes), {}, {}});
    return *this;
  }

  std::string build() const {
    std::string out = magic + raw(version) + raw<std::uint64_t>(tensor_count.value_or(tensors.size())) +
                      raw<std::uint64_t>(entry_count.value_or(entries.size()));
    for (const auto& one : entries) out += one;
    std::string section;
    for (const auto& one : tensors) {
      section.resize((section.size() + alignment - 1) / alignment * alignment, '\0');
      out += gguf_string(one.name) + raw<std::uint32_t>(one.rank.value_or(static_cast<std::uint32_t>(one.dims.size())));
      for (const auto dim : one.dims) out += raw(dim);
      out += raw(one.type) + raw<std::uint64_t>(one.offset.value_or(section.size()));
      section += one.data;
    }
    if (data) section = *data;
    if (!tensors.empty() || data) {
      out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
      out += section;
    }
    return out;
  }
};

/// A small right file: metadata of every type, an f32 vector, an f16 matrix and a q4_0 matrix, 64 bytes of data last so
/// that cutting off any byte loses something.
inline GgufBuilder small_gguf() {
  GgufBuilder file;
  file.string("general.architecture", "gemma4").u32("gemma4.block_count", 2).i32("a.i32", -7).f32("a.f32", 0.5F);
  file.entry("a.u8", 0, raw<std::uint8_t>(200)).entry("a.i8", 1, raw<std::int8_t>(-3)).u16("a.u16", 65535);
  file.entry("a.i16", 3, raw<std::int16_t>(-300)).entry("a.bool", 7, raw<std::uint8_t>(1));
  file.entry("a.u64", 10, raw<std::uint64_t>(1ULL << 40)).entry("a.i64", 11, raw<std::int64_t>(-(1LL << 40)));
  file.entry("a.f64", 12, raw(1e100));
  file.strings("tokenizer.ggml.tokens", {"a", "", "€"})
      .array("tokenizer.ggml.scores", 6, 3, raw(1.F) + raw(-2.F) + raw(0.F));
  file.array("a.bools", 7, 3, std::string("\x01\x00\x01", 3))
      .array("a.i32s", 5, 2, raw(5) + raw(-6))
      .array("a.none", 8, 0, "");
  file.tensor("output_norm.weight", {8}, 0, std::string(32, '\x01'));
  file.tensor("blk.0.attn_q.weight", {32, 2}, 2, std::string(36, '\x02'));
  file.tensor("token_embd.weight", {16, 2}, 1, std::string(64, '\x03'));
  return file;
}

/// A safetensors file from its header text and data section, whatever they say.
inline std::string safetensors(std::string_view header, std::string_view data) {
  return raw<std::uint64_t>(header.size()) + std::string(header) + std::string(data);
}

}  // namespace carat::tests
