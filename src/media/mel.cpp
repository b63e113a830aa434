#include "media/mel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <numbers>

#include "base/concat.h"

namespace carat::media {

using base::concat;

namespace {

constexpr std::size_t kFrame = 320, kHop = 160, kFft = 512, kSpectrum = kFft / 2 + 1;
constexpr double kFloor = 1e-3;
using Spectrum = std::array<std::complex<double>, kFft>;

/// A triangle over [begin, begin + weights.size()) of the spectrum.
struct Filter {
  std::size_t begin = 0;
  std::vector<double> weights;
};

struct Tables {
  std::array<float, kFrame> window;
  std::array<std::complex<double>, kFft / 2> roots;
  std::array<std::size_t, kFft> reversed;
  std::vector<Filter> filters;

  explicit Tables(std::size_t bins) {
    for (std::size_t n = 0; n < kFrame; ++n) {
      window[n] = static_cast<float>(0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(n) / kFrame));
    }
    for (std::size_t k = 0; k < roots.size(); ++k) {
      roots[k] = std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(k) / kFft);
    }
    for (std::size_t i = 0; i < kFft; ++i) {
      std::size_t r = 0;
      for (std::size_t bit = 1; bit < kFft; bit *= 2) r = r * 2 + (i / bit) % 2;
      reversed[i] = r;
    }
    // HTK mel points, equally spaced from 0 to 8 kHz; triangles over linear frequency, not normalised by area.
    const auto mel = [](double hertz) { return 2595.0 * std::log10(1.0 + hertz / 700.0); };
    std::vector<double> points;
    for (std::size_t i = 0; i < bins + 2; ++i) {
      const double at = mel(8000.0) * static_cast<double>(i) / static_cast<double>(bins + 1);
      points.push_back(700.0 * (std::pow(10.0, at / 2595.0) - 1.0));
    }
    for (std::size_t m = 0; m < bins; ++m) {
      Filter filter;
      for (std::size_t k = 0; k < kSpectrum; ++k) {
        const double hertz = 31.25 * static_cast<double>(k);
        const double weight = std::min((hertz - points[m]) / (points[m + 1] - points[m]),
                                       (points[m + 2] - hertz) / (points[m + 2] - points[m + 1]));
        if (weight <= 0) continue;
        if (filter.weights.empty()) filter.begin = k;
        filter.weights.push_back(weight);
      }
      filters.push_back(std::move(filter));
    }
  }
};

// In place, decimation in time.
void fft(Spectrum& x, const Tables& t) {
  for (std::size_t i = 0; i < kFft; ++i) {
    if (i < t.reversed[i]) std::swap(x[i], x[t.reversed[i]]);
  }
  for (std::size_t length = 2; length <= kFft; length *= 2) {
    for (std::size_t begin = 0; begin < kFft; begin += length) {
      for (std::size_t k = 0; k < length / 2; ++k) {
        const std::complex<double> root = t.roots[k * (kFft / length)];
        const std::complex<double> low = x[begin + k], high = x[begin + k + length / 2];
        const std::complex<double> turned(root.real() * high.real() - root.imag() * high.imag(),
                                          root.real() * high.imag() + root.imag() * high.real());
        x[begin + k] = low + turned;
        x[begin + k + length / 2] = low - turned;
      }
    }
  }
}

}  // namespace

Result<std::vector<float>> mel_frames(std::span<const float> samples, std::size_t bins) {
  if (samples.size() <= kHop) {
    return fail(ErrorCode::invalid_argument,
                concat("the sound has ", samples.size(), " samples of 1/16000 s; expected ", kHop + 1, " or more"));
  }
  if (samples.size() > kMaxMelSamples) {
    return fail(ErrorCode::invalid_argument,
                concat("the sound lasts ", samples.size() / 16000, " s; expected at most ", kMaxMelSamples / 16000));
  }
  const Tables t(bins);
  const std::size_t frames = (samples.size() - kHop - 1) / kHop + 1;
  std::vector<float> out(frames * bins);
  // Windowed samples in f32 as in the reference; two frames share one transform, as its real and imaginary parts.
  const auto windowed = [&](std::size_t frame, std::size_t n) -> double {
    const std::size_t at = frame * kHop + n;  // half a frame of zeros stands before the samples
    return frame < frames && at >= kHop ? static_cast<double>(samples[at - kHop] * t.window[n]) : 0.0;
  };
  Spectrum x;
  std::array<double, kSpectrum> magnitude;
  for (std::size_t first = 0; first < frames; first += 2) {
    x.fill(0);
    for (std::size_t n = 0; n < kFrame; ++n) x[n] = {windowed(first, n), windowed(first + 1, n)};
    fft(x, t);
    for (std::size_t part = 0; part < 2 && first + part < frames; ++part) {
      for (std::size_t k = 0; k < kSpectrum; ++k) {
        const std::complex<double> a = x[k], b = std::conj(x[(kFft - k) % kFft]);
        magnitude[k] = std::abs(part == 0 ? a + b : a - b) / 2;
      }
      for (std::size_t m = 0; m < bins; ++m) {
        const Filter& filter = t.filters[m];
        double sum = 0;
        for (std::size_t i = 0; i < filter.weights.size(); ++i) sum += magnitude[filter.begin + i] * filter.weights[i];
        out[(first + part) * bins + m] = static_cast<float>(std::log(sum + kFloor));
      }
    }
  }
  return out;
}

std::vector<float> sample_runs(std::span<const float> samples, std::size_t samples_per_token) {
  std::vector<float> out(samples.begin(), samples.end());
  out.resize((samples.size() + samples_per_token - 1) / samples_per_token * samples_per_token);
  return out;
}

}  // namespace carat::media
