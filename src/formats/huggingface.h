// The Hugging Face directory reader: config.json and its companions, one or many safetensors files.
#pragma once

#include <filesystem>
#include <memory>

#include "carat/result.h"
#include "formats/checkpoint_state.h"

namespace carat::formats {

/// Fills a checkpoint from a directory as published. Errors: bad_file naming the file at fault and what is missing, io
/// when something cannot be read, unsupported for tensor types Carat does not know and for directories that hold other
/// formats.
Result<std::unique_ptr<Checkpoint::State>> read_huggingface_checkpoint(const std::filesystem::path& directory);

}  // namespace carat::formats
