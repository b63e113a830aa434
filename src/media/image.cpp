#include "media/image.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/concat.h"
#include "media/container.h"
#include "media/image_formats.h"

namespace carat::media {

using base::concat;

namespace {

enum class Kind { unknown, png, jpeg, webp, gif, bmp };

Kind kind_of(std::span<const std::byte> file) {
  const std::string_view head(reinterpret_cast<const char*>(file.data()), std::min<std::size_t>(file.size(), 16));
  if (head.starts_with("\x89PNG\r\n\x1a\n")) return Kind::png;
  if (head.starts_with("\xff\xd8\xff")) return Kind::jpeg;
  if (head.starts_with("RIFF") && head.size() >= 12 && head.substr(8, 4) == "WEBP") return Kind::webp;
  if (head.starts_with("GIF87a") || head.starts_with("GIF89a")) return Kind::gif;
  if (head.starts_with("BM")) return Kind::bmp;
  return Kind::unknown;
}

// Upright: the eight orientations of EXIF (PIL.ImageOps.exif_transpose).
Image oriented(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swapped = orientation >= 5;
  Image out;
  out.width = swapped ? image.height : image.width;
  out.height = swapped ? image.width : image.height;
  out.rgb.resize(image.rgb.size());
  const auto width = static_cast<std::size_t>(image.width), height = static_cast<std::size_t>(image.height);
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  std::uint8_t* to = out.rgb.data();
  for (std::size_t y = 0; y < static_cast<std::size_t>(out.height); ++y) {
    for (std::size_t x = 0; x < static_cast<std::size_t>(out.width); ++x, to += 3) {
      std::size_t from_x = swapped ? y : x, from_y = swapped ? x : y;
      if (flip_x) from_x = width - 1 - from_x;
      if (flip_y) from_y = height - 1 - from_y;
      std::memcpy(to, image.rgb.data() + (from_y * width + from_x) * 3, 3);
    }
  }
  return out;
}

// FFmpeg shows what there is of a BMP file that was cut; whether its rows are all there is told by its header.
Result<void> check_bmp(std::span<const std::byte> file, const std::string& name) {
  const auto number = [&](std::size_t at, std::size_t bytes) -> std::int64_t {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value |= std::to_integer<std::uint32_t>(file[at + i]) << (8 * i);
    return bytes == 4 ? static_cast<std::int32_t>(value) : static_cast<std::int64_t>(value);
  };
  constexpr std::size_t kHeaderBytes = 34;
  if (file.size() < kHeaderBytes) return fail(ErrorCode::bad_file, concat(name, ": the BMP file ends in its header"));
  const std::int64_t offset = number(10, 4), header = number(14, 4), compression = number(30, 4);
  if (header < 40 || (compression != 0 && compression != 3)) return {};  // rows of no fixed length
  const std::int64_t width = number(18, 4), height = std::abs(number(22, 4)), bits = number(28, 2);
  const std::int64_t rows = (width * bits + 31) / 32 * 4 * height;  // no overflow: 31, 31 and 16 bits
  if (offset >= 0 && rows >= 0 && offset + rows <= static_cast<std::int64_t>(file.size())) return {};
  return fail(ErrorCode::bad_file,
              concat(name, ": the BMP file ends early: found ", file.size(), " bytes, expected ", offset + rows));
}

}  // namespace

Result<void> check_size(std::int64_t width, std::int64_t height, const std::string& name, const ImageLimits& limits) {
  if (width < 1 || height < 1) {
    return fail(ErrorCode::bad_file, concat(name, ": the picture is ", width, " by ", height, " pixels"));
  }
  if (width > limits.max_pixels / height) {
    return fail(ErrorCode::invalid_argument,
                concat(name, ": the picture has ", width, " by ", height, " pixels; at most ", limits.max_pixels,
                       " are read (--max-pixels raises that)"));
  }
  return {};
}

bool looks_like_image(std::span<const std::byte> file) { return kind_of(file) != Kind::unknown; }

Result<Image> decode_image(std::span<const std::byte> file, const std::string& name, Alpha alpha,
                           const ImageLimits& limits) {
  Result<RawImage> raw;
  switch (kind_of(file)) {
    case Kind::png:
      raw = decode_png(file, name, limits);
      break;
    case Kind::jpeg:
      raw = decode_jpeg(file, name, limits);
      break;
    case Kind::webp:
      raw = decode_webp(file, name, limits);
      break;
    case Kind::bmp:
      if (auto whole = check_bmp(file, name); !whole) return forward(whole);
      [[fallthrough]];
    case Kind::gif:
      raw = decode_first_frame(file, name, limits);
      break;
    case Kind::unknown:
      return fail(ErrorCode::bad_file,
                  concat(name, file.empty() ? ": the file is empty" : ": no picture was found in it",
                         "; expected PNG, JPEG, WebP, GIF or BMP"));
  }
  if (!raw) return forward(raw);
  if (alpha == Alpha::white && !raw->alpha.empty()) {
    for (std::size_t i = 0; i < raw->alpha.size(); ++i) {
      const unsigned a = raw->alpha[i];
      for (std::size_t c = 0; c < 3; ++c) {
        std::uint8_t& value = raw->image.rgb[3 * i + c];
        value = static_cast<std::uint8_t>((value * a + 255 * (255 - a) + 127) / 255);
      }
    }
  }
  return oriented(std::move(raw->image), raw->orientation);
}

}  // namespace carat::media
