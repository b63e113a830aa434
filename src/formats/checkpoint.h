// A checkpoint as opened from disk, whatever its format: named tensors in mapped files, plus the metadata beside them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "carat/result.h"
#include "formats/json.h"
#include "tensor/tensor_view.h"

namespace carat::formats {

enum class Format { huggingface, gguf };

/// A tensor and where it stands. Names are those of the file (Hugging Face or GGUF spelling), shapes slowest first.
struct NamedTensor {
  std::string name;
  tensor::TensorView view;
  std::string file;  ///< file name, for error messages
};

/// An array of a GGUF file, kept as mapped bytes until somebody asks for its elements.
struct GgufArray {
  std::uint32_t element_type = 0;  ///< GGUF value type: 0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool, 8
                                   ///< string, 10 u64, 11 i64, 12 f64
  std::uint64_t count = 0;
  std::span<const std::byte> bytes;  ///< validated: exactly `count` elements lie inside
};
using GgufValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray>;

/// The key-value part of a GGUF file. Accessors convert between the integer types and say where a type is wrong.
class GgufMetadata {
 public:
  explicit GgufMetadata(std::string origin = {}) : origin_(std::move(origin)) {}
  bool contains(std::string_view key) const { return values_.find(key) != values_.end(); }
  const GgufValue* find(std::string_view key) const;
  /// Typed look-ups. A missing key is nothing; a present key of another kind or range is an error naming file and key.
  Result<std::optional<std::int64_t>> integer(std::string_view key) const;
  Result<std::optional<double>> number(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string_view>> text(std::string_view key) const;
  Result<std::optional<std::vector<std::int64_t>>> integers(std::string_view key) const;  ///< bools count as 0/1
  Result<std::optional<std::vector<float>>> numbers(std::string_view key) const;
  Result<std::optional<std::vector<std::string_view>>> texts(std::string_view key) const;

  const std::map<std::string, GgufValue, std::less<>>& values() const { return values_; }
  void insert(std::string key, GgufValue value) { values_.insert_or_assign(std::move(key), std::move(value)); }
  const std::string& origin() const { return origin_; }

 private:
  std::string origin_;  ///< file path, for messages
  std::map<std::string, GgufValue, std::less<>> values_;
};

/// An opened checkpoint. Owns the file mappings; every TensorView and string_view it hands out lives as long as it
/// does. Immutable after opening, so any number of threads may read it.
class Checkpoint {
 public:
  Checkpoint();
  ~Checkpoint();
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;

  Format format() const;
  const std::filesystem::path& path() const;  ///< what the user named

  /// All tensors sorted by name; towers and tables included, nothing read yet.
  std::span<const NamedTensor> tensors() const;
  /// The tensor of that name, or nullptr.
  const NamedTensor* find(std::string_view name) const;
  /// Says that the bytes of a tensor of this checkpoint will not be read again soon. They stay readable.
  void release(const tensor::TensorView& tensor) const;

  // Hugging Face directories: parsed config.json and generation_config.json (null Json when absent), the raw text of
  // tokenizer.json, and parsed tokenizer_config.json and processor_config.json (empty when absent).
  const Json& config() const;
  const Json& generation_config() const;
  std::string_view tokenizer_json() const;
  const Json& tokenizer_config() const;
  const Json& processor_config() const;

  // GGUF files: the metadata of the first (or only) split.
  const GgufMetadata& metadata() const;

  /// The chat template text: chat_template.jinja, chat_template.json, tokenizer_config.json "chat_template" (in that
  /// order), or `tokenizer.chat_template` of a GGUF; nothing when there is none.
  const std::optional<std::string>& chat_template() const;

  struct State;

 private:
  friend struct CheckpointBuilder;
  std::unique_ptr<State> state_;
};

/// Opens a Hugging Face directory (config.json, one or many safetensors with index) or a GGUF file (v2 or v3; the first
/// file of a split set pulls in the others). Reads headers only: weights are mapped, not touched. Errors: bad_file with
/// file, place, what was found and expected; unsupported for a tensor type or GGUF version Carat does not know (the
/// error names it). Blocking; thread-safe.
Result<Checkpoint> open_checkpoint(const std::filesystem::path& path);

}  // namespace carat::formats
