// Sound as the audio encoders take it (reference: Gemma4AudioFeatureExtractor).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "carat/result.h"

namespace carat::media {

/// The longest sound the audio tower was made for: 30 s.
inline constexpr std::size_t kMaxMelSamples = 480000;

/// Log mel magnitudes [frames, bins] of 16 kHz samples: 20 ms periodic Hann windows every 10 ms, the first half a
/// window early, FFT of 512, HTK mel filters to 8 kHz, ln(mel + 0.001). Only frames made of real samples. Errors:
/// invalid_argument for less than one frame (161 samples) and more than kMaxMelSamples.
Result<std::vector<float>> mel_frames(std::span<const float> samples, std::size_t bins = 128);

/// Samples in whole runs of `samples_per_token`, zeros behind the last (the encoder-free model's input).
std::vector<float> sample_runs(std::span<const float> samples, std::size_t samples_per_token);

}  // namespace carat::media
