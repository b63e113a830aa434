// The accessors of an opened checkpoint. How one is filled stands in gguf.cpp and huggingface.cpp.
#include "formats/checkpoint.h"

#include <algorithm>
#include <functional>

#include "formats/checkpoint_state.h"

namespace carat::formats {

Checkpoint::Checkpoint() : state_(std::make_unique<State>()) {}
Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;

Format Checkpoint::format() const { return state_->format; }
const std::filesystem::path& Checkpoint::path() const { return state_->path; }
std::span<const NamedTensor> Checkpoint::tensors() const { return state_->tensors; }

const NamedTensor* Checkpoint::find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(state_->tensors, name, {}, &NamedTensor::name);
  return at != state_->tensors.end() && at->name == name ? &*at : nullptr;
}

void Checkpoint::release(const tensor::TensorView& tensor) const {
  for (const base::MappedFile& file : state_->files) {
    const std::byte* begin = file.bytes().data();
    if (std::less<>()(tensor.data, begin) || !std::less<>()(tensor.data, begin + file.size())) continue;
    file.advise(base::Access::done, static_cast<std::size_t>(tensor.data - begin),
                static_cast<std::size_t>(tensor.size_bytes()));
  }
}

const Json& Checkpoint::config() const { return state_->config; }
const Json& Checkpoint::generation_config() const { return state_->generation_config; }
std::string_view Checkpoint::tokenizer_json() const { return state_->tokenizer_json; }
const Json& Checkpoint::tokenizer_config() const { return state_->tokenizer_config; }
const Json& Checkpoint::processor_config() const { return state_->processor_config; }
const GgufMetadata& Checkpoint::metadata() const { return state_->metadata; }
const std::optional<std::string>& Checkpoint::chat_template() const { return state_->chat_template; }

Checkpoint CheckpointBuilder::build(std::unique_ptr<Checkpoint::State> state) {
  std::ranges::sort(state->tensors, {}, &NamedTensor::name);
  Checkpoint checkpoint;
  checkpoint.state_ = std::move(state);
  return checkpoint;
}

}  // namespace carat::formats
