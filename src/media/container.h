// Media containers read from memory through FFmpeg's libraries, which may open nothing else.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "carat/result.h"
#include "media/image_formats.h"

struct AVCodecContext;
struct AVFormatContext;
struct AVFrame;
struct AVStream;

namespace carat::media {

/// One stream of a file in memory, with its decoder. Not thread-safe.
class Container {
 public:
  enum class Kind { sound, video };

  /// Opens the best stream of that kind. The bytes must outlive the result. Errors: bad_file when FFmpeg finds no
  /// container or no such stream in it, or has no decoder for it; invalid_argument for frames beyond max_pixels.
  static Result<Container> open(std::span<const std::byte> file, const std::string& name, Kind kind,
                                std::int64_t max_pixels);
  ~Container();
  Container(Container&&) noexcept;
  Container& operator=(Container&&) noexcept;

  const AVStream& stream() const;
  const AVCodecContext& codec() const;
  /// Seconds the header promises; 0 where it promises nothing one can rely on.
  double promised_seconds() const;

  /// Decodes the stream from its start; `on_frame` returns whether to go on. Damage inside the stream is an error.
  Result<void> each_frame(const std::function<Result<bool>(const AVFrame&)>& on_frame);
  /// Counts the stream's packets, then goes back to the start.
  Result<std::int64_t> count_packets();

 private:
  struct State;
  explicit Container(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// For Progress: whole milliseconds, bounded whatever a file says of its length.
std::int64_t milliseconds(double seconds);

/// A decoded frame as 8-bit RGB of the file's own size.
Result<Image> frame_to_rgb(const AVFrame& frame, const std::string& name);

/// The first frame of a picture or clip, with its alpha channel.
Result<RawImage> decode_first_frame(std::span<const std::byte> file, const std::string& name,
                                    const ImageLimits& limits);

}  // namespace carat::media
