// The safetensors reader: a header of JSON parsed from bytes, and single files opened by themselves.
// The byte layout is described in docs/formats/safetensors.md.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "carat/result.h"
#include "formats/checkpoint.h"

namespace carat::formats {

/// The parsed header of one file. Views point into the bytes it was parsed from.
struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;  ///< "__metadata__", free text pairs
  std::vector<NamedTensor> tensors;             ///< in the order of their data
};

/// Parses and checks a whole file's header; tensor data are located, not read. `origin` is the path, for messages;
/// `file` names the file in each tensor. Errors: bad_file, or unsupported for a dtype Carat does not read.
Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> bytes, std::string_view origin,
                                            std::string_view file);

/// Readers promise data at addresses their element type may be loaded from, but old safetensors files pack without
/// padding. Copies each tensor that stands at an odd address into memory of its own, kept in `copies`. Error:
/// out_of_memory.
Result<void> align_tensors(std::span<NamedTensor> tensors, std::vector<std::unique_ptr<std::byte[]>>& copies,
                           std::string_view origin);

/// One .safetensors file by itself, with no configuration beside it. Owns its mapping; the views live as long as it
/// does.
class SafetensorsFile {
 public:
  /// All tensors sorted by name.
  std::span<const NamedTensor> tensors() const { return tensors_; }
  /// The tensor of that name, or nullptr.
  const NamedTensor* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  friend Result<SafetensorsFile> open_safetensors(const std::filesystem::path& path);
  base::MappedFile file_;
  std::vector<std::unique_ptr<std::byte[]>> copies_;
  std::map<std::string, std::string> metadata_;
  std::vector<NamedTensor> tensors_;
};

/// Opens one .safetensors file. Errors as parse_safetensors, and those of mapping it. Reads the header only.
Result<SafetensorsFile> open_safetensors(const std::filesystem::path& path);

}  // namespace carat::formats
