// Tensors of media encoders under their names in Hugging Face checkpoints and in GGUF projector files.
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "base/concat.h"
#include "base/raw_vector.h"
#include "model/tensor_loader.h"

namespace carat::model {

/// One tensor in both spellings, from behind "model." and from the start of the name.
struct EncoderName {
  std::string_view huggingface, gguf;
};

/// A linear layer whose input and output are clamped to stored bounds (reference: Gemma4ClippableLinear); bounds that
/// are not stored are infinite.
struct ClippedLinear {
  kernels::PackedMatrix weight;
  kernels::Bounds input, output;
};

class EncoderLoader : public TensorLoader {
 public:
  EncoderLoader(const formats::Checkpoint& checkpoint, const kernels::KernelTable& table, base::ThreadPool* pack_with,
                WeightMemory& memory)
      : TensorLoader(checkpoint, table, pack_with, memory) {}

  std::string name(const EncoderName& name) const {
    return gguf() ? std::string(name.gguf) : base::concat("model.", name.huggingface);
  }
  /// A tensor of layer `index`: "vision_tower.encoder.layers." + index + "." + suffix, "v.blk." + index + "." + suffix.
  std::string layer_name(const EncoderName& layers, std::int64_t index, const EncoderName& suffix) const {
    return gguf() ? base::concat(layers.gguf, index, ".", suffix.gguf)
                  : base::concat("model.", layers.huggingface, index, ".", suffix.huggingface);
  }

  /// The weight and, beside it, the bounds. `stem` is the layer's name without ".weight".
  ClippedLinear clipped(const std::string& stem, std::int64_t out_features, std::int64_t in_features) {
    ClippedLinear out;
    const std::string plain = base::concat(stem, ".weight"), wrapped = base::concat(stem, ".linear.weight");
    out.weight = matrix(!gguf() && has(wrapped) ? wrapped : plain, out_features, in_features);
    const auto bound = [&](const char* suffix, float& value) {
      const std::string name = base::concat(stem, suffix);
      if (!has(name)) return;
      const auto stored = values(name, checkpoint().find(name)->view.shape);
      if (stored.size() == 1)
        value = stored[0];
      else
        fail_with(ErrorCode::bad_file, base::concat(checkpoint().path(), ": tensor ", name, " holds ", stored.size(),
                                                    " values; expected one"));
    };
    bound(".input_min", out.input.low);
    bound(".input_max", out.input.high);
    bound(".output_min", out.output.low);
    bound(".output_max", out.output.high);
    return out;
  }
};

/// One product of clipped_matmul.
struct ClippedTarget {
  const ClippedLinear* linear = nullptr;
  float* out = nullptr;
};

/// out = clamp(W clamp(x)) for each target, x [rows, in]; afterwards x holds anything. `scratch` holds clamped copies
/// of x where targets clamp it differently.
void clipped_matmul(const kernels::Context& context, float* x, std::int64_t rows,
                    std::span<const ClippedTarget> targets, base::RawVector<float>& scratch);

/// out = gelu_tanh(clamp(gate clamp(x))) * clamp(up clamp(x)), x [rows, in]. x and `scratch` as above.
void clipped_gelu_gated_matmul(const kernels::Context& context, float* x, std::int64_t rows, const ClippedLinear& gate,
                               const ClippedLinear& up, float* out, base::RawVector<float>& scratch);

}  // namespace carat::model
