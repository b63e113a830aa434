#include "media/container.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

#include <algorithm>
#include <cstring>
#include <mutex>

#include "base/concat.h"

namespace carat::media {

using base::concat;

namespace {

constexpr std::size_t kBufferBytes = 1 << 15;

struct Memory {
  std::span<const std::byte> bytes;
  std::size_t at = 0;
};

int read_memory(void* opaque, std::uint8_t* out, int count) {
  auto* memory = static_cast<Memory*>(opaque);
  const std::size_t n = std::min(static_cast<std::size_t>(count), memory->bytes.size() - memory->at);
  if (n == 0) return AVERROR_EOF;
  std::memcpy(out, memory->bytes.data() + memory->at, n);
  memory->at += n;
  return static_cast<int>(n);
}
std::int64_t seek_memory(void* opaque, std::int64_t offset, int whence) {
  auto* memory = static_cast<Memory*>(opaque);
  const auto size = static_cast<std::int64_t>(memory->bytes.size());
  if ((whence & AVSEEK_SIZE) != 0) return size;
  whence &= ~AVSEEK_FORCE;
  const std::int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? static_cast<std::int64_t>(memory->at) : size;
  if (offset < -base || offset > size - base) return AVERROR(EINVAL);
  memory->at = static_cast<std::size_t>(base + offset);
  return base + offset;
}
// Playlists name other files; nothing but the bytes at hand is read.
int open_nothing(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) { return AVERROR(EACCES); }

std::string reason(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  return text;
}

}  // namespace

struct Container::State {
  std::string name;
  Memory memory;
  AVIOContext* io = nullptr;
  AVFormatContext* format = nullptr;
  AVCodecContext* codec = nullptr;
  AVPacket* packet = nullptr;
  AVFrame* frame = nullptr;
  int stream = -1;
  Kind kind = Kind::sound;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&codec);
    avformat_close_input(&format);
    if (io != nullptr) av_freep(&io->buffer);
    avio_context_free(&io);
  }
  Result<void> damaged(int code) const {
    return fail(code == AVERROR(ENOMEM) ? ErrorCode::out_of_memory : ErrorCode::bad_file,
                concat(name, ": the file is damaged: ", reason(code)));
  }
};

std::int64_t milliseconds(double seconds) { return static_cast<std::int64_t>(1000 * std::clamp(seconds, 0.0, 1e12)); }

Container::Container(std::unique_ptr<State> state) : state_(std::move(state)) {}
Container::~Container() = default;
Container::Container(Container&&) noexcept = default;
Container& Container::operator=(Container&&) noexcept = default;

const AVStream& Container::stream() const { return *state_->format->streams[state_->stream]; }
const AVCodecContext& Container::codec() const { return *state_->codec; }

double Container::promised_seconds() const {
  // Where FFmpeg estimates from the bit rate a cut file and a whole one look alike.
  if (state_->format->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE) return 0;
  const AVStream& s = stream();
  if (s.duration > 0) return static_cast<double>(s.duration) * av_q2d(s.time_base);
  return state_->format->duration > 0 ? static_cast<double>(state_->format->duration) / AV_TIME_BASE : 0;
}

Result<Container> Container::open(std::span<const std::byte> file, const std::string& name, Kind kind,
                                  std::int64_t max_pixels) {
  static std::once_flag quiet;
  std::call_once(quiet, [] { av_log_set_level(AV_LOG_QUIET); });
  const char* what = kind == Kind::sound ? "sound" : "video";
  if (file.empty()) return fail(ErrorCode::bad_file, concat(name, ": the file is empty; expected ", what));
  auto s = std::make_unique<State>();
  s->name = name;
  s->memory.bytes = file;
  s->kind = kind;
  s->format = avformat_alloc_context();
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  if (buffer != nullptr) {
    s->io = avio_alloc_context(buffer, kBufferBytes, 0, &s->memory, read_memory, nullptr, seek_memory);
    if (s->io == nullptr) av_free(buffer);
  }
  if (s->format == nullptr || s->io == nullptr) {
    return fail(ErrorCode::out_of_memory, concat(name, ": no memory to read it"));
  }
  s->format->pb = s->io;
  s->format->io_open = open_nothing;
  s->format->flags |= AVFMT_FLAG_CUSTOM_IO;
  AVDictionary* options = nullptr;
  av_dict_set(&options, "protocol_whitelist", "none", 0);
  const int opened = avformat_open_input(&s->format, nullptr, nullptr, &options);  // frees the context on failure
  av_dict_free(&options);
  if (opened < 0 || avformat_find_stream_info(s->format, nullptr) < 0) {
    return fail(ErrorCode::bad_file, concat(name, ": no ", what, " was found in it; expected a file FFmpeg reads"));
  }
  const AVCodec* decoder = nullptr;
  s->stream = av_find_best_stream(s->format, kind == Kind::sound ? AVMEDIA_TYPE_AUDIO : AVMEDIA_TYPE_VIDEO, -1, -1,
                                  &decoder, 0);
  if (s->stream == AVERROR_DECODER_NOT_FOUND) {
    return fail(ErrorCode::unsupported, concat(name, ": FFmpeg here has no decoder for its ", what));
  }
  if (s->stream < 0 || decoder == nullptr) {
    return fail(ErrorCode::bad_file, concat(name, ": the file holds no ", what));
  }
  for (unsigned i = 0; i < s->format->nb_streams; ++i) {
    if (static_cast<int>(i) != s->stream) s->format->streams[i]->discard = AVDISCARD_ALL;
  }
  const AVCodecParameters& parameters = *s->format->streams[s->stream]->codecpar;
  if (kind == Kind::video) {
    if (auto good = check_size(parameters.width, parameters.height, name, {max_pixels}); !good) return forward(good);
  }
  s->codec = avcodec_alloc_context3(decoder);
  s->packet = av_packet_alloc();
  s->frame = av_frame_alloc();
  if (s->codec == nullptr || s->packet == nullptr || s->frame == nullptr) {
    return fail(ErrorCode::out_of_memory, concat(name, ": no memory to decode it"));
  }
  s->codec->thread_count = 1;
  s->codec->max_pixels = max_pixels;
  int code = avcodec_parameters_to_context(s->codec, &parameters);
  s->codec->pkt_timebase = s->format->streams[s->stream]->time_base;
  if (code >= 0) code = avcodec_open2(s->codec, decoder, nullptr);
  if (code < 0) {
    return fail(ErrorCode::bad_file, concat(name, ": its ", what, " cannot be decoded: ", reason(code)));
  }
  return Container(std::move(s));
}

Result<void> Container::each_frame(const std::function<Result<bool>(const AVFrame&)>& on_frame) {
  State& s = *state_;
  const auto drain = [&]() -> Result<bool> {
    while (true) {
      const int code = avcodec_receive_frame(s.codec, s.frame);
      if (code == AVERROR(EAGAIN)) return true;
      if (code == AVERROR_EOF) return false;
      if (code < 0) {
        auto error = s.damaged(code);
        return forward(error);
      }
      auto going = on_frame(*s.frame);
      av_frame_unref(s.frame);
      if (!going || !*going) return going;
    }
  };
  while (true) {
    int code = av_read_frame(s.format, s.packet);
    if (code == AVERROR_EOF) break;
    if (code < 0) return s.damaged(code);
    if (s.packet->stream_index == s.stream) code = avcodec_send_packet(s.codec, s.packet);
    av_packet_unref(s.packet);
    if (code < 0) return s.damaged(code);
    auto going = drain();
    if (!going) return forward(going);
    if (!*going) return {};
  }
  const int code = avcodec_send_packet(s.codec, nullptr);
  if (code < 0 && code != AVERROR_EOF) return s.damaged(code);
  auto rest = drain();
  if (!rest) return forward(rest);
  return {};
}

Result<std::int64_t> Container::count_packets() {
  State& s = *state_;
  std::int64_t count = 0;
  int code = 0;
  while ((code = av_read_frame(s.format, s.packet)) >= 0) {
    count += s.packet->stream_index == s.stream ? 1 : 0;
    av_packet_unref(s.packet);
  }
  if (code != AVERROR_EOF) {
    auto error = s.damaged(code);
    return forward(error);
  }
  code = avformat_seek_file(s.format, -1, INT64_MIN, s.format->start_time == AV_NOPTS_VALUE ? 0 : s.format->start_time,
                            INT64_MAX, 0);
  if (code < 0) code = av_seek_frame(s.format, s.stream, 0, AVSEEK_FLAG_BACKWARD);
  if (code < 0) {
    return fail(ErrorCode::bad_file, concat(s.name, ": the file cannot be read twice: ", reason(code)));
  }
  avcodec_flush_buffers(s.codec);
  return count;
}

namespace {

using Scaler = std::unique_ptr<SwsContext, void (*)(SwsContext*)>;

// The frame as `channels` bytes a pixel (3: RGB, 4: RGBA).
Result<std::vector<std::uint8_t>> convert(const AVFrame& frame, int channels, const std::string& name) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const Scaler scaler(sws_getContext(frame.width, frame.height, format, frame.width, frame.height,
                                     channels == 3 ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_RGBA,
                                     SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP, nullptr,
                                     nullptr, nullptr),
                      sws_freeContext);
  if (scaler == nullptr)
    return fail(ErrorCode::unsupported, concat(name, ": its pixel format is not one FFmpeg converts"));
  // Which weights of luma and chroma, and whether black is 0 or 16, as the stream says.
  const int space = frame.colorspace == AVCOL_SPC_UNSPECIFIED || frame.colorspace == AVCOL_SPC_RGB ? SWS_CS_DEFAULT
                                                                                                   : frame.colorspace;
  sws_setColorspaceDetails(scaler.get(), sws_getCoefficients(space), frame.color_range == AVCOL_RANGE_JPEG ? 1 : 0,
                           sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
  const auto row = static_cast<std::size_t>(frame.width) * static_cast<std::size_t>(channels);
  // The scaler may write a little more than a row.
  std::vector<std::uint8_t> padded((row + 64) * static_cast<std::size_t>(frame.height) + 64);
  std::uint8_t* planes[4] = {padded.data(), nullptr, nullptr, nullptr};
  const int strides[4] = {static_cast<int>(row + 64), 0, 0, 0};
  if (sws_scale(scaler.get(), frame.data, frame.linesize, 0, frame.height, planes, strides) != frame.height) {
    return fail(ErrorCode::bad_file, concat(name, ": a frame cannot be converted"));
  }
  std::vector<std::uint8_t> out(row * static_cast<std::size_t>(frame.height));
  for (std::size_t y = 0; y < static_cast<std::size_t>(frame.height); ++y) {
    std::memcpy(out.data() + y * row, padded.data() + y * (row + 64), row);
  }
  return out;
}

}  // namespace

Result<Image> frame_to_rgb(const AVFrame& frame, const std::string& name) {
  auto pixels = convert(frame, 3, name);
  if (!pixels) return forward(pixels);
  return Image{frame.width, frame.height, std::move(*pixels)};
}

Result<RawImage> decode_first_frame(std::span<const std::byte> file, const std::string& name,
                                    const ImageLimits& limits) {
  auto container = Container::open(file, name, Container::Kind::video, limits.max_pixels);
  if (!container) return forward(container);
  RawImage out;
  const auto take = [&](const AVFrame& frame) -> Result<bool> {
    if (auto good = check_size(frame.width, frame.height, name, limits); !good) return forward(good);
    out.image.width = frame.width;
    out.image.height = frame.height;
    auto pixels = convert(frame, 4, name);
    if (!pixels) return forward(pixels);
    const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
    const bool alpha = format != nullptr && (format->flags & (AV_PIX_FMT_FLAG_ALPHA | AV_PIX_FMT_FLAG_PAL)) != 0;
    for (std::size_t i = 0; i < pixels->size(); i += 4) {
      out.image.rgb.insert(out.image.rgb.end(), pixels->data() + i, pixels->data() + i + 3);
      if (alpha) out.alpha.push_back((*pixels)[i + 3]);
    }
    return false;
  };
  if (auto done = container->each_frame(take); !done) return forward(done);
  if (out.image.rgb.empty()) return fail(ErrorCode::bad_file, concat(name, ": the file ends before its first picture"));
  return out;
}

}  // namespace carat::media
