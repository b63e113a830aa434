#include "media/sound.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
}

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string_view>

#include "base/concat.h"
#include "media/container.h"

namespace carat::media {

using base::concat;

namespace {

// The mean of all channels of one frame, appended in -1 … 1.
template <typename Sample, typename Value>
void mix(const AVFrame& frame, int channels, bool planar, std::vector<float>& out, const Value& value) {
  for (int i = 0; i < frame.nb_samples; ++i) {
    double sum = 0;
    for (int c = 0; c < channels; ++c) {
      const auto* plane = reinterpret_cast<const Sample*>(frame.extended_data[planar ? c : 0]);
      sum += value(plane[planar ? i : i * channels + c]);
    }
    out.push_back(static_cast<float>(sum / channels));
  }
}

bool mix_frame(const AVFrame& frame, std::vector<float>& out) {
  const int channels = frame.ch_layout.nb_channels;
  const auto format = static_cast<AVSampleFormat>(frame.format);
  const bool planar = av_sample_fmt_is_planar(format) != 0;
  switch (av_get_packed_sample_fmt(format)) {
    case AV_SAMPLE_FMT_U8:
      mix<std::uint8_t>(frame, channels, planar, out, [](std::uint8_t v) { return (v - 128) / 128.0; });
      return true;
    case AV_SAMPLE_FMT_S16:
      mix<std::int16_t>(frame, channels, planar, out, [](std::int16_t v) { return v / 32768.0; });
      return true;
    case AV_SAMPLE_FMT_S32:
      mix<std::int32_t>(frame, channels, planar, out, [](std::int32_t v) { return v / 2147483648.0; });
      return true;
    case AV_SAMPLE_FMT_FLT:
      mix<float>(frame, channels, planar, out, [](float v) { return static_cast<double>(v); });
      return true;
    case AV_SAMPLE_FMT_DBL:
      mix<double>(frame, channels, planar, out, [](double v) { return v; });
      return true;
    default:
      return false;
  }
}

// FFmpeg takes what there is of a WAV file that was cut; the length of its data stands before them.
Result<void> check_wav(std::span<const std::byte> file, const std::string& name) {
  const auto is = [&](std::size_t at, std::string_view text) {
    return file.size() >= at + 4 && std::equal(text.begin(), text.end(), file.begin() + static_cast<std::ptrdiff_t>(at),
                                               [](char c, std::byte b) { return static_cast<std::byte>(c) == b; });
  };
  if (!is(0, "RIFF") || !is(8, "WAVE")) return {};
  std::size_t at = 12;
  while (file.size() >= at + 8) {
    std::uint32_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) size |= std::to_integer<std::uint32_t>(file[at + 4 + i]) << (8 * i);
    if (is(at, "data")) {
      constexpr std::uint32_t kUnknown = 0xFFFFFFFF;  // written by programs that cannot go back
      if (size == kUnknown || size <= file.size() - at - 8) return {};
      return fail(ErrorCode::bad_file, concat(name, ": the file ends early: its header promises ", size,
                                              " bytes of samples, found ", file.size() - at - 8));
    }
    at += std::size_t{8} + size + size % 2;
  }
  return fail(ErrorCode::bad_file, concat(name, ": the file ends before its samples"));
}

// Whether the length in the header is that of the samples to a hair: nothing is padded or trimmed by such codecs.
bool exact_length(AVCodecID codec) {
  return codec == AV_CODEC_ID_FLAC || codec == AV_CODEC_ID_ALAC ||
         (codec >= AV_CODEC_ID_FIRST_AUDIO && codec < AV_CODEC_ID_ADPCM_IMA_QT);
}

struct FreeResampler {
  void operator()(SwrContext* context) const { swr_free(&context); }
};

/// One channel from one rate to kSampleRate, piece by piece.
class Resampler {
 public:
  static Result<Resampler> create(int rate, const std::string& name) {
    Resampler out;
    AVChannelLayout mono;
    av_channel_layout_default(&mono, 1);
    SwrContext* context = nullptr;
    int code = swr_alloc_set_opts2(&context, &mono, AV_SAMPLE_FMT_FLT, kSampleRate, &mono, AV_SAMPLE_FMT_FLT, rate, 0,
                                   nullptr);
    out.context_.reset(context);
    if (code >= 0) {
      // A long filter: rates far above 16 kHz would fold back into speech.
      av_opt_set_int(context, "filter_size", 64, 0);
      code = swr_init(context);
    }
    if (code < 0) return fail(ErrorCode::bad_file, concat(name, ": sound of ", rate, " Hz cannot be resampled"));
    return out;
  }
  /// No input flushes what is held back.
  Result<void> push(std::span<const float> samples, std::vector<float>& out, const std::string& name) {
    const int room = swr_get_out_samples(context_.get(), static_cast<int>(samples.size()));
    const std::size_t before = out.size();
    out.resize(before + static_cast<std::size_t>(std::max(room, 0)));
    auto* to = reinterpret_cast<std::uint8_t*>(out.data() + before);
    const auto* from = reinterpret_cast<const std::uint8_t*>(samples.data());
    const int made =
        swr_convert(context_.get(), &to, room, samples.empty() ? nullptr : &from, static_cast<int>(samples.size()));
    if (made < 0) return fail(ErrorCode::bad_file, concat(name, ": its sound cannot be resampled"));
    out.resize(before + static_cast<std::size_t>(made));
    return {};
  }

 private:
  std::unique_ptr<SwrContext, FreeResampler> context_;
};

}  // namespace

Result<std::vector<float>> decode_sound(std::span<const std::byte> file, const std::string& name,
                                        const SoundLimits& limits, const Progress& progress) {
  if (auto whole = check_wav(file, name); !whole) return forward(whole);
  auto container = Container::open(file, name, Container::Kind::sound, 0);
  if (!container) return forward(container);
  const auto too_long = [&](double seconds) {
    return fail(ErrorCode::invalid_argument, concat(name, ": the sound lasts ", std::ceil(seconds), " s; at most ",
                                                    limits.max_seconds, " s are read (--max-seconds raises that)"));
  };
  const double promised = container->promised_seconds();
  if (promised > limits.max_seconds) return too_long(promised);
  constexpr int kMaxRate = 1'536'000, kMaxChannels = 64;
  std::vector<float> out, mixed;
  std::optional<Resampler> resampler;
  int rate = 0;
  std::int64_t seen = 0;
  const auto take = [&](const AVFrame& frame) -> Result<bool> {
    if (frame.sample_rate < 1 || frame.sample_rate > kMaxRate || frame.ch_layout.nb_channels < 1 ||
        frame.ch_layout.nb_channels > kMaxChannels) {
      return fail(ErrorCode::unsupported,
                  concat(name, ": found ", frame.ch_layout.nb_channels, " channels at ", frame.sample_rate,
                         " Hz; expected 1 to ", kMaxChannels, " at up to ", kMaxRate, " Hz"));
    }
    if (rate != 0 && rate != frame.sample_rate) {
      return fail(ErrorCode::unsupported,
                  concat(name, ": the rate changes from ", rate, " to ", frame.sample_rate, " Hz"));
    }
    if (rate == 0) {
      rate = frame.sample_rate;
      if (rate != kSampleRate) {
        auto made = Resampler::create(rate, name);
        if (!made) return forward(made);
        resampler = std::move(*made);
      }
    }
    seen += frame.nb_samples;
    const double seconds = static_cast<double>(seen) / rate;
    if (progress && !progress(milliseconds(seconds), milliseconds(promised))) {
      return fail(ErrorCode::cancelled, concat(name, ": cancelled while the sound was read"));
    }
    if (seconds > limits.max_seconds) return too_long(seconds);
    mixed.clear();
    if (!mix_frame(frame, resampler ? mixed : out)) {
      return fail(ErrorCode::unsupported, concat(name, ": its samples have a format Carat does not read"));
    }
    if (!resampler) return true;
    auto done = resampler->push(mixed, out, name);
    if (!done) return forward(done);
    return true;
  };
  if (auto done = container->each_frame(take); !done) return forward(done);
  if (resampler) {
    if (auto done = resampler->push({}, out, name); !done) return forward(done);
  }
  if (out.empty()) return fail(ErrorCode::bad_file, concat(name, ": the sound has no samples"));
  // Other encoders pad and trim some milliseconds; a tenth less is a file that was cut.
  const double least = exact_length(container->codec().codec_id) ? promised - 0.001 : 0.9 * promised - 0.2;
  if (promised > 0 && rate > 0 && static_cast<double>(seen) / rate < least) {
    return fail(ErrorCode::bad_file,
                concat(name, ": the file ends early: ", static_cast<double>(seen) / rate, " s of ", promised, " s"));
  }
  if (!std::all_of(out.begin(), out.end(), [](float v) { return std::isfinite(v); })) {
    return fail(ErrorCode::bad_file, concat(name, ": the sound holds a NaN or infinity"));
  }
  return out;
}

std::vector<std::span<const float>> split_at_pauses(std::span<const float> samples, std::size_t max_samples) {
  constexpr std::size_t kHop = kSampleRate / 100, kPause = 20 * kHop;  // a pause is the quietest 200 ms
  std::vector<std::span<const float>> out;
  while (samples.size() > max_samples) {
    std::size_t cut = max_samples;
    double quietest = INFINITY;
    for (std::size_t begin = max_samples - max_samples / 3; begin + kPause <= max_samples; begin += kHop) {
      double energy = 0;
      for (const float v : samples.subspan(begin, kPause)) energy += static_cast<double>(v) * static_cast<double>(v);
      if (energy <= quietest) {  // of equal ones the last, so that windows are long
        quietest = energy;
        cut = begin + kPause / 2;
      }
    }
    out.push_back(samples.first(cut));
    samples = samples.subspan(cut);
  }
  if (!samples.empty()) out.push_back(samples);
  return out;
}

}  // namespace carat::media
