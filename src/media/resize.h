// Resizing of pictures, bit for bit as Pillow does it.
#pragma once

#include "media/image.h"

namespace carat::media {

/// `image` at width x height by bicubic interpolation with antialiasing: PIL.Image.resize(…, BICUBIC) on 8-bit RGB.
/// Requires positive sizes.
Image resize_bicubic(const Image& image, int width, int height);

}  // namespace carat::media
