// The decoders behind decode_image, one file of this folder each.
#pragma once

#include <optional>

#include "media/image.h"

namespace carat::media {

/// A decoded picture as it lies in the file.
struct RawImage {
  Image image;
  std::vector<std::uint8_t> alpha;  ///< [height, width]; empty where there is none
  int orientation = 1;              ///< EXIF orientation, 1 … 8
};

Result<RawImage> decode_png(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits);
Result<RawImage> decode_jpeg(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits);
Result<RawImage> decode_webp(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits);

/// An error when width * height is beyond the limit or not positive.
Result<void> check_size(std::int64_t width, std::int64_t height, const std::string& name, const ImageLimits& limits);

/// The orientation an EXIF block gives (with or without the leading "Exif\0\0"), 1 where it gives none.
int exif_orientation(std::span<const std::byte> exif);

}  // namespace carat::media
