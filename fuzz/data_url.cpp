// Fuzzes data URLs and base64: any text gives bytes within the limit or one error.
#include "media/data_url.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace carat::media;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  constexpr std::size_t kLimit = 100;
  for (const auto& bytes : {decode_data_url(text, kLimit), decode_base64(text, kLimit)}) {
    if (bytes ? bytes->size() > kLimit : bytes.error().message.empty()) std::abort();
  }
  return 0;
}
