// Fuzzes the sound path: any bytes give finite samples within the limit, their windows and features, or one error.
#include "media/sound.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "media/mel.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace carat::media;
  constexpr double kSeconds = 20;
  const auto sound = decode_sound(std::as_bytes(std::span(data, size)), "fuzz", {.max_seconds = kSeconds});
  if (!sound) {
    if (sound.error().message.empty()) std::abort();
    return 0;
  }
  if (sound->empty() || static_cast<double>(sound->size()) > (kSeconds + 1) * kSampleRate) std::abort();
  std::size_t covered = 0;
  for (const auto window : split_at_pauses(*sound, 16000)) {
    covered += window.size();
    const auto frames = mel_frames(window);
    if (frames.has_value() != (window.size() > 160)) std::abort();
    if (!frames) continue;
    for (const float v : *frames) {
      if (!(v >= -7)) std::abort();  // ln 0.001 is the least
    }
  }
  if (covered != sound->size()) std::abort();
  return 0;
}
