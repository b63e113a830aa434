// Pictures from the bytes of a file: PNG, JPEG, WebP, GIF and BMP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "carat/result.h"

namespace carat::media {

struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  ///< [height, width, 3]
};

/// What becomes of an alpha channel.
enum class Alpha {
  drop,   ///< left out, as the reference does (Image.convert("RGB"))
  white,  ///< composed over white
};

struct ImageLimits {
  std::int64_t max_pixels = 100'000'000;
};

/// Decodes a file whose kind its first bytes tell. Pixels are upright (EXIF orientation applied), 8 bit (the high byte
/// of 16), grey and palettes as RGB, CMYK as Pillow converts it; of an animation the first frame. `name` is for
/// messages. Errors: bad_file (no picture, damaged, cut short), invalid_argument (beyond the limits; found before
/// memory is spent), out_of_memory. Any thread.
Result<Image> decode_image(std::span<const std::byte> file, const std::string& name, Alpha alpha = Alpha::drop,
                           const ImageLimits& limits = {});

/// Whether the bytes begin like a picture decode_image reads.
bool looks_like_image(std::span<const std::byte> file);

}  // namespace carat::media
