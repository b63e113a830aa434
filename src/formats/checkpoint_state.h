// What a Checkpoint holds, shared by the readers that fill it: mappings, tensors and the metadata beside them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "formats/checkpoint.h"

namespace carat::formats {

/// Everything of an opened checkpoint. Views in `tensors`, `metadata` and `tokenizer_json` point into `files` and
/// `copies`, whose bytes stay in place when the state is moved.
struct Checkpoint::State {
  Format format = Format::huggingface;
  std::filesystem::path path;
  std::vector<base::MappedFile> files;
  std::vector<std::unique_ptr<std::byte[]>> copies;  ///< tensors that stood at odd addresses in their file
  std::vector<NamedTensor> tensors;                  ///< sorted by name
  Json config, generation_config, tokenizer_config, processor_config;
  std::string_view tokenizer_json;
  GgufMetadata metadata;
  std::optional<std::string> chat_template;
};

/// Makes a Checkpoint of a finished state; sorts its tensors by name.
struct CheckpointBuilder {
  static Checkpoint build(std::unique_ptr<Checkpoint::State> state);
};

}  // namespace carat::formats
