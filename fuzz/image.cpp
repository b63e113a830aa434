// Fuzzes the picture decoders and the EXIF reader: any bytes give a whole picture within the limits or one error.
#include "media/image.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "media/image_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace carat::media;
  const auto bytes = std::as_bytes(std::span(data, size));
  const int orientation = exif_orientation(bytes);
  if (orientation < 1 || orientation > 8) std::abort();
  constexpr std::int64_t kPixels = 1 << 20;
  const auto image = decode_image(bytes, "fuzz", size % 2 == 0 ? Alpha::drop : Alpha::white, {.max_pixels = kPixels});
  if (!image) {
    if (image.error().message.empty()) std::abort();
    return 0;
  }
  const std::int64_t pixels = static_cast<std::int64_t>(image->width) * image->height;
  if (pixels < 1 || pixels > kPixels || image->rgb.size() != static_cast<std::size_t>(pixels) * 3) std::abort();
  return 0;
}
