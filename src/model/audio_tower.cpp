#include "model/audio_tower.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/concat.h"
#include "base/thread_pool.h"

namespace carat::model {

using base::concat;

namespace {

constexpr EncoderName kLayers{"audio_tower.layers.", "a.blk."};

void resize(base::RawVector<float>& buffer, std::int64_t count) { buffer.resize(static_cast<std::size_t>(count)); }
std::int64_t halved(std::int64_t count) { return (count + 1) / 2; }

}  // namespace

AudioTower::FeedForward AudioTower::load_feed_forward(EncoderLoader& loader, std::int64_t index, bool second,
                                                      std::int64_t hidden) {
  const std::string module = second ? "feed_forward2." : "feed_forward1.";
  const std::string suffix = second ? "_1" : "";
  const auto at = [&](std::string_view huggingface, std::string_view gguf, std::string_view end) {
    return loader.layer_name(kLayers, index, {concat(module, huggingface, end), concat(gguf, suffix, end)});
  };
  FeedForward w;
  w.pre_layer_norm = loader.vector(at("pre_layer_norm", "ffn_norm", ".weight"), hidden);
  w.post_layer_norm = loader.vector(at("post_layer_norm", "ffn_post_norm", ".weight"), hidden);
  w.ffw_layer_1 = loader.clipped(at("ffw_layer_1", "ffn_up", ""), 4 * hidden, hidden);
  w.ffw_layer_2 = loader.clipped(at("ffw_layer_2", "ffn_down", ""), hidden, 4 * hidden);
  return w;
}

AudioTower AudioTower::load(EncoderLoader& loader, const AudioTowerConfig& config, float eps) {
  AudioTower out;
  out.config_ = config;
  out.eps_ = eps;
  const std::int64_t hidden = config.hidden_size, head_dim = hidden / config.num_attention_heads;
  // ollama's converter has other names for some tensors, among them "out" for the projection at the input.
  const bool renamed = loader.gguf() && loader.has("mm.a.fc.weight");
  std::int64_t channels = 1;
  for (int i = 0; i < 2; ++i) {
    const std::int64_t made = config.conv_channels[i];
    const auto at = [&](std::string_view huggingface, std::string_view gguf) {
      return loader.name(
          {concat("audio_tower.subsample_conv_projection.layer", i, huggingface), concat("a.conv1d.", i, gguf)});
    };
    const std::string name = at(".conv.weight", ".weight");
    Convolution& w = out.conv_[i];
    w.values = loader.values(name, tensor::Shape{made, channels, 3, 3});
    const tensor::TensorView view{tensor::DType::f32, tensor::Shape{made, channels * 9},
                                  reinterpret_cast<const std::byte*>(w.values.data())};
    if (!loader.error()) w.kernel = loader.packed(view, name);
    w.norm = loader.vector(at(".norm.weight", ".norm.weight"), made);
    channels = made;
  }
  out.input_proj_ = loader.matrix(loader.name({"audio_tower.subsample_conv_projection.input_proj_linear.weight",
                                               renamed ? "a.pre_encode.out.weight" : "a.input_projection.weight"}),
                                  hidden, config.mel_bins / 4 * channels);
  for (std::int64_t i = 0; i < config.num_hidden_layers && !loader.error(); ++i) {
    const auto at = [&](std::string_view huggingface, std::string_view gguf) {
      return loader.layer_name(kLayers, i, {huggingface, gguf});
    };
    Layer w;
    w.feed_forward1 = load_feed_forward(loader, i, false, hidden);
    w.feed_forward2 = load_feed_forward(loader, i, true, hidden);
    w.norm_pre_attn =
        loader.vector(at("norm_pre_attn.weight", renamed ? "ln1.weight" : "attn_pre_norm.weight"), hidden);
    w.norm_post_attn =
        loader.vector(at("norm_post_attn.weight", renamed ? "ln2.weight" : "attn_post_norm.weight"), hidden);
    w.norm_out = loader.vector(at("norm_out.weight", renamed ? "layer_pre_norm.weight" : "ln2.weight"), hidden);
    w.q_proj = loader.clipped(at("self_attn.q_proj", "attn_q"), hidden, hidden);
    w.k_proj = loader.clipped(at("self_attn.k_proj", "attn_k"), hidden, hidden);
    w.v_proj = loader.clipped(at("self_attn.v_proj", "attn_v"), hidden, hidden);
    w.post = loader.clipped(at("self_attn.post", "attn_out"), hidden, hidden);
    w.relative_k_proj = loader.matrix(
        at("self_attn.relative_k_proj.weight", renamed ? "linear_pos.weight" : "attn_k_rel.weight"), hidden, hidden);
    w.query_scale = loader.vector(at("self_attn.per_dim_scale", "per_dim_scale.weight"), head_dim);
    for (float& value : w.query_scale) {
      // A projector file holds softplus(per_dim_scale).
      const double scale =
          loader.gguf() ? static_cast<double>(value) : std::log1p(std::exp(static_cast<double>(value)));
      value = static_cast<float>(scale / std::sqrt(static_cast<double>(head_dim)) / std::log(2.0));
    }
    // The names of the two norms are crossed between the formats.
    w.conv_pre_norm = loader.vector(at("lconv1d.pre_layer_norm.weight", "conv_norm.weight"), hidden);
    w.conv_norm = loader.vector(at("lconv1d.conv_norm.weight", "norm_conv.weight"), hidden);
    w.linear_start = loader.clipped(at("lconv1d.linear_start", "conv_pw1"), 2 * hidden, hidden);
    w.linear_end = loader.clipped(at("lconv1d.linear_end", "conv_pw2"), hidden, hidden);
    const std::string depthwise = at("lconv1d.depthwise_conv1d.weight", "conv_dw.weight");
    const std::int64_t taps = config.conv_kernel_size;
    const auto stored =
        loader.values(depthwise, loader.gguf() ? tensor::Shape{hidden, taps} : tensor::Shape{hidden, 1, taps});
    w.depthwise.resize(stored.size());
    for (std::size_t c = 0; c * static_cast<std::size_t>(taps) < stored.size(); ++c) {
      for (std::size_t k = 0; k < static_cast<std::size_t>(taps); ++k) {
        w.depthwise[k * static_cast<std::size_t>(hidden) + c] = stored[c * static_cast<std::size_t>(taps) + k];
      }
    }
    out.layers_.push_back(std::move(w));
  }
  out.output_proj_ = loader.matrix(
      loader.name({"audio_tower.output_proj.weight", renamed ? "mm.a.fc.weight" : "a.pre_encode.out.weight"}),
      config.output_proj_dims, hidden);
  out.output_bias_ =
      loader.vector(loader.name({"audio_tower.output_proj.bias", renamed ? "mm.a.fc.bias" : "a.pre_encode.out.bias"}),
                    config.output_proj_dims);
  return out;
}

// Intermediates of one sound; T frames of 40 ms.
struct AudioTower::Scratch {
  std::int64_t rows = 0;
  base::RawVector<float> x;     ///< [T, hidden] residual stream
  base::RawVector<float> h;     ///< [T, hidden] normed input of a branch, then its output
  base::RawVector<float> q;     ///< [T, hidden] queries, then what they attended to; gated inputs of the convolution
  base::RawVector<float> k, v;  ///< [T, hidden]
  base::RawVector<float> wide;  ///< [T, 4 hidden]
  base::RawVector<float> clamped;
  std::vector<float> distances;     ///< [attention_context_left, hidden] the sinusoids of distance 0, 1, …
  base::RawVector<float> relative;  ///< [attention_context_left, hidden]
};

// Steps [first, first + count) of a 3x3 convolution of stride 2 over time and frequency, with LayerNorm over channels
// and ReLU: a product of gathered neighbourhoods [time, frequency, channel * 9]. `in` begins with its step in_first.
void AudioTower::convolve(const kernels::Context& context, const Convolution& w, const Grid& in, std::int64_t in_first,
                          std::int64_t first, std::int64_t count, float* out, base::RawVector<float>& gathered) const {
  const std::int64_t width = in.channels * 9, bins = halved(in.bins), made = w.kernel.out_features();
  resize(gathered, count * bins * width);
  context.pool().parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t b = 0; b < bins; ++b) {
        float* to = gathered.data() + (t * bins + b) * width;
        for (std::int64_t place = 0; place < 9; ++place) {
          const std::int64_t time = 2 * (first + t) + place / 3 - 1, bin = 2 * b + place % 3 - 1;
          if (time < 0 || time >= in.times || bin < 0 || bin >= in.bins) {
            for (std::int64_t c = 0; c < in.channels; ++c) to[c * 9 + place] = 0;
            continue;
          }
          const float* from = in.values + ((time - in_first) * in.bins + bin) * in.channels;
          for (std::int64_t c = 0; c < in.channels; ++c) to[c * 9 + place] = from[c];
        }
      }
    }
  });
  const kernels::MatmulTarget target{&w.kernel, out, 0};
  kernels::matmul(context, gathered.data(), count * bins, {&target, 1});
  kernels::layer_norm(context, out, count * bins, made, w.norm.data(), nullptr, eps_, out);
  kernels::clamp(context, out, count * bins * made, {.low = 0.0F}, out);
}

// Two convolutions, then a linear layer over frequency-major, channel-minor rows (reference:
// Gemma4AudioSubSampleConvProjection). Some frames at a time: what lies between the convolutions is many times the size
// of what they make of it.
void AudioTower::subsample(const kernels::Context& context, std::span<const float> mel, Scratch& s) const {
  constexpr std::int64_t kFrames = 8;
  const Grid mels{mel.data(), static_cast<std::int64_t>(mel.size()) / config_.mel_bins, config_.mel_bins, 1};
  const std::int64_t channels = config_.conv_channels[0], width = halved(halved(mels.bins)) * config_.conv_channels[1];
  base::RawVector<float> between, out, gathered;
  Grid halves{nullptr, halved(mels.times), halved(mels.bins), channels};
  s.rows = halved(halves.times);
  resize(between, (2 * kFrames + 1) * halves.bins * channels);
  resize(out, s.rows * width);
  halves.values = between.data();
  for (std::int64_t first = 0; first < s.rows; first += kFrames) {
    const std::int64_t count = std::min(kFrames, s.rows - first), begin = std::max<std::int64_t>(2 * first - 1, 0),
                       end = std::min(2 * (first + count), halves.times);
    convolve(context, conv_[0], mels, 0, begin, end - begin, between.data(), gathered);
    convolve(context, conv_[1], halves, begin, first, count, out.data() + first * width, gathered);
  }
  resize(s.x, s.rows * config_.hidden_size);
  const kernels::MatmulTarget target{&input_proj_, s.x.data(), 0};
  kernels::matmul(context, out.data(), s.rows, {&target, 1});
}

// x += residual_weight * norm(W2 silu(W1 norm(x)))
void AudioTower::feed_forward(const kernels::Context& context, const FeedForward& w, Scratch& s) const {
  const std::int64_t hidden = config_.hidden_size;
  kernels::rms_norm(context, s.x.data(), s.rows, hidden, w.pre_layer_norm.data(), eps_, s.h.data());
  const ClippedTarget up{&w.ffw_layer_1, s.wide.data()};
  clipped_matmul(context, s.h.data(), s.rows, {&up, 1}, s.clamped);
  kernels::sigmoid_mul(context, s.wide.data(), s.wide.data(), s.rows * 4 * hidden, s.wide.data());
  const ClippedTarget down{&w.ffw_layer_2, s.h.data()};
  clipped_matmul(context, s.wide.data(), s.rows, {&down, 1}, s.clamped);
  kernels::rms_norm(context, s.h.data(), s.rows, hidden, w.post_layer_norm.data(), eps_, s.h.data());
  kernels::add_scaled(context, s.x.data(), s.h.data(), s.rows * hidden, config_.residual_weight);
}

// Each frame sees itself and the attention_context_left - 2 before it. score = cap * tanh((q k + q R[distance]) / cap)
// (reference: Gemma4AudioAttention, whose chunks and shifts compute the same band).
void AudioTower::attention(const kernels::Context& context, const Layer& w, Scratch& s) const {
  const std::int64_t hidden = config_.hidden_size, heads = config_.num_attention_heads, dim = hidden / heads;
  kernels::rms_norm(context, s.x.data(), s.rows, hidden, w.norm_pre_attn.data(), eps_, s.h.data());
  const ClippedTarget in[] = {{&w.q_proj, s.q.data()}, {&w.k_proj, s.k.data()}, {&w.v_proj, s.v.data()}};
  clipped_matmul(context, s.h.data(), s.rows, in, s.clamped);
  const kernels::MatmulTarget relative{&w.relative_k_proj, s.relative.data(), 0};
  kernels::matmul(context, s.distances.data(), config_.attention_context_left, {&relative, 1});
  const auto key_scale = static_cast<float>(std::log(1.0 + std::exp(1.0)) / std::log(2.0));
  kernels::scale(context, s.k.data(), s.rows * hidden, key_scale);
  context.pool().parallel_for(s.rows * heads, 64, [&](std::int64_t begin, std::int64_t end, int) {
    for (float* q = s.q.data() + begin * dim; q < s.q.data() + end * dim; q += dim) {
      for (std::int64_t i = 0; i < dim; ++i) q[i] *= w.query_scale[static_cast<std::size_t>(i)];
    }
  });
  kernels::local_attention(context, s.q.data(), s.k.data(), s.v.data(), s.relative.data(), s.rows, heads, dim,
                           config_.attention_context_left - 1, config_.attention_logit_cap);
  const ClippedTarget out{&w.post, s.h.data()};
  clipped_matmul(context, s.q.data(), s.rows, {&out, 1}, s.clamped);
  kernels::add_rms_norm(context, s.x.data(), s.h.data(), s.rows, hidden, w.norm_post_attn.data(), eps_);
}

// x += W_end silu(norm(depthwise(glu(W_start norm(x))))), the convolution causal (reference: Gemma4AudioLightConv1d).
void AudioTower::light_conv(const kernels::Context& context, const Layer& w, Scratch& s) const {
  const std::int64_t hidden = config_.hidden_size, taps = config_.conv_kernel_size;
  kernels::rms_norm(context, s.x.data(), s.rows, hidden, w.conv_pre_norm.data(), eps_, s.h.data());
  const ClippedTarget start{&w.linear_start, s.wide.data()};
  clipped_matmul(context, s.h.data(), s.rows, {&start, 1}, s.clamped);
  for (std::int64_t t = 0; t < s.rows; ++t) {
    const float* row = s.wide.data() + t * 2 * hidden;
    kernels::sigmoid_mul(context, row, row + hidden, hidden, s.q.data() + t * hidden);
  }
  context.pool().parallel_for(s.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* out = s.h.data() + t * hidden;
      std::fill(out, out + hidden, 0.0F);
      for (std::int64_t k = 0; k < taps; ++k) {
        const std::int64_t from = t + k - (taps - 1);
        if (from < 0) continue;
        const float *row = s.q.data() + from * hidden, *weight = w.depthwise.data() + k * hidden;
        for (std::int64_t i = 0; i < hidden; ++i) out[i] += row[i] * weight[i];
      }
    }
  });
  kernels::rms_norm(context, s.h.data(), s.rows, hidden, w.conv_norm.data(), eps_, s.h.data());
  kernels::sigmoid_mul(context, s.h.data(), s.h.data(), s.rows * hidden, s.h.data());
  const ClippedTarget end{&w.linear_end, s.q.data()};
  clipped_matmul(context, s.h.data(), s.rows, {&end, 1}, s.clamped);
  kernels::add(context, s.x.data(), s.q.data(), s.rows * hidden);
}

Result<std::vector<float>> AudioTower::encode(const kernels::Context& context, std::span<const float> mel,
                                              const EncodeProgress& progress) const {
  const std::int64_t frames = static_cast<std::int64_t>(mel.size()) / config_.mel_bins, hidden = config_.hidden_size;
  if (frames == 0 || frames * config_.mel_bins != static_cast<std::int64_t>(mel.size())) {
    return fail(ErrorCode::invalid_argument, concat("sound: found ", mel.size(), " features; expected frames of ",
                                                    config_.mel_bins, ", at least one"));
  }
  Scratch s;
  subsample(context, mel, s);
  for (auto* buffer : {&s.h, &s.q, &s.k, &s.v}) resize(*buffer, s.rows * hidden);
  resize(s.wide, s.rows * 4 * hidden);
  // sin and cos of distance * 10000^(-i / (hidden / 2 - 1)); positions, not frames, so one table serves all layers.
  const std::int64_t scales = hidden / 2;
  for (std::int64_t d = 0; d < config_.attention_context_left; ++d) {
    for (const bool cosine : {false, true}) {
      for (std::int64_t i = 0; i < scales; ++i) {
        const auto step =
            static_cast<float>(std::log(10000.0) / static_cast<double>(std::max<std::int64_t>(scales - 1, 1)));
        const float angle = static_cast<float>(d) * std::exp(static_cast<float>(i) * -step);
        s.distances.push_back(cosine ? std::cos(angle) : std::sin(angle));
      }
    }
  }
  resize(s.relative, config_.attention_context_left * hidden);
  const auto count = static_cast<std::int64_t>(layers_.size());
  for (std::int64_t i = 0; i < count; ++i) {
    if (progress && !progress(i, count)) return fail(ErrorCode::cancelled, "cancelled while encoding a sound");
    const Layer& w = layers_[static_cast<std::size_t>(i)];
    feed_forward(context, w.feed_forward1, s);
    attention(context, w, s);
    light_conv(context, w, s);
    feed_forward(context, w.feed_forward2, s);
    kernels::rms_norm(context, s.x.data(), s.rows, hidden, w.norm_out.data(), eps_, s.x.data());
  }
  if (progress) progress(count, count);
  std::vector<float> out(static_cast<std::size_t>(s.rows * config_.output_proj_dims));
  const kernels::MatmulTarget target{&output_proj_, out.data(), 0};
  kernels::matmul(context, s.x.data(), s.rows, {&target, 1});
  for (std::int64_t t = 0; t < s.rows; ++t) {
    kernels::add(context, out.data() + t * config_.output_proj_dims, output_bias_.data(), config_.output_proj_dims);
  }
  return out;
}

}  // namespace carat::model
