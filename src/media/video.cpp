#include "media/video.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
}

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/concat.h"
#include "media/container.h"

namespace carat::media {

using base::concat;

std::vector<std::int64_t> chosen_frames(std::int64_t total, double video_fps, const FrameChoice& choice) {
  std::int64_t count = choice.frames;
  if (choice.fps) {
    count = std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(total) / video_fps * *choice.fps));
  }
  count = std::min(count, total);
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < count; ++i) {
    out.push_back(i * total / count);
  }
  return out;
}

std::string timestamp(double seconds) {
  const auto whole = static_cast<long long>(std::max(seconds, 0.0));
  char text[32];
  std::snprintf(text, sizeof text, "%02lld:%02lld", whole / 60, whole % 60);
  return text;
}

namespace {

// Quarter turns, counted clockwise, that the file asks a player for: phones film upright clips lying on their side.
int quarter_turns(const AVStream& stream) {
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
  const AVCodecParameters& p = *stream.codecpar;
  const AVPacketSideData* data =
      av_packet_side_data_get(p.coded_side_data, p.nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  const auto* matrix =
      data != nullptr && data->size >= 36 ? reinterpret_cast<const std::int32_t*>(data->data) : nullptr;
#else
  std::size_t bytes = 0;
  const auto* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
  const auto* matrix = data != nullptr && bytes >= 36 ? reinterpret_cast<const std::int32_t*>(data) : nullptr;
#endif
  if (matrix == nullptr) return 0;
  const double angle = av_display_rotation_get(matrix);  // counterclockwise
  if (std::isnan(angle)) return 0;
  return (static_cast<int>(std::lround(-angle / 90)) % 4 + 4) % 4;
}

Image turned(Image image, int quarters) {
  for (; quarters > 0; --quarters) {
    Image out{image.height, image.width, std::vector<std::uint8_t>(image.rgb.size())};
    const auto width = static_cast<std::size_t>(image.width), height = static_cast<std::size_t>(image.height);
    for (std::size_t y = 0; y < height; ++y) {
      for (std::size_t x = 0; x < width; ++x) {
        const std::uint8_t* from = image.rgb.data() + (y * width + x) * 3;
        std::copy_n(from, 3, out.rgb.data() + (x * height + (height - 1 - y)) * 3);
      }
    }
    image = std::move(out);
  }
  return image;
}

}  // namespace

Result<void> decode_video(std::span<const std::byte> file, const std::string& name, const FrameChoice& choice,
                          const VideoLimits& limits, const std::function<Result<bool>(VideoFrame)>& on_frame,
                          const Progress& progress) {
  auto container = Container::open(file, name, Container::Kind::video, limits.max_pixels);
  if (!container) return forward(container);
  const double promised = container->promised_seconds();
  if (promised > limits.max_seconds) {
    return fail(ErrorCode::invalid_argument, concat(name, ": the clip lasts ", std::ceil(promised), " s; at most ",
                                                    limits.max_seconds, " s are read (--max-seconds raises that)"));
  }
  // What headers say of the number of frames is a promise; packets are there.
  auto total = container->count_packets();
  if (!total) return forward(total);
  if (*total == 0) return fail(ErrorCode::bad_file, concat(name, ": the clip has no frames"));
  const AVRational rate = container->stream().avg_frame_rate;
  const double fps = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 24;
  if (promised > 0 && static_cast<double>(*total) / fps < 0.9 * promised - 0.5) {
    return fail(ErrorCode::bad_file, concat(name, ": the file ends early: ", *total, " frames of about ",
                                            static_cast<std::int64_t>(promised * fps)));
  }
  const auto chosen = chosen_frames(*total, fps, choice);
  if (static_cast<std::int64_t>(chosen.size()) > limits.max_frames) {
    return fail(ErrorCode::invalid_argument, concat(name, ": ", chosen.size(), " frames were asked for; at most ",
                                                    limits.max_frames, " are taken (--max-frames raises that)"));
  }
  const int quarters = quarter_turns(container->stream());
  std::int64_t index = 0;
  std::size_t next = 0;
  const auto take = [&](const AVFrame& frame) -> Result<bool> {
    if (progress && !progress(milliseconds(static_cast<double>(index) / fps),
                              milliseconds(static_cast<double>(chosen.back() + 1) / fps))) {
      return fail(ErrorCode::cancelled, concat(name, ": cancelled while the clip was read"));
    }
    if (index++ != chosen[next]) return true;
    if (auto good = check_size(frame.width, frame.height, name, {limits.max_pixels}); !good) return forward(good);
    auto image = frame_to_rgb(frame, name);
    if (!image) return forward(image);
    VideoFrame out{turned(std::move(*image), quarters), index - 1, static_cast<double>(index - 1) / fps};
    auto going = on_frame(std::move(out));
    if (!going) return going;
    return *going && ++next < chosen.size();
  };
  if (auto done = container->each_frame(take); !done) return done;
  if (next < chosen.size() && index <= chosen[next]) {
    return fail(ErrorCode::bad_file, concat(name, ": the file ends early: ", index, " of ", *total, " frames decode"));
  }
  return {};
}

}  // namespace carat::media
