// EXIF: a little TIFF file inside a picture, of which only the orientation matters here.
#include <algorithm>
#include <iterator>

#include "media/image_formats.h"

namespace carat::media {

int exif_orientation(std::span<const std::byte> exif) {
  constexpr std::byte prefix[] = {std::byte{'E'}, std::byte{'x'}, std::byte{'i'},
                                  std::byte{'f'}, std::byte{0},   std::byte{0}};
  if (exif.size() >= 6 && std::equal(std::begin(prefix), std::end(prefix), exif.begin())) exif = exif.subspan(6);
  if (exif.size() < 8) return 1;
  const bool little = exif[0] == std::byte{'I'};
  if (!little && exif[0] != std::byte{'M'}) return 1;
  const auto number = [&](std::size_t at, std::size_t bytes) -> std::optional<std::uint32_t> {
    if (at > exif.size() || exif.size() - at < bytes) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
      value = value << 8 | std::to_integer<std::uint32_t>(exif[at + (little ? bytes - 1 - i : i)]);
    }
    return value;
  };
  const auto directory = number(4, 4);
  const auto count = directory ? number(*directory, 2) : std::nullopt;
  if (number(2, 2) != 42U || !count) return 1;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const std::size_t entry = std::size_t{*directory} + 2 + std::size_t{12} * i;
    const auto tag = number(entry, 2);
    if (!tag) return 1;
    if (*tag != 0x0112) continue;  // orientation: one 16-bit number
    const auto type = number(entry + 2, 2), value = number(entry + 8, type == 4U ? 4 : 2);
    return value && *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
  }
  return 1;
}

}  // namespace carat::media
