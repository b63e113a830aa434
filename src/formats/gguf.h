// The GGUF reader: one file's header parsed from bytes, and whole checkpoints of one or several files.
// The byte layout is described in docs/formats/gguf.md.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "carat/result.h"
#include "formats/checkpoint.h"
#include "formats/checkpoint_state.h"

namespace carat::formats {

/// One parsed GGUF file. Views point into the bytes it was parsed from.
struct GgufFile {
  std::uint32_t version = 0;
  GgufMetadata metadata;
  std::vector<NamedTensor> tensors;  ///< in file order
};

/// Parses and checks a whole header; tensor data are located, not read. `origin` is the path, for messages; `file`
/// names the file in each tensor. Errors: bad_file, or unsupported for a version, byte order or tensor type Carat does
/// not read.
Result<GgufFile> parse_gguf(std::span<const std::byte> bytes, std::string_view origin, std::string_view file);

/// Fills a checkpoint from an already mapped GGUF file at `path`; the first of a split set brings in the others from
/// the same directory.
Result<std::unique_ptr<Checkpoint::State>> read_gguf_checkpoint(const std::filesystem::path& path,
                                                                base::MappedFile file);

}  // namespace carat::formats
