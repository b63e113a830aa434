// carat inspect: what a model file holds: its family member, layers, tensors, parameters by part, memory and prompt
// kind.
#include <memory>
#include <string>

#include "carat/checkpoint.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/number_text.h"
#include "cli/table.h"

namespace carat::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  carat inspect gemma-4-E2B-it
  carat inspect model.gguf --tensors
  carat inspect model.gguf --json | jq .parts

Only headers are read, so this is quick for a model of any size. --json always
lists the tensors.)";

struct InspectOptions {
  std::string model, projector;
  bool tensors = false, json = false;
};

Json layers_json(const CheckpointSummary& summary) {
  Json layers = Json::array();
  for (const LayerSummary& layer : summary.layers) {
    layers.push_back({{"index", layer.index},
                      {"layer_type", layer.layer_type},
                      {"num_attention_heads", layer.num_attention_heads},
                      {"num_key_value_heads", layer.num_key_value_heads},
                      {"head_dim", layer.head_dim},
                      {"intermediate_size", layer.intermediate_size},
                      {"num_experts", layer.num_experts},
                      {"top_k_experts", layer.top_k_experts},
                      {"moe_intermediate_size", layer.moe_intermediate_size},
                      {"kv_source", layer.kv_source},
                      {"attention_k_eq_v", layer.attention_k_eq_v},
                      {"rope_theta", layer.rope_theta}});
  }
  return layers;
}

Json encoders_json(const CheckpointSummary& summary) {
  Json encoders = Json::array();
  for (const EncoderSummary& encoder : summary.encoders) {
    Json one = {{"medium", encoder.medium}, {"kind", encoder.kind}};
    if (encoder.num_hidden_layers > 0) {
      one["num_hidden_layers"] = encoder.num_hidden_layers;
      one["hidden_size"] = encoder.hidden_size;
      one["num_attention_heads"] = encoder.num_attention_heads;
    }
    if (encoder.medium == "image") {
      one["token_pixels"] = encoder.token_pixels;
      one["image_budget"] = encoder.image_budget;
    } else {
      if (encoder.mel_bins > 0) one["mel_bins"] = encoder.mel_bins;
      one["token_ms"] = encoder.token_ms;
    }
    one["file"] = encoder.file;
    encoders.push_back(std::move(one));
  }
  return encoders;
}

Json summary_json(const CheckpointSummary& summary) {
  Json json;
  json["name"] = summary.name;
  json["family"] = summary.family;
  json["format"] = summary.format;
  json["released_size"] = summary.released_size ? Json(*summary.released_size) : Json();
  json["vocab_size"] = summary.vocab_size;
  json["hidden_size"] = summary.hidden_size;
  json["max_position_embeddings"] = summary.max_position_embeddings;
  json["sliding_window"] = summary.sliding_window;
  json["hidden_size_per_layer_input"] = summary.hidden_size_per_layer_input;
  json["num_kv_shared_layers"] = summary.num_kv_shared_layers;
  json["final_logit_softcapping"] = summary.final_logit_softcapping;
  json["prompt_template"] = summary.prompt_template ? Json(*summary.prompt_template) : Json();
  json["total_parameters"] = summary.total_parameters;
  json["total_bytes"] = summary.total_bytes;
  json["layers"] = layers_json(summary);
  json["encoders"] = encoders_json(summary);
  if (!summary.encoder_error.empty()) json["encoder_error"] = summary.encoder_error;
  json["parts"] = Json::array();
  for (const PartSummary& part : summary.parts) {
    json["parts"].push_back({{"part", part.part}, {"parameters", part.parameters}, {"bytes", part.bytes}});
  }
  json["memory"] = Json::array();
  for (const MemorySummary& memory : summary.memory) {
    json["memory"].push_back({{"context_length", memory.context_length},
                              {"kv_cache_f16", memory.kv_cache_f16},
                              {"weights", memory.weights},
                              {"total", memory.total}});
  }
  json["tensors"] = Json::array();
  for (const TensorSummary& tensor : summary.tensors) {
    json["tensors"].push_back({{"name", tensor.name},
                               {"shape", tensor.shape},
                               {"dtype", tensor.dtype},
                               {"bytes", tensor.bytes},
                               {"file", tensor.file}});
  }
  return json;
}

// "vision tower, 16 layers of 768; 280 tokens an image, 48 x 48 pixels a token"
std::string encoder_text(const EncoderSummary& encoder) {
  std::string out = encoder.kind;
  if (encoder.num_hidden_layers > 0)
    out += ", " + grouped(encoder.num_hidden_layers) + (encoder.num_hidden_layers == 1 ? " layer of " : " layers of ") +
           grouped(encoder.hidden_size);
  if (encoder.medium == "image") {
    const std::string side = grouped(encoder.token_pixels);
    return out + "; " + grouped(encoder.image_budget) + " tokens an image unless asked otherwise, " + side + " x " +
           side + " pixels a token";
  }
  if (encoder.mel_bins > 0) out += "; " + grouped(encoder.mel_bins) + " mel bands";
  return out + "; " + fixed(1000 / encoder.token_ms, 0) + " tokens a second";
}

std::string overview_text(const CheckpointSummary& summary) {
  std::string out = summary.name.empty() ? "(unnamed)" : one_line(summary.name);
  std::string takes = "text";
  for (std::size_t i = 0; i < summary.encoders.size(); ++i) {
    takes += i + 1 == summary.encoders.size() ? " and " : ", ";
    takes += summary.encoders[i].medium == "image" ? "images" : "sound";
  }
  out += ": " + one_line(summary.family) + " model of " + takes + ", " + summary.format + "\n\n";
  Table table({{"", false}, {"", false}});
  if (summary.released_size) table.add({"configuration", "that of " + *summary.released_size});
  table.add({"parameters", grouped(summary.total_parameters) + " (" + bytes_text(summary.total_bytes) + ")"});
  table.add({"layers", grouped(static_cast<std::int64_t>(summary.layers.size())) +
                           (summary.num_kv_shared_layers > 0 ? " (the last " + grouped(summary.num_kv_shared_layers) +
                                                                   " read keys and values of earlier ones)"
                                                             : "")});
  table.add({"context",
             grouped(summary.max_position_embeddings) + " tokens, sliding window " + grouped(summary.sliding_window)});
  table.add({"vocabulary", grouped(summary.vocab_size)});
  table.add({"hidden size", grouped(summary.hidden_size)});
  if (summary.hidden_size_per_layer_input > 0)
    table.add({"per-layer input", grouped(summary.hidden_size_per_layer_input)});
  if (summary.final_logit_softcapping > 0) table.add({"logit softcap", fixed(summary.final_logit_softcapping, 0)});
  for (const EncoderSummary& encoder : summary.encoders)
    table.add({encoder.medium == "image" ? "images, video" : "sound", encoder_text(encoder)});
  if (!summary.encoder_error.empty())
    table.add({"images, sound", "cannot be told: " + one_line(summary.encoder_error)});
  table.add({"prompt", summary.prompt_template
                           ? *summary.prompt_template + " template"
                           : "no known chat template: use carat run --raw, or --template small|large|gemma3"});
  std::string text = table.text();
  text.erase(0, text.find('\n') + 1);  // a list has no column titles
  return out + text;
}

std::string layers_text(const CheckpointSummary& summary) {
  bool experts = false, shared = false, same = false;
  for (const LayerSummary& layer : summary.layers) {
    experts |= layer.num_experts > 0;
    shared |= layer.kv_source != layer.index;
    same |= layer.attention_k_eq_v;
  }
  std::vector<Table::Column> columns = {{"layer"},    {"attention", false}, {"heads"}, {"kv heads"},
                                        {"head dim"}, {"rope theta"},       {"mlp"}};
  if (experts) columns.push_back({"experts", true});
  if (shared) columns.push_back({"kv of layer", true});
  if (same) columns.push_back({"v", false});
  Table table(columns);
  for (const LayerSummary& layer : summary.layers) {
    std::string type = layer.layer_type;
    if (type.ends_with("_attention")) type.resize(type.size() - std::string_view("_attention").size());
    std::vector<std::string> cells = {std::to_string(layer.index),
                                      one_line(type),
                                      std::to_string(layer.num_attention_heads),
                                      std::to_string(layer.num_key_value_heads),
                                      std::to_string(layer.head_dim),
                                      grouped(static_cast<std::int64_t>(layer.rope_theta)),
                                      std::to_string(layer.intermediate_size)};
    if (experts) {
      cells.push_back(layer.num_experts == 0
                          ? "-"
                          : std::to_string(layer.top_k_experts) + " of " + std::to_string(layer.num_experts) + " x " +
                                std::to_string(layer.moe_intermediate_size));
    }
    if (shared) cells.push_back(layer.kv_source == layer.index ? "own" : std::to_string(layer.kv_source));
    if (same) cells.push_back(layer.attention_k_eq_v ? "= k" : "own");
    table.add(std::move(cells));
  }
  return "\nLayers\n" + table.text();
}

std::string parts_text(const CheckpointSummary& summary) {
  Table table({{"part", false}, {"parameters"}, {"size"}});
  for (const PartSummary& part : summary.parts)
    table.add({one_line(part.part), grouped(part.parameters), bytes_text(part.bytes)});
  table.add({"total", grouped(summary.total_parameters), bytes_text(summary.total_bytes)});
  return "\nParameters\n" + table.text();
}

std::string memory_text(const CheckpointSummary& summary) {
  Table table({{"context"}, {"cache (16 bit)"}, {"weights"}, {"together"}});
  for (const MemorySummary& memory : summary.memory) {
    table.add({grouped(memory.context_length), bytes_text(memory.kv_cache_f16), bytes_text(memory.weights),
               bytes_text(memory.total)});
  }
  return "\nMemory\n" + table.text();
}

std::string tensors_text(const CheckpointSummary& summary) {
  Table table({{"tensor", false}, {"type", false}, {"shape", false}, {"bytes"}});
  for (const TensorSummary& tensor : summary.tensors) {
    std::string shape = "[";
    for (const std::int64_t size : tensor.shape) shape += (shape.size() > 1 ? ", " : "") + std::to_string(size);
    table.add({one_line(tensor.name), one_line(tensor.dtype), shape + "]", grouped(tensor.bytes)});
  }
  return "\nTensors\n" + table.text();
}

Result<ExitCode> inspect(const InspectOptions& options, Output& output) {
  auto checkpoint = Checkpoint::open(options.model, options.projector);
  if (!checkpoint) return forward(checkpoint);
  auto summary = checkpoint->inspect();
  if (!summary) return forward(summary);
  if (options.json) {
    output.write(dump_json(summary_json(*summary)) + "\n");
    return ExitCode::success;
  }
  output.write(overview_text(*summary) + layers_text(*summary) + parts_text(*summary) + memory_text(*summary));
  if (options.tensors) {
    output.write(tensors_text(*summary));
  } else {
    output.write("\n" + grouped(static_cast<std::int64_t>(summary->tensors.size())) +
                 " tensors; --tensors lists them\n");
  }
  return ExitCode::success;
}

}  // namespace

Command add_inspect(CLI::App& program) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App& app = *program.add_subcommand("inspect", "Show what a model is: layers, parameters, memory, prompt format");
  app.footer(kExamples);
  add_model_path(app, options->model);
  add_projector(app, options->projector);
  app.add_flag("--tensors", options->tensors, "List every tensor with type, shape and bytes");
  app.add_flag("--json", options->json, "Print everything as one JSON document");
  return {&app, [options](Output& output) { return inspect(*options, output); }};
}

}  // namespace carat::cli
