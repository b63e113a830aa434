#include "engine/prompt_media.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/concat.h"
#include "formats/quote.h"
#include "media/content_hash.h"
#include "media/data_url.h"
#include "media/file_bytes.h"
#include "media/image.h"
#include "media/image_patches.h"
#include "media/mel.h"
#include "media/sound.h"
#include "media/video.h"

namespace carat::engine {

using base::concat;
using formats::Json;
using text::PromptSegment;

namespace {

const Json& at(const Json& object, const char* key) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

Result<void> check_budget(std::int64_t budget, const std::string& what) {
  if (budget == 0 || std::ranges::find(media::kImageBudgets, budget) != std::end(media::kImageBudgets)) return {};
  return fail(ErrorCode::invalid_argument,
              concat(what, ": found ", budget, "; expected 70, 140, 280, 560, 1120 or auto"));
}

// The budget of one part: its own, else the option's.
Result<std::int64_t> budget_of(const Json& part, std::int64_t fallback) {
  const Json* found = &at(part, "budget");
  for (const char* key : {"image_url", "video_url"}) {
    if (found->is_null()) found = &at(at(part, key), "budget");
  }
  std::int64_t budget = fallback;
  if (found->is_string() && *found == "auto")
    budget = 0;
  else if (found->is_number_integer())
    budget = found->get<std::int64_t>();
  else if (!found->is_null())
    return fail(ErrorCode::invalid_argument, "budget: expected a number of tokens or \"auto\"");
  if (auto good = check_budget(budget, "budget"); !good) return forward(good);
  return budget;
}

/// The bytes a part names and what to call them.
struct Source {
  std::string name;
  std::vector<std::byte> bytes;
};

Result<Source> read_path(const std::string& path, const MediaOptions& options) {
  const auto limit = static_cast<std::size_t>(std::max<std::int64_t>(options.max_bytes, 0));
  std::filesystem::path file = path.starts_with("file://") ? path.substr(7) : path;
  if (file.is_relative() && !options.folder.empty()) file = options.folder / file;
  auto bytes = media::read_media_file(file, limit);
  if (!bytes) return forward(bytes);
  return Source{file.string(), std::move(*bytes)};
}

Result<Source> read_url(const std::string& url, const MediaOptions& options) {
  if (media::is_data_url(url)) {
    auto bytes = media::decode_data_url(url, static_cast<std::size_t>(std::max<std::int64_t>(options.max_bytes, 0)));
    if (!bytes) return forward(bytes);
    return Source{"data", std::move(*bytes)};
  }
  if (url.starts_with("http://") || url.starts_with("https://")) {
    return fail(ErrorCode::unsupported, concat("url: found ", formats::quote(url, 60),
                                               "; Carat loads nothing from the network: give a path or a data URL"));
  }
  return read_path(url, options);
}

Result<Source> read_part(const Json& part, const MediaOptions& options) {
  // OpenAI: {"image_url": {"url"}} or the URL itself, {"input_audio": {"data" | "path"}}; Hugging Face: {"path" |
  // "url"}, or the path under the type's own name.
  for (const char* key : {"image_url", "video_url", "input_audio", "image", "video", "audio"}) {
    const Json& value = at(part, key);
    if (value.is_string()) return read_url(value.get<std::string>(), options);
    if (!value.is_object()) continue;
    if (at(value, "url").is_string()) return read_url(at(value, "url").get<std::string>(), options);
    if (at(value, "path").is_string()) return read_path(at(value, "path").get<std::string>(), options);
    if (at(value, "data").is_string()) {
      const auto& data = at(value, "data").get_ref<const std::string&>();
      if (media::is_data_url(data)) return read_url(data, options);
      auto bytes = media::decode_base64(data, static_cast<std::size_t>(std::max<std::int64_t>(options.max_bytes, 0)));
      if (!bytes) return forward(bytes);
      return Source{"data", std::move(*bytes)};
    }
  }
  if (at(part, "url").is_string()) return read_url(at(part, "url").get<std::string>(), options);
  if (at(part, "path").is_string()) return read_path(at(part, "path").get<std::string>(), options);
  const Json& type = at(part, "type");
  return fail(ErrorCode::invalid_argument,
              concat("the ", type.is_string() ? type.get<std::string>() : std::string("medium"),
                     " part names no file; expected a url, a path or data"));
}

constexpr std::int64_t kKeptBytes = std::int64_t{256} << 20;

std::int64_t bytes_of(const std::vector<std::shared_ptr<const MediumInput>>& inputs) {
  std::int64_t bytes = 0;
  for (const auto& input : inputs)
    bytes += static_cast<std::int64_t>(input->features.size() * 4 + input->positions.size() * 4);
  return bytes;
}

}  // namespace

MediaReader::Inputs MediaReader::find(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(kept_, [&](const auto& entry) { return entry.first == key; });
  if (found == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found);
  return found->second;
}

void MediaReader::keep(const std::string& key, Inputs inputs) const {
  const std::lock_guard lock(mutex_);
  kept_.emplace_front(key, std::move(inputs));
  std::int64_t bytes = 0;
  for (auto entry = kept_.begin(); entry != kept_.end();) {
    bytes += bytes_of(*entry->second);
    entry = bytes > kKeptBytes && entry != kept_.begin() ? kept_.erase(entry) : std::next(entry);
  }
}

Result<void> MediaReader::takes(const char* what, bool vision) const {
  if (vision ? config_.image_format().has_value() : config_.sound_format().has_value()) return {};
  return fail(ErrorCode::unsupported,
              concat("the model takes no ", what, ": ", origin_, " has no ", vision ? "vision" : "audio",
                     " encoder (for a GGUF model it lies in a projector file: --mmproj FILE)"));
}

namespace {

// A picture, or a frame at its time, cut into patches.
Result<std::shared_ptr<const MediumInput>> patches(const media::Image& image, std::int64_t budget,
                                                   const model::ImageFormat& format, const std::string& key) {
  const media::PatchSpec spec{static_cast<int>(format.patch_size), static_cast<int>(format.pooling), format.merged};
  const int chosen =
      budget == 0 ? media::automatic_budget({image.height, image.width}, spec) : static_cast<int>(budget);
  auto cut = media::image_patches(image, chosen, spec);
  if (!cut) return forward(cut);
  MediumInput out;
  out.kind = MediumInput::Kind::image;
  out.key = key;
  out.tokens = cut->tokens;
  out.features = std::move(cut->values);
  out.positions = std::move(cut->positions);
  out.feature_width = cut->width;
  out.width = cut->size.width;
  out.height = cut->size.height;
  out.budget = chosen;
  return std::make_shared<const MediumInput>(std::move(out));
}

}  // namespace

Result<MediaReader::Inputs> MediaReader::images(std::span<const std::byte> file, const std::string& name,
                                                std::int64_t budget, const MediaOptions& options) const {
  if (auto good = takes("images", true); !good) return forward(good);
  const std::string key =
      concat(media::content_hash(file), "|image|", budget, options.white_background ? "|white" : "");
  if (auto kept = find(key)) return kept;
  auto image = media::decode_image(file, name, options.white_background ? media::Alpha::white : media::Alpha::drop,
                                   {.max_pixels = options.max_pixels});
  if (!image) return forward(image);
  auto input = patches(*image, budget, *config_.image_format(), key);
  if (!input) return fail(input.error().code, concat(name, ": ", input.error().message));
  auto out = std::make_shared<std::vector<std::shared_ptr<const MediumInput>>>();
  out->push_back(std::move(*input));
  keep(key, out);
  return Inputs(out);
}

Result<MediaReader::Inputs> MediaReader::frames(std::span<const std::byte> file, const std::string& name,
                                                std::int64_t budget, const MediaOptions& options) const {
  if (auto good = takes("video", true); !good) return forward(good);
  const std::string choice = options.video_fps ? concat("fps", *options.video_fps) : concat(options.video_frames);
  const std::string key = concat(media::content_hash(file), "|video|", budget, "|", choice);
  if (auto kept = find(key)) return kept;
  auto out = std::make_shared<std::vector<std::shared_ptr<const MediumInput>>>();
  const auto take = [&](media::VideoFrame frame) -> Result<bool> {
    auto input = patches(frame.image, budget, *config_.image_format(), concat(key, "|", frame.index));
    if (!input) return fail(input.error().code, concat(name, ": ", input.error().message));
    MediumInput timed = **input;
    timed.kind = MediumInput::Kind::frame;
    timed.seconds = frame.seconds;
    out->push_back(std::make_shared<const MediumInput>(std::move(timed)));
    return true;
  };
  auto done =
      media::decode_video(file, name, {options.video_frames, options.video_fps},
                          {options.max_pixels, options.max_frames, options.max_seconds}, take, options.progress);
  if (!done) return forward(done);
  keep(key, out);
  return Inputs(out);
}

Result<MediaReader::Inputs> MediaReader::sounds(std::span<const std::byte> file, const std::string& name,
                                                const MediaOptions& options) const {
  if (auto good = takes("sound", false); !good) return forward(good);
  const model::SoundFormat format = *config_.sound_format();
  const std::string hash = media::content_hash(file), key = concat(hash, "|sound", options.split_sound ? "|split" : "");
  if (auto kept = find(key)) return kept;
  auto samples = media::decode_sound(file, name, {.max_seconds = options.max_seconds}, options.progress);
  if (!samples) return forward(samples);
  std::vector<std::span<const float>> windows = {*samples};
  // The tower was made for 30 s; the encoder-free model takes any length.
  if (format.samples_per_token == 0 && samples->size() > media::kMaxMelSamples) {
    if (!options.split_sound) {
      return fail(
          ErrorCode::invalid_argument,
          concat(name, ": the sound lasts ", samples->size() / media::kSampleRate, " s; the model hears ",
                 media::kMaxMelSamples / media::kSampleRate, " s at once: cut it at pauses with --audio-split"));
    }
    windows = media::split_at_pauses(*samples, media::kMaxMelSamples);
  }
  auto out = std::make_shared<std::vector<std::shared_ptr<const MediumInput>>>();
  for (std::size_t i = 0; i < windows.size(); ++i) {
    MediumInput input;
    input.kind = MediumInput::Kind::sound;
    input.key = concat(key, "|", i);
    input.seconds = static_cast<double>(windows[i].size()) / media::kSampleRate;
    if (format.samples_per_token > 0) {
      input.features = media::sample_runs(windows[i], static_cast<std::size_t>(format.samples_per_token));
      input.feature_width = format.samples_per_token;
      input.tokens = static_cast<std::int64_t>(input.features.size()) / format.samples_per_token;
    } else {
      auto mel = media::mel_frames(windows[i], static_cast<std::size_t>(format.mel_bins));
      if (!mel) return fail(mel.error().code, concat(name, ": ", mel.error().message));
      input.features = std::move(*mel);
      input.feature_width = format.mel_bins;
      input.tokens = (static_cast<std::int64_t>(input.features.size()) / format.mel_bins + 3) / 4;
    }
    out->push_back(std::make_shared<const MediumInput>(std::move(input)));
  }
  keep(key, out);
  return Inputs(out);
}

namespace {

/// Writes the expanded prompt, and counts media of each kind from 0.
struct Writer {
  const text::Tokenizer& tokenizer;
  std::vector<PromptSegment> segments;
  std::vector<PlacedMedium> placed;
  std::size_t images = 0, videos = 0, sounds = 0;

  void markup(std::string text) { segments.push_back({std::move(text), true, nullptr, 0}); }

  Result<void> soft(const std::shared_ptr<const MediumInput>& input, std::string_view begin, std::string_view token,
                    std::string_view end, std::string name, const std::string& source) {
    for (const std::string_view marker : {begin, token, end}) {
      if (!tokenizer.find_special(marker)) {
        return fail(ErrorCode::unsupported,
                    concat("the vocabulary has no token ", marker, ", which stands for media in a prompt"));
      }
    }
    markup(std::string(begin));
    segments.push_back({std::string(token), true, nullptr, input->tokens});
    markup(std::string(end));
    placed.push_back({input, std::move(name), source, 0});
    return {};
  }
  Result<void> image(const std::shared_ptr<const MediumInput>& input, const std::string& source) {
    return soft(input, "<|image>", "<|image|>", "<image|>", concat("image.", images++), source);
  }
  Result<void> sound(const std::shared_ptr<const MediumInput>& input, const std::string& source) {
    return soft(input, "<|audio>", "<|audio|>", "<audio|>", concat("audio.", sounds++), source);
  }
  // Frames follow one another behind their times: "00:00 <|image>…<image|> 00:01 <|image>…<image|>" (Gemma4Processor).
  // A stretch of sound stands before the first frame that is not earlier than its begin.
  Result<void> video(const std::vector<std::shared_ptr<const MediumInput>>& frames,
                     const std::vector<std::shared_ptr<const MediumInput>>& heard, const std::string& source) {
    std::size_t next = 0;
    double begin = 0;
    for (std::size_t i = 0; i < frames.size() || next < heard.size();) {
      if (next < heard.size() && (i == frames.size() || begin <= frames[i]->seconds)) {
        if (auto done = sound(heard[next], source); !done) return done;
        begin += heard[next++]->seconds;
        if (i < frames.size()) markup(" ");
        continue;
      }
      markup(concat(media::timestamp(frames[i]->seconds), " "));
      auto done = soft(frames[i], "<|image>", "<|video|>", "<image|>", concat("video.", videos, ".frame.", i), source);
      if (!done) return done;
      if (++i < frames.size() || next < heard.size()) markup(" ");
    }
    ++videos;
    return {};
  }
};

}  // namespace

Result<std::vector<PlacedMedium>> MediaReader::expand(text::Prompt& prompt, const text::Tokenizer& tokenizer,
                                                      const MediaOptions& options) const {
  const std::int64_t image_budget = options.image_budget.value_or(config_.image_budget);
  if (auto good = check_budget(
          image_budget, options.image_budget ? "image budget" : concat(origin_, ": image_processor.max_soft_tokens"));
      !good)
    return forward(good);
  if (auto good = check_budget(options.frame_budget, "frame budget"); !good) return forward(good);
  if (options.video_frames < 1) {
    return fail(ErrorCode::invalid_argument,
                concat("video frames: found ", options.video_frames, "; expected 1 or more"));
  }
  if (options.video_fps && !(*options.video_fps > 0 && std::isfinite(*options.video_fps))) {
    return fail(ErrorCode::invalid_argument, concat("video fps: found ", *options.video_fps, "; expected more than 0"));
  }
  Writer out{tokenizer, {}, {}};
  for (PromptSegment& segment : prompt.segments) {
    if (segment.medium == nullptr) {
      out.segments.push_back(std::move(segment));
      continue;
    }
    if (segment.text == "<start_of_image>") {
      return fail(ErrorCode::unsupported, "Carat reads the images of Gemma 4 only; this is a Gemma 3 model");
    }
    if (options.progress && !options.progress(0, 0))
      return fail(ErrorCode::cancelled, "cancelled while media were read");
    const Json& part = *segment.medium;
    const bool image = segment.text == "<|image|>", sound = segment.text == "<|audio|>";
    auto budget = budget_of(part, image ? image_budget : options.frame_budget);
    if (!budget) return forward(budget);
    // A video may be a list of picture files, frames a second apart.
    const Json& list = at(part, "video");
    if (!image && !sound && list.is_array()) {
      if (auto good = takes("video", true); !good) return forward(good);
      std::vector<std::shared_ptr<const MediumInput>> frames;
      for (std::size_t i = 0; i < list.size(); ++i) {
        if (!list[i].is_string()) {
          return fail(ErrorCode::invalid_argument, "video: expected a file or a list of picture files");
        }
        auto source = read_url(list[i].get<std::string>(), options);
        if (!source) return forward(source);
        auto read = images(source->bytes, source->name, *budget, options);
        if (!read) return forward(read);
        MediumInput timed = *(*read)->front();
        timed.kind = MediumInput::Kind::frame;
        timed.seconds = static_cast<double>(i);
        frames.push_back(std::make_shared<const MediumInput>(std::move(timed)));
      }
      if (frames.empty()) return fail(ErrorCode::invalid_argument, "video: the list of picture files is empty");
      if (auto done = out.video(frames, {}, "pictures"); !done) return forward(done);
      continue;
    }
    auto source = read_part(part, options);
    if (!source) return forward(source);
    Result<Inputs> read = image   ? images(source->bytes, source->name, *budget, options)
                          : sound ? sounds(source->bytes, source->name, options)
                                  : frames(source->bytes, source->name, *budget, options);
    if (!read) return forward(read);
    Result<void> done;
    if (image) {
      done = out.image((*read)->front(), source->name);
    } else if (sound) {
      for (const auto& window : **read) {
        done = out.sound(window, source->name);
        if (!done) break;
      }
    } else {
      Inputs heard;
      if (options.video_sound) {
        MediaOptions split = options;
        split.split_sound = true;
        auto track = sounds(source->bytes, source->name, split);
        if (!track) return forward(track);
        heard = *track;
      }
      done = out.video(**read, heard != nullptr ? *heard : std::vector<std::shared_ptr<const MediumInput>>(),
                       source->name);
    }
    if (!done) return forward(done);
  }
  prompt.segments = std::move(out.segments);
  return std::move(out.placed);
}

Result<void> check_placeholders(const Json& messages, const text::Prompt& prompt) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Json& content = at(messages[i], "content");
    if (!content.is_array()) continue;
    for (std::size_t k = 0; k < content.size(); ++k) {
      const Json& type = at(content[k], "type");
      if (!type.is_string() || text::placeholder(type.get_ref<const std::string&>()).empty()) continue;
      const bool stands =
          std::ranges::any_of(prompt.segments, [&](const PromptSegment& s) { return s.medium == &content[k]; });
      if (stands) continue;
      return fail(ErrorCode::invalid_argument,
                  concat("messages[", i, "].content[", k, "]: the prompt format has no place for a medium in a ",
                         at(messages[i], "role").get<std::string>(), " message there; put it into a user message"));
    }
  }
  return {};
}

}  // namespace carat::engine
