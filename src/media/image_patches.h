// Pictures as a model takes them: resized to fill a budget of soft tokens, cut into patches (spec:
// Gemma4ImageProcessor).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "media/image.h"

namespace carat::media {

/// Patches of patch_size pixels, pooling^2 of them a soft token; `merged` where a whole token is one patch.
struct PatchSpec {
  int patch_size = 16, pooling = 3;
  bool merged = false;
};

/// The numbers of soft tokens a picture may be asked to take.
inline constexpr int kImageBudgets[] = {70, 140, 280, 560, 1120};

struct PixelSize {
  int height = 0, width = 0;
  bool operator==(const PixelSize&) const = default;
};

/// The size a picture is brought to: as large as the budget holds at about its own shape, sides whole tokens. Errors:
/// invalid_argument for pictures so long and thin that no such size exists.
Result<PixelSize> target_size(PixelSize picture, int budget, const PatchSpec& spec);

/// The smallest budget that keeps at least 0.9 of a picture's resolution on each side, so that small print stays
/// legible; the largest when none does.
int automatic_budget(PixelSize picture, const PatchSpec& spec);

struct ImagePatches {
  PixelSize size;                       ///< in pixels, after resizing
  std::int64_t count = 0, width = 0;    ///< patches, values of each
  std::int64_t tokens = 0;              ///< soft tokens they become
  std::vector<float> values;            ///< [count, width] in 0 … 1; within a patch rows, columns, channels
  std::vector<std::int32_t> positions;  ///< [count, 2] column and row of the patch
};

/// Resizes and cuts; patches come row by row. Errors: those of target_size.
Result<ImagePatches> image_patches(const Image& image, int budget, const PatchSpec& spec);

}  // namespace carat::media
