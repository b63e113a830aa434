// JPEG by libjpeg-turbo, which leaves by longjmp on errors: what is alive across a call has no destructor.
#include <cstdio>  // jpeglib.h needs FILE
//
#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>

#include "base/concat.h"
#include "media/image_formats.h"

namespace carat::media {
namespace {

using base::concat;

// A progressive file may refine its picture in any number of scans, each as long to decode as the picture is large.
constexpr int kMaxScans = 500;

struct Reader {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf back{};
  char message[JMSG_LENGTH_MAX] = {};
  bool created = false;
  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    if (created) jpeg_destroy_decompress(&jpeg);
  }
};

[[noreturn]] void on_error(j_common_ptr common) {
  auto* reader = static_cast<Reader*>(common->client_data);
  common->err->format_message(common, reader->message);
  std::longjmp(reader->back, 1);
}
// Warnings are about damage that leaves some picture. A file that ends early is none to answer about.
void on_message(j_common_ptr common, int level) {
  if (level < 0 && common->err->msg_code == JWRN_JPEG_EOF) on_error(common);
}
void on_progress(j_common_ptr common) {
  auto* reader = static_cast<Reader*>(common->client_data);
  if (reader->jpeg.input_scan_number <= kMaxScans) return;
  std::snprintf(reader->message, sizeof reader->message, "it has more than %d scans", kMaxScans);
  std::longjmp(reader->back, 1);
}

bool read_header(Reader& r, std::span<const std::byte> file) {
  if (setjmp(r.back)) return false;
  r.jpeg.err = jpeg_std_error(&r.errors);
  r.jpeg.client_data = &r;
  r.errors.error_exit = on_error;
  r.errors.emit_message = on_message;
  jpeg_create_decompress(&r.jpeg);
  r.created = true;
  r.progress.progress_monitor = on_progress;
  r.jpeg.progress = &r.progress;
  jpeg_mem_src(&r.jpeg, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_save_markers(&r.jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&r.jpeg, TRUE);
  return true;
}

bool read_rows(Reader& r, std::uint8_t* pixels, std::size_t stride) {
  if (setjmp(r.back)) return false;
  jpeg_start_decompress(&r.jpeg);
  while (r.jpeg.output_scanline < r.jpeg.output_height) {
    JSAMPROW row = pixels + r.jpeg.output_scanline * stride;
    jpeg_read_scanlines(&r.jpeg, &row, 1);
  }
  jpeg_finish_decompress(&r.jpeg);
  return true;
}

// a * b / 255, rounded, as Pillow does it.
unsigned times(unsigned a, unsigned b) {
  const unsigned t = a * b + 128;
  return ((t >> 8) + t) >> 8;
}

}  // namespace

Result<RawImage> decode_jpeg(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits) {
  Reader r;
  const auto damaged = [&] {
    return fail(ErrorCode::bad_file, concat(name, ": the JPEG file is damaged: ", static_cast<const char*>(r.message)));
  };
  if (!read_header(r, file)) return damaged();
  if (auto good = check_size(r.jpeg.image_width, r.jpeg.image_height, name, limits); !good) return forward(good);
  RawImage out;
  for (const auto* marker = r.jpeg.marker_list; marker != nullptr; marker = marker->next) {
    const auto bytes = std::as_bytes(std::span(marker->data, marker->data_length));
    if (marker->marker != JPEG_APP0 + 1 || bytes.size() < 6 || bytes[0] != std::byte{'E'}) continue;
    out.orientation = exif_orientation(bytes);
    break;
  }
  const bool four = r.jpeg.num_components == 4;
  r.jpeg.out_color_space = four ? JCS_CMYK : r.jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  const std::size_t channels = four                         ? 4
                               : r.jpeg.num_components == 1 ? 1
                                                            : 3,
                    width = r.jpeg.image_width, height = r.jpeg.image_height;
  std::vector<std::uint8_t> pixels(width * height * channels);
  if (!read_rows(r, pixels.data(), width * channels)) return damaged();
  out.image.width = static_cast<int>(width);
  out.image.height = static_cast<int>(height);
  if (channels == 3) {
    out.image.rgb = std::move(pixels);
  } else {
    out.image.rgb.resize(width * height * 3);
    for (std::size_t i = 0; i < width * height; ++i) {
      for (std::size_t c = 0; c < 3; ++c) {
        std::uint8_t& value = out.image.rgb[3 * i + c];
        if (!four) {
          value = pixels[i];
          continue;
        }
        // Files by Adobe hold inverted inks.
        const unsigned ink = r.jpeg.saw_Adobe_marker ? 255U - pixels[4 * i + c] : pixels[4 * i + c];
        const unsigned paper = r.jpeg.saw_Adobe_marker ? pixels[4 * i + 3] : 255U - pixels[4 * i + 3];
        value = static_cast<std::uint8_t>(paper - times(ink, paper));
      }
    }
  }
  return out;
}

}  // namespace carat::media
