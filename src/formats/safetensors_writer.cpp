// Streams safetensors files: header length, JSON header padded to 8 bytes, then the data in the order declared.
#include "formats/safetensors_writer.h"

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <unordered_set>
#include <utility>

#include "base/checked.h"
#include "base/concat.h"
#include "formats/json.h"
#include "formats/quote.h"

namespace carat::formats {
namespace {

using base::concat;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

std::string reason(int error_number) { return std::system_category().message(error_number); }

std::unexpected<Error> refused(const std::filesystem::path& path, const std::string& what) {
  return fail(ErrorCode::invalid_argument, concat("safetensors \"", path, "\": ", what));
}

}  // namespace

struct SafetensorsWriter::State {
  struct Pending {
    std::string name;
    std::uint64_t remaining;  ///< bytes still to come
  };

  std::filesystem::path path;
  std::filesystem::path written_path;  ///< where the bytes go until finish()
  std::unique_ptr<std::FILE, CloseFile> file;
  std::vector<Pending> pending;
  std::size_t next = 0;  ///< the first tensor that is not complete

  ~State() {
    const bool is_unfinished = file != nullptr;
    file.reset();
    std::error_code ignored;
    if (is_unfinished && written_path != path) std::filesystem::remove(written_path, ignored);
  }

  std::unexpected<Error> io_failure(int error_number) const {
    return fail(ErrorCode::io, concat("safetensors \"", path, "\": cannot be written: ", reason(error_number)));
  }

  Result<void> put(const void* bytes, std::size_t size) const {
    if (std::fwrite(bytes, 1, size, file.get()) != size) return io_failure(errno);
    return {};
  }

  // Tensors of no elements are complete from the start.
  void skip_complete() {
    while (next < pending.size() && pending[next].remaining == 0) ++next;
  }
};

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsWriter::~SafetensorsWriter() = default;
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;

Result<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& path,
                                                    std::vector<TensorDeclaration> tensors,
                                                    const SafetensorsMetadata& metadata) {
  auto state = std::make_unique<State>();
  state->path = path;

  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  std::unordered_set<std::string_view> names;
  for (const TensorDeclaration& tensor : tensors) {
    if (tensor.name == "__metadata__" || !names.insert(tensor.name).second)
      return refused(path, concat("tensor name ", quote(tensor.name), " is reserved or stands twice"));
    const tensor::DTypeInfo& type = tensor::info(tensor.dtype);
    if (type.safetensors_name.empty())
      return refused(
          path, concat("tensor ", quote(tensor.name), " is of type ", type.name, ", which safetensors does not have"));
    const auto size = tensor::size_in_bytes(tensor.dtype, tensor.shape);
    const auto end = size ? base::checked_add(offset, static_cast<std::uint64_t>(*size)) : std::nullopt;
    if (!end) return refused(path, concat("tensor ", quote(tensor.name), " is too large"));
    header[tensor.name] = {{"dtype", std::string(type.safetensors_name)},
                           {"shape", std::vector<std::int64_t>(tensor.shape.dims().begin(), tensor.shape.dims().end())},
                           {"data_offsets", {offset, *end}}};
    state->pending.push_back({tensor.name, *end - offset});
    offset = *end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception&) {
    return refused(path, "a tensor name or metadata text is no valid UTF-8");
  }
  text.append((8 - text.size() % 8) % 8, ' ');

  // A pipe or device has no name to give back later, and must not be replaced by a file.
  std::error_code ignored;
  const bool is_special = std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored);
  state->written_path = path;
  if (!is_special) state->written_path += ".partial";
  state->file.reset(std::fopen(state->written_path.c_str(), "wb"));
  if (!state->file) return state->io_failure(errno);
  const std::uint64_t header_bytes = text.size();
  if (auto put = state->put(&header_bytes, sizeof header_bytes); !put) return forward(put);
  if (auto put = state->put(text.data(), text.size()); !put) return forward(put);
  state->skip_complete();
  return SafetensorsWriter(std::move(state));
}

Result<void> SafetensorsWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  if (!state_->file) return refused(state_->path, "the file is finished");
  if (state_->next == state_->pending.size())
    return refused(state_->path, concat("data for tensor ", quote(name), " after all tensors are complete"));
  State::Pending& expected = state_->pending[state_->next];
  if (name != expected.name)
    return refused(state_->path,
                   concat("data for tensor ", quote(name), "; expected ", quote(expected.name), " first"));
  if (bytes.size() > expected.remaining) {
    return refused(state_->path,
                   concat(bytes.size(), " bytes for tensor ", quote(name), ", which lacks ", expected.remaining));
  }
  if (auto put = state_->put(bytes.data(), bytes.size()); !put) return forward(put);
  expected.remaining -= bytes.size();
  state_->skip_complete();
  return {};
}

Result<void> SafetensorsWriter::finish() {
  if (!state_->file) return refused(state_->path, "the file is finished");
  if (state_->next < state_->pending.size()) {
    const State::Pending& lacking = state_->pending[state_->next];
    return refused(state_->path, concat("tensor ", quote(lacking.name), " lacks ", lacking.remaining, " bytes"));
  }
  // From here the destructor no longer removes the file: do it ourselves when the last bytes or the name fail.
  const bool is_closed = std::fclose(state_->file.release()) == 0;
  int error_number = errno;
  std::error_code error;
  if (is_closed && state_->written_path != state_->path) {
    std::filesystem::rename(state_->written_path, state_->path, error);
    error_number = error.value();
  }
  if (is_closed && !error) return {};
  std::error_code ignored;
  if (state_->written_path != state_->path) std::filesystem::remove(state_->written_path, ignored);
  return state_->io_failure(error_number);
}

Result<void> write_safetensors(const std::filesystem::path& path, std::span<const OutputTensor> tensors,
                               const SafetensorsMetadata& metadata) {
  std::vector<TensorDeclaration> declarations;
  for (const OutputTensor& tensor : tensors) declarations.push_back({tensor.name, tensor.dtype, tensor.shape});
  auto writer = SafetensorsWriter::create(path, std::move(declarations), metadata);
  if (!writer) return forward(writer);
  for (const OutputTensor& tensor : tensors)
    if (auto written = writer->write(tensor.name, tensor.data); !written) return forward(written);
  return writer->finish();
}

}  // namespace carat::formats
