// Frames of a clip, chosen and timed as the reference's video processor does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "carat/progress.h"
#include "media/image.h"

namespace carat::media {

/// Which frames of a clip are shown: so many, evenly spread, or so many a second.
struct FrameChoice {
  std::int64_t frames = 32;
  std::optional<double> fps;
};

struct VideoLimits {
  std::int64_t max_pixels = 100'000'000;  ///< of a frame
  std::int64_t max_frames = 3600;         ///< chosen ones
  double max_seconds = 3600;              ///< of the clip
};

/// Indices of the chosen frames among `total` at `video_fps` a second: floor(i * total / n), n frames or, by rate,
/// max(1, floor(total / video_fps * fps)); a clip with fewer gives all of its frames. Requires total > 0, video_fps >
/// 0.
std::vector<std::int64_t> chosen_frames(std::int64_t total, double video_fps, const FrameChoice& choice);

/// "MM:SS", rounded down.
std::string timestamp(double seconds);

struct VideoFrame {
  Image image;
  std::int64_t index = 0;
  double seconds = 0;  ///< index / frames a second of the clip, 24 where it does not say
};

/// Decodes the chosen frames in order, upright. One frame is in memory at a time; `on_frame` returns whether to go on.
/// `progress` is told the
/// milliseconds of the clip. Errors: bad_file (no video, damaged, cut short), invalid_argument (beyond the limits),
/// cancelled.
Result<void> decode_video(std::span<const std::byte> file, const std::string& name, const FrameChoice& choice,
                          const VideoLimits& limits, const std::function<Result<bool>(VideoFrame)>& on_frame,
                          const Progress& progress = {});

}  // namespace carat::media
