// open_checkpoint: a directory goes to the Hugging Face reader, a file to the reader of its first bytes.
#include "formats/open.h"

#include <cstring>
#include <memory>
#include <system_error>

#include "base/concat.h"
#include "base/mapped_file.h"
#include "formats/checkpoint.h"
#include "formats/checkpoint_state.h"
#include "formats/gguf.h"
#include "formats/huggingface.h"
#include "formats/quote.h"

namespace carat::formats {
namespace {

using base::concat;
using StateResult = Result<std::unique_ptr<Checkpoint::State>>;
using Reader = StateResult (*)(const std::filesystem::path& path, base::MappedFile file);

constexpr std::string_view kLfsMagic = "version https://git-lfs.github.com/spec";

StateResult refuse_lfs(const std::filesystem::path& path, base::MappedFile file) {
  auto refused = refuse_lfs_pointer(file.bytes(), path.string());
  return forward(refused);
}

StateResult refuse_safetensors(const std::filesystem::path& path, base::MappedFile) {
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  return fail(ErrorCode::bad_file,
              concat("\"", path,
                     "\" is one safetensors file of a model; name the directory that holds it together with its "
                     "config.json: \"",
                     parent, "\""));
}

StateResult refuse_json(const std::filesystem::path& path, base::MappedFile) {
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  return fail(ErrorCode::bad_file,
              concat("\"", path, "\" is a JSON file; name the directory of the model that holds it: \"", parent, "\""));
}

StateResult refuse_pytorch(const std::filesystem::path& path, base::MappedFile) {
  return fail(
      ErrorCode::unsupported,
      concat("\"", path, "\" is a ZIP archive, as PyTorch writes; Carat reads safetensors directories and GGUF files"));
}

StateResult refuse_old_ggml(const std::filesystem::path& path, base::MappedFile) {
  return fail(ErrorCode::unsupported,
              concat("\"", path, "\" is a GGML file from before GGUF; fetch the model as GGUF"));
}

/// One row per kind of file: the bytes at `offset` that tell it, and who takes over. The first match wins.
struct FileKind {
  std::size_t offset;
  std::string_view magic;
  Reader read;
};
constexpr FileKind kFileKinds[] = {
    {0, "GGUF", read_gguf_checkpoint},
    {0, "FUGG", read_gguf_checkpoint},  // byte-swapped: the reader says so
    {0, kLfsMagic, refuse_lfs},
    {8, "{\"", refuse_safetensors},  // no magic of its own: a length, then a JSON
                                     // object
    {0, "{", refuse_json},
    {0, "PK\x03\x04", refuse_pytorch},
    {0, "tjgg", refuse_old_ggml},
    {0, "fmgg", refuse_old_ggml},
    {0, "lmgg", refuse_old_ggml},
};

bool stands_at(std::span<const std::byte> bytes, std::size_t offset, std::string_view magic) {
  return bytes.size() >= offset + magic.size() && std::memcmp(bytes.data() + offset, magic.data(), magic.size()) == 0;
}

StateResult read_file(const std::filesystem::path& path) {
  auto file = base::MappedFile::open(path);
  if (!file) return forward(file);
  if (file->size() == 0) return fail(ErrorCode::bad_file, concat("\"", path, "\": the file is empty"));
  for (const FileKind& kind : kFileKinds)
    if (stands_at(file->bytes(), kind.offset, kind.magic)) return kind.read(path, std::move(*file));
  const std::string_view start = file->text().substr(0, 8);
  return fail(ErrorCode::bad_file, concat("\"", path, "\": no model file Carat knows (it starts with ", quote(start),
                                          "); expected a Hugging Face directory or a GGUF file"));
}

}  // namespace

Result<void> refuse_lfs_pointer(std::span<const std::byte> bytes, std::string_view origin) {
  if (!stands_at(bytes, 0, kLfsMagic)) return {};
  return fail(ErrorCode::bad_file,
              concat("\"", origin,
                     "\" is a Git-LFS pointer, not the file itself; run `git lfs pull` in the cloned "
                     "repository to fetch it"));
}

Result<Checkpoint> open_checkpoint(const std::filesystem::path& path) {
  if (path.empty())
    return fail(ErrorCode::invalid_argument, "the path of the model is empty; name a directory or a GGUF file");
  std::error_code ignored;  // whatever is wrong with the path, opening it says so best
  auto state = std::filesystem::is_directory(path, ignored) ? read_huggingface_checkpoint(path) : read_file(path);
  if (!state) return forward(state);
  return CheckpointBuilder::build(std::move(*state));
}

}  // namespace carat::formats
