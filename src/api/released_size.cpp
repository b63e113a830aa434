// The released configurations, one row each.
#include "api/released_size.h"

#include <algorithm>

namespace carat {
namespace {

// What sliding and full layers have of their own.
struct AttentionSize {
  std::int64_t kv_heads, head_dim;
};

struct Experts {
  std::int64_t count = 0, chosen = 0, mlp = 0;
};

struct Release {
  const char* name;
  const char* family;
  std::int64_t layers, period;  ///< each period-th layer has full attention
  std::int64_t hidden, mlp, heads;
  AttentionSize sliding, full;
  std::int64_t window;
  std::int64_t shared_layers = 0;    ///< the last ones, which read keys and values of earlier layers
  std::int64_t wide_mlp_factor = 1;  ///< how many times `mlp` those layers have
  std::int64_t per_layer_input = 0;
  bool full_k_eq_v = false;
  Experts experts = {};
};

constexpr Release kReleases[] = {
    // name, family, layers, period, hidden, mlp, heads, sliding {kv heads, head dim}, full, window, shared layers …
    {"Gemma 4 E2B", "gemma4", 35, 5, 1536, 6144, 8, {1, 256}, {1, 512}, 512, 20, 2, 256},
    {"Gemma 4 E4B", "gemma4", 42, 6, 2560, 10240, 8, {2, 256}, {2, 512}, 512, 18, 1, 256},
    {"Gemma 4 12B", "gemma4", 48, 6, 3840, 15360, 16, {8, 256}, {1, 512}, 1024, 0, 1, 0, true},
    {"Gemma 4 26B-A4B", "gemma4", 30, 6, 2816, 2112, 16, {8, 256}, {2, 512}, 1024, 0, 1, 0, true, {128, 8, 704}},
    {"Gemma 4 31B", "gemma4", 60, 6, 5376, 21504, 32, {16, 256}, {4, 512}, 1024, 0, 1, 0, true},
    {"Gemma 3 270M", "gemma3", 18, 6, 640, 2048, 4, {1, 256}, {1, 256}, 512},
    {"Gemma 3 1B", "gemma3", 26, 6, 1152, 6912, 4, {1, 256}, {1, 256}, 512},
    {"Gemma 3 4B", "gemma3", 34, 6, 2560, 10240, 8, {4, 256}, {4, 256}, 1024},
    {"Gemma 3 12B", "gemma3", 48, 6, 3840, 15360, 16, {8, 256}, {8, 256}, 1024},
    {"Gemma 3 27B", "gemma3", 62, 6, 5376, 21504, 32, {16, 128}, {16, 128}, 1024},
};

bool matches(const LayerSummary& layer, const Release& release) {
  const bool is_full = (layer.index + 1) % release.period == 0;
  const bool shares = layer.index >= release.layers - release.shared_layers;
  const AttentionSize& attention = is_full ? release.full : release.sliding;
  return layer.layer_type == (is_full ? "full_attention" : "sliding_attention") &&
         layer.num_attention_heads == release.heads && layer.num_key_value_heads == attention.kv_heads &&
         layer.head_dim == attention.head_dim &&
         layer.intermediate_size == (shares ? release.wide_mlp_factor : 1) * release.mlp &&
         layer.num_experts == release.experts.count && layer.top_k_experts == release.experts.chosen &&
         layer.moe_intermediate_size == release.experts.mlp && (layer.kv_source != layer.index) == shares &&
         layer.attention_k_eq_v == (is_full && release.full_k_eq_v);
}

bool matches(const CheckpointSummary& summary, const Release& release) {
  // Gemma 3 files with a vision tower round the vocabulary up.
  const bool vocabulary = summary.vocab_size == 262144 || (summary.family == "gemma3" && summary.vocab_size == 262208);
  return summary.family == release.family && vocabulary &&
         static_cast<std::int64_t>(summary.layers.size()) == release.layers && summary.hidden_size == release.hidden &&
         summary.sliding_window == release.window && summary.num_kv_shared_layers == release.shared_layers &&
         summary.hidden_size_per_layer_input == release.per_layer_input &&
         std::ranges::all_of(summary.layers, [&](const LayerSummary& layer) { return matches(layer, release); });
}

}  // namespace

std::optional<std::string> released_size(const CheckpointSummary& summary) {
  for (const Release& release : kReleases) {
    if (matches(summary, release)) return release.name;
  }
  return std::nullopt;
}

}  // namespace carat
