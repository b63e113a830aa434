// PNG by libpng, which leaves by longjmp on errors: what is alive across a call has no destructor.
#include <png.h>

#include <csetjmp>
#include <cstring>

#include "base/concat.h"
#include "media/image_formats.h"

namespace carat::media {
namespace {

using base::concat;

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const std::byte> rest;
  char message[128] = {};
  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    if (png != nullptr) png_destroy_read_struct(&png, &info, nullptr);
  }
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::strncpy(reader->message, message, sizeof reader->message - 1);
  std::longjmp(png_jmpbuf(png), 1);
}
void on_warning(png_structp, png_const_charp) {}
void read(png_structp png, png_bytep out, std::size_t count) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader->rest.size()) png_error(png, "the file ends early");
  std::memcpy(out, reader->rest.data(), count);
  reader->rest = reader->rest.subspan(count);
}

// Header and transformations: 8 bit RGB, with alpha where the file has a channel of it.
bool read_header(Reader& r) {
  if (setjmp(png_jmpbuf(r.png))) return false;
  png_set_read_fn(r.png, &r, read);
  png_set_user_limits(r.png, 0x7FFFFFFF, 0x7FFFFFFF);
  png_set_chunk_malloc_max(r.png, std::size_t{64} << 20);
  png_read_info(r.png, r.info);
  png_set_strip_16(r.png);
  png_set_packing(r.png);
  const int colour = png_get_color_type(r.png, r.info);
  if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(r.png);
  if (colour == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(r.png, r.info) < 8) png_set_expand_gray_1_2_4_to_8(r.png);
  if (png_get_valid(r.png, r.info, PNG_INFO_tRNS) != 0) png_set_tRNS_to_alpha(r.png);
  if ((colour & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(r.png);
  png_set_interlace_handling(r.png);
  png_read_update_info(r.png, r.info);
  return true;
}

bool read_rows(Reader& r, png_bytepp rows) {
  if (setjmp(png_jmpbuf(r.png))) return false;
  png_read_image(r.png, rows);
  png_read_end(r.png, r.info);
  return true;
}

}  // namespace

Result<RawImage> decode_png(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits) {
  Reader r;
  r.rest = file;
  r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
  if (r.png != nullptr) r.info = png_create_info_struct(r.png);
  if (r.info == nullptr) return fail(ErrorCode::out_of_memory, concat(name, ": no memory to read a PNG file"));
  const auto damaged = [&] {
    return fail(ErrorCode::bad_file, concat(name, ": the PNG file is damaged: ", static_cast<const char*>(r.message)));
  };
  if (!read_header(r)) return damaged();
  const auto width = static_cast<std::int64_t>(png_get_image_width(r.png, r.info)),
             height = static_cast<std::int64_t>(png_get_image_height(r.png, r.info));
  if (auto good = check_size(width, height, name, limits); !good) return forward(good);
  const std::size_t channels = png_get_channels(r.png, r.info), stride = png_get_rowbytes(r.png, r.info);
  std::vector<std::uint8_t> pixels(stride * static_cast<std::size_t>(height));
  std::vector<png_bytep> rows;
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) rows.push_back(pixels.data() + y * stride);
  if (!read_rows(r, rows.data())) return damaged();
  RawImage out;
  out.image.width = static_cast<int>(width);
  out.image.height = static_cast<int>(height);
  const auto count = static_cast<std::size_t>(width * height);
  if (channels == 3) {
    out.image.rgb = std::move(pixels);
  } else {
    out.image.rgb.resize(3 * count);
    out.alpha.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(out.image.rgb.data() + 3 * i, pixels.data() + 4 * i, 3);
      out.alpha[i] = pixels[4 * i + 3];
    }
  }
  png_bytep exif = nullptr;
  png_uint_32 exif_bytes = 0;
  if (png_get_eXIf_1(r.png, r.info, &exif_bytes, &exif) != 0) {
    out.orientation = exif_orientation(std::as_bytes(std::span(exif, exif_bytes)));
  }
  return out;
}

}  // namespace carat::media
