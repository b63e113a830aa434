// Fuzzes parse_json: any bytes give a value or an error, and what is accepted survives being written and read again.
#include "formats/json.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using carat::formats::parse_json;
  const auto json = parse_json(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  if (!json) return 0;
  const auto again = parse_json(json->dump(), "fuzz");
  if (!again || *again != *json) std::abort();
  return 0;
}
