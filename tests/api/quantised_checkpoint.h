// Writes the text decoder of a Hugging Face directory as a GGUF file whose matrices are quantised, as a converted
// release is: for tests of behaviour at every block type whose blocks fit a small model's rows.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/file_builders.h"
#include "formats/json.h"
#include "tensor/tensor_view.h"

namespace carat::test {

/// Encodes rows of blocks of 32 by rounding each value to the nearest code under the block's own scale (and minimum),
/// the plainest encoder there is. Types: q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl.
class BlockWriter {
 public:
  explicit BlockWriter(tensor::DType type) : type_(type) {}

  std::string encode(const std::vector<float>& values) const {
    std::string out;
    for (std::size_t at = 0; at + 32 <= values.size(); at += 32) block(values.data() + at, out);
    return out;
  }

 private:
  static void half(float value, std::string& out) { out += tests::raw(tensor::f32_to_f16(value)); }
  // 4-bit codes: the first half of the block in the low, the second in the high bits.
  static void nibbles(const std::array<int, 32>& codes, std::string& out) {
    for (std::size_t i = 0; i < 16; ++i) out += static_cast<char>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  }
  static void fifth_bits(const std::array<int, 32>& codes, std::string& out) {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 32; ++i) bits |= static_cast<std::uint32_t>(codes[i] >> 4 & 1) << i;
    out += tests::raw(bits);
  }

  void block(const float* x, std::string& out) const {
    const auto [low, high] = std::minmax_element(x, x + 32);
    const float signed_most = -*low > *high ? *low : *high;
    std::array<int, 32> codes{};
    const auto round = [&](float scale, float zero, int least, int most) {
      for (std::size_t i = 0; i < 32; ++i) {
        const float code = scale != 0 ? (x[i] - zero) / scale : 0;
        codes[i] = std::clamp(static_cast<int>(std::lround(code)), least, most);
      }
    };
    switch (type_) {
      case tensor::DType::q8_0: {
        const float scale = std::abs(signed_most) / 127;
        round(scale, 0, -127, 127);
        half(scale, out);
        for (const int code : codes) out += static_cast<char>(code);
        return;
      }
      case tensor::DType::q4_0:
      case tensor::DType::q5_0: {  // the value of largest magnitude is the lowest code
        const int middle = type_ == tensor::DType::q4_0 ? 8 : 16;
        const float scale = signed_most / static_cast<float>(-middle);
        round(scale, 0, -middle, middle - 1);
        for (int& code : codes) code += middle;
        half(scale, out);
        if (type_ == tensor::DType::q5_0) fifth_bits(codes, out);
        nibbles(codes, out);
        return;
      }
      case tensor::DType::q4_1:
      case tensor::DType::q5_1: {
        const int most = type_ == tensor::DType::q4_1 ? 15 : 31;
        const float scale = (*high - *low) / static_cast<float>(most);
        round(scale, *low, 0, most);
        half(scale, out);
        half(*low, out);
        if (type_ == tensor::DType::q5_1) fifth_bits(codes, out);
        nibbles(codes, out);
        return;
      }
      case tensor::DType::iq4_nl: {
        constexpr std::array<int, 16> kValues = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                 1,    13,   25,  38,  53,  69,  89,  113};
        const float scale = signed_most / -127;
        for (std::size_t i = 0; i < 32; ++i) {
          const float wanted = scale != 0 ? x[i] / scale : 0;
          const auto nearest = std::min_element(kValues.begin(), kValues.end(), [&](int a, int b) {
            return std::abs(static_cast<float>(a) - wanted) < std::abs(static_cast<float>(b) - wanted);
          });
          codes[i] = static_cast<int>(nearest - kValues.begin());
        }
        half(scale, out);
        nibbles(codes, out);
        return;
      }
      default:
        ADD_FAILURE() << "no encoder for " << tensor::info(type_).name;
    }
  }

  tensor::DType type_;
};

namespace gguf_twin {

/// The GGUF name of a decoder's tensor; empty for what is not part of the decoder.
inline std::string name_of(const std::string& name) {
  static const std::string prefix = "model.language_model.";
  static const std::map<std::string, std::string> top = {
      {"embed_tokens.weight", "token_embd.weight"},
      {"embed_tokens_per_layer.weight", "per_layer_token_embd.weight"},
      {"per_layer_model_projection.weight", "per_layer_model_proj.weight"},
      {"per_layer_projection_norm.weight", "per_layer_proj_norm.weight"},
      {"norm.weight", "output_norm.weight"}};
  static const std::map<std::string, std::string> layer = {
      {"input_layernorm.weight", "attn_norm.weight"},
      {"self_attn.q_proj.weight", "attn_q.weight"},
      {"self_attn.k_proj.weight", "attn_k.weight"},
      {"self_attn.v_proj.weight", "attn_v.weight"},
      {"self_attn.q_norm.weight", "attn_q_norm.weight"},
      {"self_attn.k_norm.weight", "attn_k_norm.weight"},
      {"self_attn.o_proj.weight", "attn_output.weight"},
      {"post_attention_layernorm.weight", "post_attention_norm.weight"},
      {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
      {"mlp.gate_proj.weight", "ffn_gate.weight"},
      {"mlp.up_proj.weight", "ffn_up.weight"},
      {"mlp.down_proj.weight", "ffn_down.weight"},
      {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
      {"per_layer_input_gate.weight", "inp_gate.weight"},
      {"per_layer_projection.weight", "proj.weight"},
      {"post_per_layer_input_norm.weight", "post_norm.weight"},
      {"layer_scalar", "layer_output_scale.weight"}};
  if (!name.starts_with(prefix)) return {};
  const std::string rest = name.substr(prefix.size());
  if (const auto found = top.find(rest); found != top.end()) return found->second;
  if (!rest.starts_with("layers.")) return {};
  const auto dot = rest.find('.', 7);
  const auto found = layer.find(rest.substr(dot + 1));
  return found == layer.end() ? std::string() : "blk." + rest.substr(7, dot - 7) + "." + found->second;
}

inline void add_configuration(const formats::Json& text, tests::GgufBuilder& out) {
  const auto number = [&](const char* key) { return text.at(key).get<std::uint32_t>(); };
  const std::uint32_t layers = number("num_hidden_layers"), shared = number("num_kv_shared_layers");
  const formats::Json& rope = text.at("rope_parameters");
  out.string("general.architecture", "gemma4").string("general.name", "quantised");
  out.u32("gemma4.block_count", layers).u32("gemma4.context_length", number("max_position_embeddings"));
  out.u32("gemma4.embedding_length", number("hidden_size"));
  out.u32("gemma4.attention.head_count", number("num_attention_heads"));
  out.u32("gemma4.attention.head_count_kv", number("num_key_value_heads"));
  out.f32("gemma4.attention.layer_norm_rms_epsilon", text.at("rms_norm_eps").get<float>());
  out.f32("gemma4.rope.freq_base", rope.at("full_attention").at("rope_theta").get<float>());
  out.f32("gemma4.rope.freq_base_swa", rope.at("sliding_attention").at("rope_theta").get<float>());
  out.u32("gemma4.attention.sliding_window", number("sliding_window"));
  out.f32("gemma4.final_logit_softcapping", text.at("final_logit_softcapping").get<float>());
  out.u32("gemma4.attention.shared_kv_layers", shared);
  out.u32("gemma4.embedding_length_per_layer_input", number("hidden_size_per_layer_input"));
  out.u32("gemma4.attention.key_length", number("global_head_dim"));
  out.u32("gemma4.attention.value_length", number("global_head_dim"));
  out.u32("gemma4.attention.key_length_swa", number("head_dim"));
  out.u32("gemma4.attention.value_length_swa", number("head_dim"));
  out.u32("gemma4.rope.dimension_count", number("global_head_dim"));
  out.u32("gemma4.rope.dimension_count_swa", number("head_dim"));
  std::string widths, pattern;
  for (std::uint32_t i = 0; i < layers; ++i) {
    const bool wide = text.at("use_double_wide_mlp").get<bool>() && i >= layers - shared;
    widths += tests::raw(number("intermediate_size") * (wide ? 2 : 1));
    pattern += text.at("layer_types")[i] == "sliding_attention" ? '\x01' : '\x00';
  }
  out.array("gemma4.feed_forward_length", 4, layers, widths);
  out.array("gemma4.attention.sliding_window_pattern", 7, layers, pattern);
  // Proportional RoPE: divisors of the frequencies, 1 for the pairs that turn, the others so large that they stand.
  const std::uint32_t pairs = number("global_head_dim") / 2;
  const auto turning = static_cast<std::uint32_t>(static_cast<float>(pairs) *
                                                  rope.at("full_attention").at("partial_rotary_factor").get<float>());
  std::string divisors;
  for (std::uint32_t i = 0; i < pairs; ++i) divisors += tests::raw(i < turning ? 1.0F : 1e30F);
  out.tensor("rope_freqs.weight", {pairs}, 0, divisors);
}

inline void add_tokenizer(const formats::Checkpoint& from, tests::GgufBuilder& out) {
  const auto document = formats::Json::parse(from.tokenizer_json());
  const formats::Json& vocab = document.at("model").at("vocab");
  std::vector<std::string> pieces(vocab.size());
  for (const auto& [piece, id] : vocab.items()) pieces[id.get<std::size_t>()] = piece;
  std::map<std::string, bool> control;
  for (const auto& added : document.at("added_tokens")) control[added.at("content").get<std::string>()] = true;
  std::string tokens, scores, types, merges;
  for (const std::string& piece : pieces) {
    const bool byte = piece.size() == 6 && piece.starts_with("<0x");
    tokens += tests::gguf_string(piece);
    scores += tests::raw(-1000.0F);
    types += tests::raw<std::int32_t>(control.contains(piece) ? 3 : byte ? 6 : 1);
  }
  for (const auto& pair : document.at("model").at("merges"))
    merges += tests::gguf_string(pair[0].get<std::string>() + " " + pair[1].get<std::string>());
  out.string("tokenizer.ggml.model", "gemma4").array("tokenizer.ggml.tokens", 8, pieces.size(), tokens);
  out.array("tokenizer.ggml.scores", 6, pieces.size(), scores);
  out.array("tokenizer.ggml.token_type", 5, pieces.size(), types);
  out.array("tokenizer.ggml.merges", 8, document.at("model").at("merges").size(), merges);
  for (const auto& [key, piece] : std::map<std::string, std::string>{{"bos_token_id", "<bos>"},
                                                                     {"eos_token_id", "<eos>"},
                                                                     {"unknown_token_id", "<unk>"},
                                                                     {"padding_token_id", "<pad>"},
                                                                     {"mask_token_id", "<mask>"}}) {
    out.u32("tokenizer.ggml." + key, vocab.at(piece).get<std::uint32_t>());
  }
  out.entry("tokenizer.ggml.add_space_prefix", 7, std::string(1, '\x00'));
  out.entry("tokenizer.ggml.add_bos_token", 7, std::string(1, '\x01'));
  out.string("tokenizer.chat_template", from.chat_template().value_or(""));
}

}  // namespace gguf_twin

/// Writes `file`: the decoder of `directory` with its matrices in `type`, vectors in f32.
inline void write_quantised(const std::filesystem::path& directory, tensor::DType type,
                            const std::filesystem::path& file) {
  const auto from = formats::open_checkpoint(directory);
  ASSERT_TRUE(from) << from.error().message;
  tests::GgufBuilder out;
  gguf_twin::add_configuration(from->config().at("text_config"), out);
  gguf_twin::add_tokenizer(*from, out);
  for (const formats::NamedTensor& one : from->tensors()) {
    const std::string name = gguf_twin::name_of(one.name);
    if (name.empty()) continue;
    const auto dims = one.view.shape.dims();
    std::vector<float> values(static_cast<std::size_t>(one.view.shape.elements()));
    tensor::info(one.view.dtype).decode(one.view.data, static_cast<std::int64_t>(values.size()), values.data());
    const bool matrix = dims.size() > 1 && dims.back() % 32 == 0;
    std::string bytes;
    if (matrix) {
      bytes = BlockWriter(type).encode(values);
    } else {
      for (const float value : values) bytes += tests::raw(value);
    }
    std::vector<std::uint64_t> fastest_first(dims.rbegin(), dims.rend());
    if (fastest_first.empty()) fastest_first = {1};
    out.tensor(name, fastest_first, matrix ? *tensor::info(type).gguf_id : 0, std::move(bytes));
  }
  std::ofstream(file, std::ios::binary) << out.build();
}

}  // namespace carat::test
