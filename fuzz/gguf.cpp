// Fuzzes the GGUF parser: any bytes give a file or an error, and every byte and value an accepted file offers can be
// read.
#include "formats/gguf.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace {

/// Reads through every pointer of the file; the sum keeps the reads from being left out.
std::size_t read_all(const carat::formats::GgufFile& file) {
  std::size_t sum = 0;
  for (const auto& tensor : file.tensors)
    for (std::int64_t i = 0; i < tensor.view.size_bytes(); ++i)
      sum += std::to_integer<std::size_t>(tensor.view.data[i]);
  const auto& metadata = file.metadata;
  for (const auto& [key, value] : metadata.values()) {
    sum += metadata.integer(key).has_value() + metadata.number(key).has_value() + metadata.boolean(key).has_value();
    if (const auto text = metadata.text(key); text && *text)
      for (const char c : **text) sum += static_cast<unsigned char>(c);
    if (const auto integers = metadata.integers(key); integers && *integers) sum += (*integers)->size();
    if (const auto numbers = metadata.numbers(key); numbers && *numbers) sum += (*numbers)->size();
    if (const auto texts = metadata.texts(key); texts && *texts)
      for (const std::string_view text : **texts)
        for (const char c : text) sum += static_cast<unsigned char>(c);
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = carat::formats::parse_gguf(std::as_bytes(std::span(data, size)), "fuzz.gguf", "fuzz.gguf");
  static volatile std::size_t sink = 0;
  if (file) sink = sink + read_all(*file);
  return 0;
}
