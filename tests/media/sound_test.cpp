// Sounds and clips: samples, features against the reference's extractor, frames against its choice.
#include "media/sound.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "media/media_data.h"
#include "media/mel.h"
#include "media/video.h"

namespace carat::test {
namespace {

using namespace carat::media;

std::vector<float> tone(std::size_t count) {
  std::vector<float> out;
  for (std::size_t n = 0; n < count; ++n) {
    out.push_back(static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * 440 * static_cast<double>(n) / 16000)));
  }
  return out;
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i] - b[i])));
  return worst;
}

TEST(Mel, EqualsTheReference) {
  const auto frames = mel_frames(tone(16000));
  ASSERT_TRUE(frames);
  ASSERT_EQ(frames->size(), 99U * 128);
  const auto wanted = expected<float>("mel.tone");
  std::size_t row = 0;
  for (const std::size_t frame : {0U, 1U, 50U, 98U}) {
    EXPECT_LE(
        largest_difference(std::span(*frames).subspan(frame * 128, 128), std::span(wanted).subspan(128 * row++, 128)),
        1e-4)
        << frame;
  }
  double sum = 0;
  for (const float v : *frames) sum += static_cast<double>(v);
  EXPECT_NEAR(sum, -63570.99, 0.5);
  const auto noise = mel_frames(expected<float>("mel.noise.samples"));
  ASSERT_TRUE(noise);
  EXPECT_LE(largest_difference(*noise, expected<float>("mel.noise")), 1e-4);
  const auto speech = mel_frames(expected<float>("mel.speech.samples"));
  ASSERT_TRUE(speech);
  const auto some = expected<float>("mel.speech");  // every third frame
  for (std::size_t i = 0; i < some.size(); ++i) {
    ASSERT_NEAR((*speech)[i / 128 * 3 * 128 + i % 128], some[i], 1e-4) << i;
  }
}

TEST(Mel, HasAFrameForEveryWindowOfRealSamples) {
  for (const std::size_t length : {161U, 321U, 1600U, 8000U, 8001U}) {
    const auto frames = mel_frames(std::vector<float>(length));
    ASSERT_TRUE(frames);
    EXPECT_EQ(frames->size() / 128,
              static_cast<std::size_t>(expected<std::int32_t>("mel.frames." + std::to_string(length))[0]));
  }
  EXPECT_EQ(mel_frames(std::vector<float>(480000))->size() / 128, 2999U);
  EXPECT_FALSE(mel_frames(std::vector<float>(480001)));
  EXPECT_FALSE(mel_frames(std::vector<float>(160)));
  EXPECT_FALSE(mel_frames({}));
  EXPECT_EQ(sample_runs(std::vector<float>(641, 1.0F), 640).size(), 1280U);
}

TEST(Sound, EveryFormatGivesTheTone) {
  const auto wanted = tone(16000);
  for (const char* name : {"s16.wav", "u8.wav", "s24.wav", "s32.wav", "f32.wav", "f64.wav", "stereo44.wav",
                           "high384.wav", "mono.mp3", "mono.flac", "opus.ogg", "vorbis.ogg", "aac.m4a"}) {
    SCOPED_TRACE(name);
    const auto sound = decode_sound(media_bytes(name), name);
    ASSERT_TRUE(sound) << sound.error().message;
    const double seconds = std::string(name) == "high384.wav" ? 0.05 : 0.4;
    EXPECT_NEAR(static_cast<double>(sound->size()) / 16000, seconds, 0.08);
    // The strength of 440 Hz in the middle, whatever the codec's delay.
    const std::span<const float> middle = std::span(*sound).subspan(sound->size() / 4, sound->size() / 2);
    double re = 0, im = 0, all = 0;
    for (std::size_t n = 0; n < middle.size(); ++n) {
      const double angle = 2 * std::numbers::pi * 440 * static_cast<double>(n) / 16000,
                   v = static_cast<double>(middle[n]);
      re += v * std::cos(angle);
      im += v * std::sin(angle);
      all += v * v;
    }
    const auto size = static_cast<double>(middle.size());
    // The encoder of the stereo file gave each side half the power.
    const double amplitude = std::string(name) == "stereo44.wav" ? 0.5 / std::numbers::sqrt2 : 0.5;
    EXPECT_NEAR(2 * std::hypot(re, im) / size, amplitude, 0.04);
    EXPECT_NEAR(all / size, amplitude * amplitude / 2, 0.02);
  }
}

TEST(Sound, SixteenBitFilesComeThroughExactly) {
  const auto sound = decode_sound(media_bytes("s16.wav"), "s16.wav");
  ASSERT_TRUE(sound);
  ASSERT_EQ(sound->size(), 6400U);
  const auto bytes = media_bytes("s16.wav");
  for (std::size_t i = 0; i < sound->size(); ++i) {
    std::int16_t sample = 0;
    std::memcpy(&sample, bytes.data() + bytes.size() - 12800 + 2 * i, 2);
    ASSERT_EQ((*sound)[i], static_cast<float>(sample) / 32768.0F) << i;
  }
}

// A WAV file of these bytes of samples.
std::vector<std::byte> wav(int format, int channels, int rate, int bits, std::span<const std::byte> data,
                           std::uint32_t claimed) {
  std::string out = "RIFF";
  const auto number = [&](std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
  };
  number(36 + claimed, 4);
  out += "WAVEfmt ";
  number(16, 4);
  number(static_cast<std::uint64_t>(format), 2);
  number(static_cast<std::uint64_t>(channels), 2);
  number(static_cast<std::uint64_t>(rate), 4);
  number(static_cast<std::uint64_t>(rate) * static_cast<std::uint64_t>(channels * bits / 8), 4);
  number(static_cast<std::uint64_t>(channels * bits / 8), 2);
  number(static_cast<std::uint64_t>(bits), 2);
  out += "data";
  number(claimed, 4);
  out.append(reinterpret_cast<const char*>(data.data()), data.size());
  const auto* begin = reinterpret_cast<const std::byte*>(out.data());
  return {begin, begin + out.size()};
}

TEST(Sound, HostileFilesGetOneError) {
  for (const char* name : {"s16.wav", "f64.wav", "mono.flac", "aac.m4a", "clip.mp4"}) {
    at_every_cut(name, [&](std::span<const std::byte> bytes, std::size_t size) {
      const auto sound = decode_sound(bytes, name);
      ASSERT_FALSE(sound) << name << " cut to " << size;
      EXPECT_NE(sound.error().message.find(name), std::string::npos);
    });
  }
  // These say nowhere how long they are: what is left decodes, or is one error.
  for (const char* name : {"mono.mp3", "opus.ogg", "vorbis.ogg"}) {
    at_every_cut(name, [&](std::span<const std::byte> bytes, std::size_t) { decode_sound(bytes, name); });
  }
  const std::vector<std::byte> samples(64000);
  EXPECT_TRUE(decode_sound(wav(1, 1, 16000, 16, samples, 64000), "whole"));
  EXPECT_FALSE(decode_sound(wav(1, 1, 16000, 16, samples, 640000), "lying"));
  EXPECT_FALSE(decode_sound(wav(1, 1, 16000, 16, {}, 0), "zero samples"));
  EXPECT_FALSE(decode_sound(wav(1, 30000, 16000, 16, samples, 64000), "channels"));
  EXPECT_FALSE(decode_sound(wav(1, 1, 2000000000, 16, samples, 64000), "rate"));
  const float bad[] = {0.1F, NAN, 0.2F, 0.3F};
  EXPECT_FALSE(decode_sound(wav(3, 1, 16000, 32, std::as_bytes(std::span(bad)), 16), "nan"));
  const auto limited = decode_sound(media_bytes("s16.wav"), "s16.wav", {.max_seconds = 0.1});
  ASSERT_FALSE(limited);
  EXPECT_NE(limited.error().message.find("--max-seconds"), std::string::npos) << limited.error().message;
  // A playlist names files; none is opened.
  for (const std::string& text :
       {"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + media_path("s16.wav").string() + "\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '" + media_path("s16.wav").string() + "'\n"}) {
    EXPECT_FALSE(decode_sound(std::as_bytes(std::span(text)), "playlist"));
  }
  EXPECT_FALSE(decode_sound({}, "empty"));
  EXPECT_FALSE(decode_sound(media_bytes("clip.webm"), "silent clip"));
}

TEST(Sound, SplitsAtPauses) {
  std::vector<float> samples = tone(16000 * 70);
  const auto silence = [&](double from, double to) {
    std::fill(samples.begin() + static_cast<std::ptrdiff_t>(from * 16000),
              samples.begin() + static_cast<std::ptrdiff_t>(to * 16000), 0.0F);
  };
  silence(27.0, 27.5);
  silence(50.0, 50.4);
  const auto windows = split_at_pauses(samples, 480000);
  ASSERT_EQ(windows.size(), 3U);
  EXPECT_NEAR(static_cast<double>(windows[0].size()) / 16000, 27.25, 0.3);
  EXPECT_NEAR(static_cast<double>(windows[0].size() + windows[1].size()) / 16000, 50.2, 0.3);
  const float* next = samples.data();
  for (const auto window : windows) {
    EXPECT_EQ(window.data(), next);
    EXPECT_LE(window.size(), 480000U);
    next += window.size();
  }
  EXPECT_EQ(next, samples.data() + samples.size());
  EXPECT_EQ(split_at_pauses(std::span(samples).first(480000), 480000).size(), 1U);
  EXPECT_TRUE(split_at_pauses({}, 480000).empty());
}

TEST(Video, ChoosesTheReferencesFrames) {
  const auto rows = expected<std::int32_t>("frames");
  ASSERT_GT(rows.size(), 600U);
  for (std::size_t i = 0; i < rows.size(); i += 6) {
    FrameChoice choice;
    if (rows[i + 1] > 0)
      choice.fps = rows[i + 2] / 10.0;
    else
      choice.frames = rows[i + 2];
    const auto chosen = chosen_frames(rows[i], rows[i + 1] > 0 ? rows[i + 1] / 1000.0 : 24, choice);
    const auto what = testing::Message() << rows[i] << " frames at " << rows[i + 1] << " by " << rows[i + 2];
    ASSERT_EQ(static_cast<std::int32_t>(chosen.size()), rows[i + 3]) << what;
    EXPECT_EQ(chosen.back(), rows[i + 4]) << what;
    std::int64_t sum = 0;
    for (const std::int64_t index : chosen) sum += index;
    EXPECT_EQ(sum % (std::int64_t{1} << 31), rows[i + 5]) << what;
  }
}

TEST(Video, FramesHaveTheirPicturesAndTimes) {
  for (const char* name : {"clip.mp4", "clip.webm"}) {
    SCOPED_TRACE(name);
    std::vector<VideoFrame> frames;
    const auto done = decode_video(media_bytes(name), name, {}, {}, [&](VideoFrame frame) -> Result<bool> {
      frames.push_back(std::move(frame));
      return true;
    });
    ASSERT_TRUE(done) << done.error().message;
    ASSERT_EQ(frames.size(), 12U);
    for (std::size_t i = 0; i < frames.size(); ++i) {
      EXPECT_EQ(frames[i].index, static_cast<std::int64_t>(i));
      EXPECT_NEAR(frames[i].seconds, static_cast<double>(i) / 10, 1e-6);
      ASSERT_EQ(frames[i].image.width, 64);
      ASSERT_EQ(frames[i].image.height, 48);
      // The background's green tells the frame; the rectangle moves to the right.
      const auto pixel = [&](std::size_t x, std::size_t y, std::size_t c) {
        return frames[i].image.rgb[(y * 64 + x) * 3 + c];
      };
      EXPECT_NEAR(pixel(62, 44, 1), 20.0 * static_cast<double>(i), 9);
      EXPECT_NEAR(pixel(62, 44, 0), 20, 14);
      EXPECT_NEAR(pixel(4 * i + 8, 20, 0), 240, 14);
    }
  }
  std::vector<std::int64_t> indices;
  const auto collect = [&](VideoFrame frame) -> Result<bool> {
    indices.push_back(frame.index);
    return indices.size() < 3;
  };
  ASSERT_TRUE(decode_video(media_bytes("clip.mp4"), "clip", {.frames = 4, .fps = {}}, {}, collect));
  EXPECT_EQ(indices, (std::vector<std::int64_t>{0, 3, 6}));
  EXPECT_EQ(timestamp(0), "00:00");
  EXPECT_EQ(timestamp(61.99), "01:01");
  EXPECT_EQ(timestamp(6001), "100:01");
}

TEST(Reading, TellsHowFarItIsAndStopsWhenAsked) {
  const auto ignore = [](VideoFrame) -> Result<bool> { return true; };
  std::int64_t last = -1, end = 0;
  const auto follow = [&](std::int64_t done, std::int64_t total) {
    EXPECT_GE(done, last);
    last = done;
    end = total;
    return true;
  };
  ASSERT_TRUE(decode_video(media_bytes("clip.mp4"), "clip", {}, {}, ignore, follow));
  EXPECT_GT(last, 0);
  EXPECT_GE(end, last);
  last = -1;
  ASSERT_TRUE(decode_sound(media_bytes("stereo44.wav"), "sound", {}, follow));
  EXPECT_GT(last, 0);
  const auto stop = [](std::int64_t done, std::int64_t) { return done < 100; };
  const auto clip = decode_video(media_bytes("clip.mp4"), "clip", {}, {}, ignore, stop);
  ASSERT_FALSE(clip);
  EXPECT_EQ(clip.error().code, ErrorCode::cancelled);
  const auto sound = decode_sound(media_bytes("stereo44.wav"), "sound", {}, stop);
  ASSERT_FALSE(sound);
  EXPECT_EQ(sound.error().code, ErrorCode::cancelled);
}

TEST(Video, HostileFilesGetOneError) {
  const auto ignore = [](VideoFrame) -> Result<bool> { return true; };
  at_every_cut("clip.mp4", [&](std::span<const std::byte> bytes, std::size_t size) {
    std::size_t frames = 0;
    const auto count = [&](VideoFrame) -> Result<bool> { return ++frames > 0; };
    if (decode_video(bytes, "clip.mp4", {}, {}, count)) {
      EXPECT_EQ(frames, 12U) << size;  // what was cut off is what stands behind the frames
    }
  });
  for (const char* name : {"clip.webm", "clip.avi"}) {  // what is left of these may be a shorter clip
    at_every_cut(name,
                 [&](std::span<const std::byte> bytes, std::size_t) { decode_video(bytes, name, {}, {}, ignore); });
  }
  EXPECT_FALSE(decode_video(media_bytes("s16.wav"), "sound", {}, {}, ignore));
  EXPECT_FALSE(decode_video({}, "empty", {}, {}, ignore));
  EXPECT_FALSE(decode_video(media_bytes("clip.mp4"), "clip", {}, {.max_pixels = 100}, ignore));
  EXPECT_FALSE(decode_video(media_bytes("clip.mp4"), "clip", {}, {.max_seconds = 0.5}, ignore));
  EXPECT_FALSE(decode_video(media_bytes("clip.mp4"), "clip", {}, {.max_frames = 3}, ignore));
}

}  // namespace
}  // namespace carat::test
