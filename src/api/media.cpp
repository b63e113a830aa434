// Media between the checkpoint that prepares them, the model that encodes them, and their place in a prompt.
#include <algorithm>
#include <chrono>

#include "api/state.h"
#include "base/concat.h"

namespace carat {

using base::concat;

namespace {

// The one projector file beside a model; nothing when there is none. Several are an error only to who needs one.
Result<std::filesystem::path> projector_beside(const std::filesystem::path& model) {
  std::vector<std::filesystem::path> found;
  const auto folder = model.has_parent_path() ? model.parent_path() : std::filesystem::path(".");
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".gguf" && name.find("mmproj") != std::string::npos && name != model.filename()) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) return std::filesystem::path();
  if (found.size() == 1) return found.front();
  std::string names;
  for (const auto& path : found) names += concat(names.empty() ? "" : ", ", path.filename().string());
  return fail(ErrorCode::invalid_argument,
              concat(folder, ": several projector files lie beside the model (", names, "); name one with --mmproj"));
}

}  // namespace

Result<const formats::Checkpoint*> Checkpoint::State::encoder_file() const {
  if (file.format() != formats::Format::gguf && projector.empty()) return &file;
  std::call_once(projector_once_, [&] {
    std::filesystem::path path = projector;
    if (path.empty()) {
      auto beside = projector_beside(file.path());
      if (!beside) {
        projector_.emplace(std::unexpected(beside.error()));
        return;
      }
      path = *beside;
    }
    if (!path.empty()) projector_.emplace(formats::open_checkpoint(path));
  });
  if (!projector_) return &file;
  if (!*projector_) return std::unexpected(projector_->error());
  return &**projector_;
}

Result<const engine::MediaReader*> Checkpoint::State::media_reader() const {
  std::call_once(reader_once_, [&] {
    auto from = encoder_file();
    if (!from) {
      reader_status_ = std::unexpected(from.error());
      return;
    }
    auto encoders = model::read_encoder_config(**from);
    if (!encoders) {
      reader_status_ = std::unexpected(encoders.error());
      return;
    }
    reader_ = std::make_unique<engine::MediaReader>(*encoders, (*from)->path().string());
  });
  if (!reader_status_) return std::unexpected(reader_status_.error());
  return reader_.get();
}

Result<model::VisionBlocks> resolve_vision_blocks(const Checkpoint::State& checkpoint, const model::Config& config,
                                                  const std::string& name) {
  if (name == "causal") return model::VisionBlocks::causal;
  if (name == "sliding") return model::VisionBlocks::sliding;
  if (name == "all") return model::VisionBlocks::all;
  if (name != "auto") {
    return fail(ErrorCode::invalid_argument,
                concat("image mask: found \"", name, "\"; expected auto, causal, sliding or all"));
  }
  if (checkpoint.file.format() != formats::Format::gguf || config.vision_blocks == model::VisionBlocks::causal) {
    return config.vision_blocks;
  }
  // GGUF metadata of the encoder-free 12B and of the others are alike; the projector file tells them apart. One that is
  // missing or unreadable is an error only to who shows the model something.
  const auto file = checkpoint.encoder_file();
  if (!file) return config.vision_blocks;
  const auto encoders = model::read_encoder_config(**file);
  return encoders && encoders->vision_embedder ? model::VisionBlocks::all : config.vision_blocks;
}

std::shared_ptr<const model::SoftTokens> FeatureStore::find(const std::string& key) {
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const auto& entry) { return entry.first == key; });
  if (found == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found);
  return found->second;
}

void FeatureStore::keep(const std::string& key, std::shared_ptr<const model::SoftTokens> features) {
  kept_.emplace_front(key, std::move(features));
  std::int64_t bytes = 0;
  for (auto entry = kept_.begin(); entry != kept_.end();) {
    bytes += static_cast<std::int64_t>((entry->second->tower.size() + entry->second->projected.size()) * 4);
    entry = bytes > kMaxBytes && entry != kept_.begin() ? kept_.erase(entry) : std::next(entry);
  }
}

Result<const model::MediaEncoder*> Model::State::encoder(model::Modality modality) const {
  auto found = encoders_.find(modality);
  if (found == encoders_.end()) {
    auto from = checkpoint.state()->encoder_file();
    if (!from) return std::unexpected(from.error());
    auto loaded =
        model::MediaEncoder::load(**from, transformer->config().hidden_size, *dispatch.table, pool.get(), modality);
    if (!loaded) return std::unexpected(loaded.error());
    found = encoders_.emplace(modality, std::move(*loaded)).first;
  }
  return &found->second;
}

Result<void> Model::State::encode(const PromptMedia& media, const Progress& progress, EncodedMedia& out) const {
  const auto total = static_cast<std::int64_t>(media.placed.size());
  for (std::int64_t i = 0; i < total; ++i) {
    if (progress && !progress(i, total)) return fail(ErrorCode::cancelled, "cancelled while encoding media");
    const engine::MediumInput& input = *media.placed[static_cast<std::size_t>(i)].input;
    // A turn for each, so that others need not wait for a whole video.
    const Turn turn = take_turn();
    auto features = features_.find(input.key);
    if (features == nullptr) {
      const bool hears = input.kind == engine::MediumInput::Kind::sound;
      const auto modality = hears ? model::Modality::audio : model::Modality::vision;
      const bool loads = !encoders_.contains(modality);
      const auto start = std::chrono::steady_clock::now();
      auto ready = encoder(modality);
      if (loads) out.load_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (!ready) return forward(ready);
      const auto layers = [&](std::int64_t, std::int64_t) { return !progress || progress(i, total); };
      auto made = hears ? (*ready)->encode_sound(turn.compute.context, input.features, layers)
                        : (*ready)->encode_image(turn.compute.context, input.features, input.positions, layers);
      if (!made) return forward(made);
      if (made->count != input.tokens) {
        return fail(ErrorCode::bad_file, concat("the encoder gave ", made->count, " soft tokens for ", input.tokens,
                                                " places; its file and the model's do not belong together"));
      }
      features = std::make_shared<const model::SoftTokens>(std::move(*made));
      features_.keep(input.key, features);
    }
    out.features.push_back(std::move(features));
  }
  if (progress) progress(total, total);
  return {};
}

}  // namespace carat
