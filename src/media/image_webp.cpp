// WebP by libwebp: still pictures and the first frame of animations, lossy and lossless.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "base/concat.h"
#include "media/image_formats.h"

namespace carat::media {

using base::concat;

Result<RawImage> decode_webp(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits) {
  const auto damaged = [&](const char* what) {
    return fail(ErrorCode::bad_file, concat(name, ": the WebP file is damaged: ", what));
  };
  const WebPData data{reinterpret_cast<const std::uint8_t*>(file.data()), file.size()};
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemux(&data), WebPDemuxDelete);
  if (demuxer == nullptr) return damaged("it ends early or is none");
  const std::int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH),
                     height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  if (auto good = check_size(width, height, name, limits); !good) return forward(good);
  WebPAnimDecoderOptions options;
  if (WebPAnimDecoderOptionsInit(&options) == 0) return damaged("the library refuses it");
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(WebPAnimDecoderNew(&data, &options),
                                                                             WebPAnimDecoderDelete);
  std::uint8_t* pixels = nullptr;
  int timestamp = 0;
  if (decoder == nullptr || WebPAnimDecoderGetNext(decoder.get(), &pixels, &timestamp) == 0) {
    return damaged("its picture does not decode");
  }
  RawImage out;
  out.image.width = static_cast<int>(width);
  out.image.height = static_cast<int>(height);
  const auto count = static_cast<std::size_t>(width * height);
  out.image.rgb.resize(3 * count);
  const bool alpha = (WebPDemuxGetI(demuxer.get(), WEBP_FF_FORMAT_FLAGS) & ALPHA_FLAG) != 0;
  if (alpha) out.alpha.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(out.image.rgb.data() + 3 * i, pixels + 4 * i, 3);
    if (alpha) out.alpha[i] = pixels[4 * i + 3];
  }
  WebPChunkIterator chunk;
  if (WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk) != 0) {
    out.orientation = exif_orientation(std::as_bytes(std::span(chunk.chunk.bytes, chunk.chunk.size)));
    WebPDemuxReleaseChunkIterator(&chunk);
  }
  return out;
}

}  // namespace carat::media
