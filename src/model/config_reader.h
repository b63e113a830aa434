// The two readers behind read_config: config.json of a Hugging Face directory and the metadata of a GGUF file.
#pragma once

#include "model/config.h"

namespace carat::model {

Result<Config> read_huggingface_config(const formats::Checkpoint& checkpoint);
Result<Config> read_gguf_config(const formats::Checkpoint& checkpoint);

/// Gives every layer its kv_source: the last `num_kv_shared_layers` read from the last earlier layer of their type that
/// owns keys and values (spec: Gemma4TextConfig.kv_sharing_modes).
Result<void> assign_kv_sources(Config& config, std::int64_t num_kv_shared_layers, const std::string& origin);

/// Ranges every hyper-parameter must keep, whatever the format; far above every published model.
inline constexpr std::int64_t kMaxLayers = 1024, kMaxWidth = std::int64_t{1} << 20, kMaxVocab = std::int64_t{1} << 24,
                              kMaxPositions = std::int64_t{1} << 24, kMaxHeads = 4096, kMaxExperts = 4096;

}  // namespace carat::model
