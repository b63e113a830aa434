// Fuzzes the size rule, the resizer and the cutting into patches: any picture becomes patches that fit the budget, or
// one error.
#include "media/resize.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "media/image_patches.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace carat::media;
  if (size < 6) return 0;
  const auto number = [&](std::size_t at) { return data[at] + 256 * data[at + 1]; };
  const int budget = kImageBudgets[data[4] % 5], height = number(0) + 1, width = number(2) + 1;
  const PatchSpec spec{1 + data[5] % 20, 1 + data[5] / 20 % 4, data[5] % 2 == 0};
  const auto target = target_size({height, width}, budget, spec);
  const int side = spec.patch_size * spec.pooling;
  if (target) {
    if (target->height % side != 0 || target->width % side != 0 || target->height < side || target->width < side)
      std::abort();
    if (static_cast<std::int64_t>(target->height / side) * (target->width / side) > budget) std::abort();
  }
  const int automatic = automatic_budget({height, width}, spec);
  if (std::find(std::begin(kImageBudgets), std::end(kImageBudgets), automatic) == std::end(kImageBudgets)) std::abort();
  Image image{std::min(width, 40), std::min(height, 40), {}};
  image.rgb.resize(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
  for (std::size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = data[i % size];
  const auto patches = image_patches(image, kImageBudgets[0], {1 + data[5] % 4, spec.pooling, spec.merged});
  if (patches && (patches->tokens > kImageBudgets[0] || patches->tokens < 1 ||
                  patches->values.size() != static_cast<std::size_t>(patches->count * patches->width) ||
                  patches->positions.size() != static_cast<std::size_t>(patches->count * 2))) {
    std::abort();
  }
  const Image resized = resize_bicubic(image, 1 + data[4] % 64, 1 + data[5] % 64);
  if (resized.rgb.size() != static_cast<std::size_t>(resized.width) * static_cast<std::size_t>(resized.height) * 3)
    std::abort();
  return 0;
}
