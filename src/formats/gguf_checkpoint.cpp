// Makes a checkpoint of one GGUF file or of a split set, whose first file X-00001-of-0000N.gguf holds all metadata and
// whose others hold further tensors.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/concat.h"
#include "formats/gguf.h"
#include "formats/open.h"
#include "formats/quote.h"

namespace carat::formats {
namespace {

using base::concat;

template <typename... Parts>
std::unexpected<Error> bad(std::string_view origin, const Parts&... parts) {
  return fail(ErrorCode::bad_file, concat("gguf \"", origin, "\": ", parts...));
}

std::string five_digits(std::int64_t number) {
  std::string digits = std::to_string(number);
  return digits.size() < 5 ? std::string(5 - digits.size(), '0') + digits : digits;
}

/// "-00001-of-00003.gguf" for part 0 of 3: the file counts from 0, its name from 1.
std::string split_suffix(std::int64_t no, std::int64_t count) {
  return concat("-", five_digits(no + 1), "-of-", five_digits(count), ".gguf");
}

/// The split.* keys; count 1 when the file is whole.
struct Split {
  std::int64_t no = 0, count = 1;
  std::optional<std::int64_t> tensor_count;  ///< of the whole set
};

Result<Split> read_split(const GgufMetadata& metadata) {
  auto count = metadata.integer("split.count");
  auto no = metadata.integer("split.no");
  auto tensors = metadata.integer("split.tensors.count");
  for (auto* number : {&count, &no, &tensors})
    if (!*number) return forward(*number);
  if (!*count || **count == 0 || **count == 1) return Split{};
  if (**count < 0 || **count > 65535)
    return bad(metadata.origin(), "metadata \"split.count\" is ", **count, "; expected 1 to 65535");
  if (!*no) return bad(metadata.origin(), "metadata \"split.count\" is ", **count, ", but \"split.no\" is missing");
  if (**no < 0 || **no >= **count)
    return bad(metadata.origin(), "metadata \"split.no\" is ", **no, "; expected 0 to ", **count - 1);
  return Split{.no = **no, .count = **count, .tensor_count = *tensors};
}

/// Adds the tensors of the parts after the first to `state`.
Result<void> read_other_parts(const std::filesystem::path& path, const Split& split, Checkpoint::State& state) {
  const std::string origin = path.string(), file = path.filename().string();
  const std::string suffix = split_suffix(split.no, split.count);
  if (!file.ends_with(suffix)) {
    return bad(origin, "is part ", split.no + 1, " of ", split.count,
               " of a split model, but its name does not end in ", quote(suffix), "; give the parts back their names");
  }
  const std::string stem = file.substr(0, file.size() - suffix.size());
  const auto part_path = [&](std::int64_t no) { return path.parent_path() / (stem + split_suffix(no, split.count)); };
  if (split.no != 0) {
    return bad(origin, "is part ", split.no + 1, " of ", split.count, " of a split model; name the first part, \"",
               part_path(0).string(), "\"");
  }

  std::unordered_set<std::string> names;
  for (const NamedTensor& tensor : state.tensors) names.insert(tensor.name);
  for (std::int64_t no = 1; no < split.count; ++no) {
    const std::filesystem::path at = part_path(no);
    auto mapped = base::MappedFile::open(at);
    if (!mapped) {
      return fail(mapped.error().code,
                  concat("gguf \"", origin, "\": part ", no + 1, " of ", split.count, ": ", mapped.error().message));
    }
    if (auto usable = refuse_lfs_pointer(mapped->bytes(), at.string()); !usable) return forward(usable);
    auto part = parse_gguf(mapped->bytes(), at.string(), at.filename().string());
    if (!part) return forward(part);
    const auto its = read_split(part->metadata);
    if (!its) return std::unexpected(its.error());
    if (its->no != no || its->count != split.count) {
      return bad(at.string(), "says it is part ", its->no + 1, " of ", its->count, "; expected part ", no + 1, " of ",
                 split.count);
    }
    for (NamedTensor& tensor : part->tensors) {
      if (!names.insert(tensor.name).second)
        return bad(at.string(), "tensor ", quote(tensor.name), " also stands in an earlier part");
      state.tensors.push_back(std::move(tensor));
    }
    state.files.push_back(std::move(*mapped));
  }
  if (split.tensor_count && *split.tensor_count != static_cast<std::int64_t>(state.tensors.size())) {
    return bad(origin, "metadata \"split.tensors.count\" is ", *split.tensor_count, ", but the ", split.count,
               " parts hold ", state.tensors.size(), " tensors");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Checkpoint::State>> read_gguf_checkpoint(const std::filesystem::path& path,
                                                                base::MappedFile file) {
  auto parsed = parse_gguf(file.bytes(), path.string(), path.filename().string());
  if (!parsed) return forward(parsed);
  auto state = std::make_unique<Checkpoint::State>();
  state->format = Format::gguf;
  state->path = path;
  state->tensors = std::move(parsed->tensors);
  state->metadata = std::move(parsed->metadata);
  state->files.push_back(std::move(file));

  auto split = read_split(state->metadata);
  if (!split) return forward(split);
  if (split->count > 1)
    if (auto others = read_other_parts(path, *split, *state); !others) return forward(others);

  auto chat_template = state->metadata.text("tokenizer.chat_template");
  if (!chat_template) return forward(chat_template);
  if (*chat_template) state->chat_template = std::string(**chat_template);
  return state;
}

}  // namespace carat::formats
