// Writes a checkpoint of a published size as a sparse file: real configuration, real tensor names and shapes, no bytes
// on disk. Opening, inspecting and planning memory then run on the real sizes without the weights.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace carat::test {

struct FullSize {
  std::string name;
  std::int64_t layers, pattern, hidden, mlp, heads, kv_sliding, kv_full, window, shared, ple, experts, max_positions;
  bool k_eq_v, double_wide;
};

inline const std::vector<FullSize>& full_sizes() {
  static const std::vector<FullSize> sizes = {
      {"E2B", 35, 5, 1536, 6144, 8, 1, 1, 512, 20, 256, 0, 131072, false, true},
      {"E4B", 42, 6, 2560, 10240, 8, 2, 2, 512, 18, 256, 0, 131072, false, false},
      {"12B", 48, 6, 3840, 15360, 16, 8, 1, 1024, 0, 0, 0, 262144, true, false},
      {"26B-A4B", 30, 6, 2816, 2112, 16, 8, 2, 1024, 0, 0, 128, 262144, true, false},
      {"31B", 60, 6, 5376, 21504, 32, 16, 4, 1024, 0, 0, 0, 262144, true, false},
  };
  return sizes;
}

/// A temporary directory with config.json and a sparse model.safetensors; removed with the object.
class FullSizeCheckpoint {
 public:
  explicit FullSizeCheckpoint(const FullSize& s)
      : path_(std::filesystem::temp_directory_path() / ("carat-full-size-" + s.name + "-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
    write_config(s);
    write_tensors(s);
  }
  ~FullSizeCheckpoint() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FullSizeCheckpoint(const FullSizeCheckpoint&) = delete;
  FullSizeCheckpoint& operator=(const FullSizeCheckpoint&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_config(const FullSize& s) {
    const auto n = [](std::int64_t value) { return std::to_string(value); };
    std::string types;
    for (std::int64_t i = 0; i < s.layers; ++i) {
      types += std::string(i ? "," : "") + ((i + 1) % s.pattern ? "\"sliding_attention\"" : "\"full_attention\"");
    }
    std::string text = R"({"model_type":"gemma4","text_config":{"model_type":"gemma4_text","vocab_size":262144,)"
                       R"("hidden_size":)" +
                       n(s.hidden) + R"(,"intermediate_size":)" + n(s.mlp) + R"(,"num_hidden_layers":)" + n(s.layers) +
                       R"(,"num_attention_heads":)" + n(s.heads) + R"(,"num_key_value_heads":)" + n(s.kv_sliding) +
                       R"(,"head_dim":256,"global_head_dim":512)" + R"(,"sliding_window":)" + n(s.window) +
                       R"(,"max_position_embeddings":)" + n(s.max_positions) + R"(,"num_kv_shared_layers":)" +
                       n(s.shared) + R"(,"hidden_size_per_layer_input":)" + n(s.ple) +
                       R"(,"vocab_size_per_layer_input":262144,"final_logit_softcapping":30.0,"rms_norm_eps":1e-6)" +
                       R"(,"use_double_wide_mlp":)" + (s.double_wide ? "true" : "false") + R"(,"layer_types":[)" +
                       types + "]";
    if (s.k_eq_v) text += R"(,"attention_k_eq_v":true,"num_global_key_value_heads":)" + n(s.kv_full);
    if (s.experts) {
      text += R"(,"enable_moe_block":true,"num_experts":)" + n(s.experts) +
              R"(,"top_k_experts":8,"moe_intermediate_size":704)";
    }
    std::ofstream(path_ / "config.json") << text << "}}";
  }

  void tensor(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::int64_t elements = 1;
    std::string dims;
    for (const std::int64_t d : shape) {
      elements *= d;
      dims += (dims.empty() ? "" : ",") + std::to_string(d);
    }
    header_ += (header_.size() > 1 ? "," : "") + std::string("\"model.language_model.") + name +
               R"(":{"dtype":"BF16","shape":[)" + dims + R"(],"data_offsets":[)" + std::to_string(offset_) + "," +
               std::to_string(offset_ + 2 * elements) + "]}";
    offset_ += 2 * elements;
  }

  void write_tensors(const FullSize& s) {
    tensor("embed_tokens.weight", {262144, s.hidden});
    tensor("norm.weight", {s.hidden});
    if (s.ple) {
      tensor("embed_tokens_per_layer.weight", {262144, s.layers * s.ple});
      tensor("per_layer_model_projection.weight", {s.layers * s.ple, s.hidden});
      tensor("per_layer_projection_norm.weight", {s.ple});
    }
    for (std::int64_t i = 0; i < s.layers; ++i) {
      const std::string l = "layers." + std::to_string(i) + ".";
      const bool full = (i + 1) % s.pattern == 0, owns = i < s.layers - s.shared;
      const std::int64_t d = full ? 512 : 256, kv = full ? s.kv_full : s.kv_sliding;
      const std::int64_t mlp = s.double_wide && !owns ? 2 * s.mlp : s.mlp;
      for (const char* norm :
           {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"}) {
        tensor(l + norm + ".weight", {s.hidden});
      }
      tensor(l + "self_attn.q_proj.weight", {s.heads * d, s.hidden});
      tensor(l + "self_attn.q_norm.weight", {d});
      // Keys and values of sharing layers are written too, as published files may carry them.
      tensor(l + "self_attn.k_proj.weight", {kv * d, s.hidden});
      tensor(l + "self_attn.k_norm.weight", {d});
      if (!(s.k_eq_v && full)) tensor(l + "self_attn.v_proj.weight", {kv * d, s.hidden});
      tensor(l + "self_attn.o_proj.weight", {s.hidden, s.heads * d});
      tensor(l + "mlp.gate_proj.weight", {mlp, s.hidden});
      tensor(l + "mlp.up_proj.weight", {mlp, s.hidden});
      tensor(l + "mlp.down_proj.weight", {s.hidden, mlp});
      tensor(l + "layer_scalar", {1});
      if (s.ple) {
        tensor(l + "per_layer_input_gate.weight", {s.ple, s.hidden});
        tensor(l + "per_layer_projection.weight", {s.hidden, s.ple});
        tensor(l + "post_per_layer_input_norm.weight", {s.hidden});
      }
      if (s.experts) {
        tensor(l + "router.proj.weight", {s.experts, s.hidden});
        tensor(l + "router.scale", {s.hidden});
        tensor(l + "router.per_expert_scale", {s.experts});
        tensor(l + "experts.gate_up_proj", {s.experts, 1408, s.hidden});
        tensor(l + "experts.down_proj", {s.experts, s.hidden, 704});
        for (const char* norm :
             {"pre_feedforward_layernorm_2", "post_feedforward_layernorm_1", "post_feedforward_layernorm_2"}) {
          tensor(l + norm + ".weight", {s.hidden});
        }
      }
    }
    header_ += "}";
    while (header_.size() % 8 != 0) header_ += ' ';
    const std::uint64_t size = header_.size();
    {
      std::ofstream out(path_ / "model.safetensors", std::ios::binary);
      out.write(reinterpret_cast<const char*>(&size), 8);
      out << header_;
    }
    std::filesystem::resize_file(path_ / "model.safetensors", 8 + size + static_cast<std::uint64_t>(offset_));
  }

  std::filesystem::path path_;
  std::string header_ = "{";
  std::int64_t offset_ = 0;
};

}  // namespace carat::test
