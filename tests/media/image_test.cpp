// Pictures against Pillow's pixels and the reference's image processor.
#include "media/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "media/data_url.h"
#include "media/file_bytes.h"
#include "media/image_formats.h"
#include "media/image_patches.h"
#include "media/media_data.h"
#include "media/resize.h"

namespace carat::test {
namespace {

using namespace carat::media;

Image source_image(const std::string& name) {
  tensor::Shape shape;
  Image out;
  out.rgb = expected<std::uint8_t>(name, &shape);
  out.height = static_cast<int>(shape[0]);
  out.width = static_cast<int>(shape[1]);
  return out;
}

std::vector<std::string> picture_names() {
  std::vector<std::string> out;
  for (const auto& tensor : expected_file().tensors()) {
    if (tensor.name.starts_with("pixels.")) out.push_back(tensor.name.substr(7));
  }
  return out;
}

TEST(Pictures, HavePillowsPixels) {
  const auto names = picture_names();
  ASSERT_GE(names.size(), 25U);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const auto image = decode_image(media_bytes(name), name);
    ASSERT_TRUE(image) << image.error().message;
    tensor::Shape shape;
    const auto pixels = expected<std::uint8_t>("pixels." + name, &shape);
    ASSERT_EQ(image->height, shape[0]);
    ASSERT_EQ(image->width, shape[1]);
    int worst = 0;
    for (std::size_t i = 0; i < pixels.size(); ++i) worst = std::max(worst, std::abs(image->rgb[i] - pixels[i]));
    EXPECT_LE(worst, name.ends_with(".jpg") ? 1 : 0);
  }
}

TEST(Pictures, AlphaIsDroppedOrComposedOverWhite) {
  const auto dropped = decode_image(media_bytes("rgba.png"), "rgba.png", Alpha::drop);
  const auto composed = decode_image(media_bytes("rgba.png"), "rgba.png", Alpha::white);
  const auto opaque = decode_image(media_bytes("rgb.png"), "rgb.png", Alpha::white);
  ASSERT_TRUE(dropped && composed && opaque);
  EXPECT_EQ(dropped->rgb, opaque->rgb);
  for (std::size_t x = 0; x < 37; ++x) {  // alpha grows from left to right
    const double alpha = std::floor(255.0 * static_cast<double>(x) / 36) / 255;
    for (std::size_t c = 0; c < 3; ++c) {
      EXPECT_NEAR(composed->rgb[3 * x + c], dropped->rgb[3 * x + c] * alpha + 255 * (1 - alpha), 1.01) << x;
    }
  }
  EXPECT_EQ(composed->rgb[0], 255);
}

TEST(Pictures, HostileFilesGetOneError) {
  for (const std::string& name : picture_names()) {
    at_every_cut(name, [&](std::span<const std::byte> bytes, std::size_t size) {
      const auto image = decode_image(bytes, name);
      // What is cut off an animation may be its later frames.
      if (image && name.starts_with("animated")) return;
      ASSERT_FALSE(image) << name << " cut to " << size;
      EXPECT_NE(image.error().message.find(name), std::string::npos);
    });
  }
  std::vector<std::byte> noise(1000);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<std::byte>(i * 7919 % 251);
  EXPECT_FALSE(decode_image(noise, "noise"));
  EXPECT_FALSE(decode_image({}, "empty"));
  // A header that promises more than the limits is refused before memory is spent.
  auto bomb = media_bytes("rgb.png");
  for (const std::size_t at : {16U, 20U}) bomb[at + 1] = std::byte{0x10};  // width and height + 2^20
  EXPECT_FALSE(decode_image(bomb, "bomb.png"));
  const auto limited = decode_image(media_bytes("rgb.png"), "rgb.png", Alpha::drop, {.max_pixels = 900});
  ASSERT_FALSE(limited);
  EXPECT_NE(limited.error().message.find("--max-pixels"), std::string::npos) << limited.error().message;
  for (const std::string name : {"lossy.webp", "palette.gif", "rgb.bmp", "baseline.jpg"}) {
    EXPECT_FALSE(decode_image(media_bytes(name), name, Alpha::drop, {.max_pixels = 900})) << name;
  }
}

TEST(Exif, OrientationsAreReadWhereTheyAreSound) {
  const auto bytes = [](std::initializer_list<int> values) {
    std::vector<std::byte> out;
    for (const int v : values) out.push_back(static_cast<std::byte>(v));
    return out;
  };
  EXPECT_EQ(exif_orientation({}), 1);
  auto block = bytes({'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0});
  EXPECT_EQ(exif_orientation(block), 6);
  block[18] = std::byte{9};
  EXPECT_EQ(exif_orientation(block), 1);
  for (std::size_t size = 0; size + 2 < block.size(); ++size) {
    EXPECT_EQ(exif_orientation(std::span(block).first(size)), 1) << size;
  }
  EXPECT_EQ(exif_orientation(bytes({'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 8, 0, 0})), 8);
  block[4] = std::byte{0xFF};  // the directory lies behind the end
  EXPECT_EQ(exif_orientation(block), 1);
}

TEST(Resize, EqualsPillowToTheBit) {
  const Image source = source_image("resize.source");
  std::size_t compared = 0;
  for (const auto& tensor : expected_file().tensors()) {
    if (!tensor.name.starts_with("resize.") || tensor.name == "resize.source") continue;
    const Image wanted = source_image(tensor.name);
    EXPECT_EQ(resize_bicubic(source, wanted.width, wanted.height).rgb, wanted.rgb) << tensor.name;
    ++compared;
  }
  EXPECT_EQ(compared, 11U);
}

TEST(Patches, SizesAreTheReferences) {
  const auto sizes = expected<std::int32_t>("sizes");
  ASSERT_EQ(sizes.size(), 15U * 5 * 5);
  for (std::size_t i = 0; i < sizes.size(); i += 5) {
    const auto size = target_size({sizes[i + 1], sizes[i]}, sizes[i + 2], {});
    const auto what = testing::Message() << sizes[i] << "x" << sizes[i + 1] << " at " << sizes[i + 2];
    EXPECT_EQ(size.has_value(), sizes[i + 3] > 0) << what;
    if (size) {
      EXPECT_EQ(*size, (PixelSize{sizes[i + 4], sizes[i + 3]})) << what;
    }
  }
  EXPECT_FALSE(target_size({1, 100000}, 70, {}) && target_size({1, 100000}, 70, {})->width > 70 * 48);
}

TEST(Patches, ValuesAndPositionsAreTheReferences) {
  const Image source = source_image("patches.source");
  for (const int budget : {70, 280}) {
    const std::string name = "patches" + std::to_string(budget);
    const auto patches = image_patches(source, budget, {});
    ASSERT_TRUE(patches);
    EXPECT_EQ(patches->positions, expected<std::int32_t>(name + ".positions"));
    EXPECT_EQ(patches->tokens * 9, patches->count);
    const auto values = expected<std::uint8_t>(name + ".values");  // every 17th patch
    const auto width = static_cast<std::size_t>(patches->width);
    ASSERT_EQ(width, 768U);
    ASSERT_EQ(values.size(), (static_cast<std::size_t>(patches->count) + 16) / 17 * width);
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_FLOAT_EQ(patches->values[i / width * 17 * width + i % width], static_cast<float>(values[i] / 255.0)) << i;
    }
    // Merged patches hold the same pixels, a whole token each.
    const auto merged = image_patches(source, budget, {.merged = true});
    ASSERT_TRUE(merged);
    EXPECT_EQ(merged->tokens, patches->tokens);
    EXPECT_EQ(merged->width, 48 * 48 * 3);
    const auto columns = static_cast<std::size_t>(patches->size.width / 16);
    for (std::size_t y = 0; y < 48; ++y) {
      for (std::size_t x = 0; x < 48; ++x) {
        const std::size_t patch = y / 16 * columns + x / 16, pixel = y % 16 * 16 + x % 16;
        ASSERT_EQ(merged->values[(y * 48 + x) * 3], patches->values[patch * width + pixel * 3]);
      }
    }
  }
}

TEST(Patches, AutomaticBudgetsKeepTheResolution) {
  EXPECT_EQ(automatic_budget({100, 100}, {}), 70);
  EXPECT_EQ(automatic_budget({560, 560}, {}), 140);
  EXPECT_EQ(automatic_budget({768, 1024}, {}), 560);
  EXPECT_EQ(automatic_budget({4000, 3000}, {}), 1120);
  for (int side = 50; side < 1600; side += 37) {
    const int budget = automatic_budget({side, side}, {});
    if (budget < 1120) {
      EXPECT_GE(target_size({side, side}, budget, {})->height, 0.9 * side) << side;
    }
  }
}

TEST(DataUrl, Decodes) {
  const auto text = [](const Result<std::vector<std::byte>>& bytes) {
    return bytes ? std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size())
                 : "ERROR " + bytes.error().message;
  };
  EXPECT_EQ(text(decode_data_url("data:image/png;base64,aGVsbG8=", 100)), "hello");
  EXPECT_EQ(text(decode_data_url("DATA:;BASE64,aGVsbG8", 100)), "hello");
  EXPECT_EQ(text(decode_data_url("data:,a%20b%2C", 100)), "a b,");
  EXPECT_EQ(text(decode_base64("aGVs\nbG8h", 100)), "hello!");
  EXPECT_EQ(text(decode_base64("-_-_", 100)), text(decode_base64("+/+/", 100)));
  EXPECT_EQ(text(decode_base64("", 100)), "");
  for (const char* bad : {"data:image/png;base64", "data:;base64,a", "data:;base64,a=b=", "data:;base64,aGV*",
                          "data:,%2", "data:,%zz", "http://x"}) {
    EXPECT_FALSE(decode_data_url(bad, 100)) << bad;
  }
  EXPECT_TRUE(decode_base64("aGVsbG8=", 5));
  const auto long_one = decode_base64("aGVsbG8=", 4);
  ASSERT_FALSE(long_one);
  EXPECT_NE(long_one.error().message.find("--max-media-bytes"), std::string::npos);
}

TEST(MediaFile, ErrorsSayWhatIsWrong) {
  EXPECT_TRUE(read_media_file(media_path("rgb.png"), 1 << 20));
  for (const auto& [path, what] :
       std::initializer_list<std::pair<std::filesystem::path, const char*>>{{media_path("none.png"), "no such file"},
                                                                            {media_path(""), "folder"},
                                                                            {"/dev/null", "empty"},
                                                                            {"/dev/zero", "larger"}}) {
    const auto bytes = read_media_file(path, 1 << 20);
    ASSERT_FALSE(bytes) << path;
    EXPECT_NE(bytes.error().message.find(what), std::string::npos) << bytes.error().message;
  }
}

}  // namespace
}  // namespace carat::test
