// Media of a prompt: from the content parts that name them to what the encoders take, and the prompt with a soft token
// for each row they will give.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "carat/media.h"
#include "carat/result.h"
#include "model/encoder_config.h"
#include "text/chat_template.h"

namespace carat::engine {

/// One image, frame or window of sound, ready for an encoder. Immutable.
struct MediumInput {
  enum class Kind { image, frame, sound } kind = Kind::image;
  std::string key;  ///< hash of the file with everything that shapes the features: equal keys, equal features
  std::int64_t tokens = 0;
  std::vector<float> features;          ///< patches [P, values], mel frames, or runs of samples
  std::vector<std::int32_t> positions;  ///< [P, 2] of patches
  std::int64_t feature_width = 0;       ///< values of a patch, frame or run
  std::int64_t width = 0, height = 0, budget = 0;
  double seconds = 0;
};

/// A medium at its place in a prompt.
struct PlacedMedium {
  std::shared_ptr<const MediumInput> input;
  std::string name;    ///< "image.0", "video.0.frame.3", "audio.1"
  std::string source;  ///< for people
  std::int64_t begin = 0;
};

/// Reads media files. Thread-safe; keeps what was read lately, so that a conversation does not decode its pictures anew
/// at every turn.
class MediaReader {
 public:
  /// `config` of the model's encoders; `origin` names it in errors.
  MediaReader(model::EncoderConfig config, std::string origin)
      : config_(std::move(config)), origin_(std::move(origin)) {}

  /// Replaces every placeholder of `prompt` by the markers and soft tokens of its medium, and returns the media in
  /// order (their `begin` is filled in by place()). `media_parts` is how many content parts of the messages are media:
  /// each must have a placeholder. Errors: those of reading and decoding; invalid_argument (a part without a source, a
  /// budget there is not, sound too long); unsupported (a kind of medium the model does not take, a vocabulary without
  /// the marker).
  Result<std::vector<PlacedMedium>> expand(text::Prompt& prompt, const text::Tokenizer& tokenizer,
                                           const MediaOptions& options) const;

 private:
  using Inputs = std::shared_ptr<const std::vector<std::shared_ptr<const MediumInput>>>;
  Result<Inputs> images(std::span<const std::byte> file, const std::string& name, std::int64_t budget,
                        const MediaOptions& options) const;
  Result<Inputs> frames(std::span<const std::byte> file, const std::string& name, std::int64_t budget,
                        const MediaOptions& options) const;
  Result<Inputs> sounds(std::span<const std::byte> file, const std::string& name, const MediaOptions& options) const;
  Result<void> takes(const char* what, bool vision) const;
  Inputs find(const std::string& key) const;
  void keep(const std::string& key, Inputs inputs) const;

  model::EncoderConfig config_;
  std::string origin_;
  mutable std::mutex mutex_;
  mutable std::list<std::pair<std::string, Inputs>> kept_;  ///< the latest first
};

/// Checks that every medium among the messages' content parts has its placeholder in the prompt: templates leave out
/// what stands in a system message.
Result<void> check_placeholders(const formats::Json& messages, const text::Prompt& prompt);

}  // namespace carat::engine
