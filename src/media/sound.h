// Sound from the bytes of a file, as the models hear it: 16 kHz, one channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "carat/progress.h"
#include "carat/result.h"

namespace carat::media {

inline constexpr int kSampleRate = 16000;

struct SoundLimits {
  double max_seconds = 3600;
};

/// Decodes the (first) sound of any file FFmpeg reads, videos included: channels are averaged, the result resampled to
/// kSampleRate, samples lie about -1 … 1; 16-bit files of that rate come through exactly. `name` is for messages.
/// Errors: bad_file (no sound, damaged, cut short, without samples, NaN among them), invalid_argument (longer than the
/// limit; found before memory is spent on it), cancelled. `progress` is told milliseconds, of 0 where the file does not
/// say how many there are.
Result<std::vector<float>> decode_sound(std::span<const std::byte> file, const std::string& name,
                                        const SoundLimits& limits = {}, const Progress& progress = {});

/// Cuts samples into windows of at most max_samples that follow one another without a gap, each cut where the last
/// third of a window is quietest, so that words stay whole where there is a pause.
std::vector<std::span<const float>> split_at_pauses(std::span<const float> samples, std::size_t max_samples);

}  // namespace carat::media
