// Fuzzes the safetensors parser: any bytes give a file or an error, and every byte of an accepted file's tensors can be
// read at an address its type may be loaded from.
#include "formats/safetensors.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view name = "fuzz.safetensors";
  auto header = carat::formats::parse_safetensors(std::as_bytes(std::span(data, size)), name, name);
  if (!header) return 0;
  std::vector<std::unique_ptr<std::byte[]>> copies;
  if (!carat::formats::align_tensors(header->tensors, copies, name)) std::abort();
  std::size_t sum = 0, covered = 0;
  for (const auto& tensor : header->tensors) {
    const auto bytes = static_cast<std::size_t>(tensor.view.size_bytes());
    const auto& type = carat::tensor::info(tensor.view.dtype);
    if (bytes != 0 && reinterpret_cast<std::uintptr_t>(tensor.view.data) % static_cast<unsigned>(type.block_bytes) != 0)
      std::abort();
    for (std::size_t i = 0; i < bytes; ++i) sum += std::to_integer<std::size_t>(tensor.view.data[i]);
    covered += bytes;
  }
  static volatile std::size_t sink = 0;
  sink = sink + sum;
  if (covered > size) std::abort();  // tensors cannot overlap
  return 0;
}
