#include "media/image_patches.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/concat.h"
#include "media/resize.h"

namespace carat::media {

using base::concat;

Result<PixelSize> target_size(PixelSize picture, int budget, const PatchSpec& spec) {
  const int side = spec.patch_size * spec.pooling;
  const double pixels = static_cast<double>(budget) * side * side;
  const double factor = std::sqrt(pixels / (static_cast<double>(picture.height) * picture.width));
  const auto tokens = [&](int length) { return static_cast<std::int64_t>(std::floor(factor * length / side)); };
  std::int64_t rows = tokens(picture.height), columns = tokens(picture.width);
  // A side too short for one token takes one; the other is a whole multiple of it, the budget at most.
  if (rows == 0 && columns != 0) {
    rows = 1;
    columns = std::min<std::int64_t>(picture.width / picture.height, budget);
  } else if (columns == 0 && rows != 0) {
    columns = 1;
    rows = std::min<std::int64_t>(picture.height / picture.width, budget);
  }
  if (rows < 1 || columns < 1 || rows * columns > budget) {
    return fail(ErrorCode::invalid_argument,
                concat("image: ", picture.width, " by ", picture.height, " pixels cannot be laid out in ", budget,
                       " tokens of ", side, " by ", side, " pixels; crop it or take a larger budget"));
  }
  return PixelSize{static_cast<int>(rows * side), static_cast<int>(columns * side)};
}

int automatic_budget(PixelSize picture, const PatchSpec& spec) {
  for (const int budget : kImageBudgets) {
    const auto size = target_size(picture, budget, spec);
    if (size && size->height >= 0.9 * picture.height && size->width >= 0.9 * picture.width) return budget;
  }
  return *std::rbegin(kImageBudgets);
}

Result<ImagePatches> image_patches(const Image& image, int budget, const PatchSpec& spec) {
  auto size = target_size({image.height, image.width}, budget, spec);
  if (!size) return forward(size);
  const Image resized = resize_bicubic(image, size->width, size->height);
  const int side = spec.merged ? spec.patch_size * spec.pooling : spec.patch_size;
  const int rows = size->height / side, columns = size->width / side;
  ImagePatches out;
  out.size = *size;
  out.count = static_cast<std::int64_t>(rows) * columns;
  out.width = std::int64_t{3} * side * side;
  out.tokens = spec.merged ? out.count : out.count / (std::int64_t{spec.pooling} * spec.pooling);
  out.values.reserve(static_cast<std::size_t>(out.count * out.width));
  float levels[256];
  for (int i = 0; i < 256; ++i) levels[i] = static_cast<float>(i / 255.0);
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      for (int line = 0; line < side; ++line) {
        const std::size_t at = (static_cast<std::size_t>(y * side + line) * static_cast<std::size_t>(size->width) +
                                static_cast<std::size_t>(x * side)) *
                               3;
        for (std::size_t i = 0; i < static_cast<std::size_t>(3 * side); ++i) {
          out.values.push_back(levels[resized.rgb[at + i]]);
        }
      }
      out.positions.push_back(x);
      out.positions.push_back(y);
    }
  }
  return out;
}

}  // namespace carat::media
