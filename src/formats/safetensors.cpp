// Parses and checks a safetensors header: 8 bytes of length, JSON, then data that the tensors must cover exactly, in
// order, with neither holes nor overlaps (the rules of the format's own library).
#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <optional>
#include <utility>

#include "base/concat.h"
#include "formats/byte_cursor.h"
#include "formats/open.h"
#include "formats/quote.h"

namespace carat::formats {
namespace {

using base::concat;

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the cap of the format's own library
constexpr std::size_t kMaxHeaderDepth = 8;              // header, tensor, its arrays: 3 are needed

template <typename... Parts>
std::unexpected<Error> bad(std::string_view origin, const Parts&... parts) {
  return fail(ErrorCode::bad_file, concat("safetensors \"", origin, "\": ", parts...));
}

struct Entry {
  NamedTensor tensor;
  std::uint64_t begin = 0, end = 0;  ///< in the data section
};

/// The value of a JSON whole number that is not negative; nothing for anything else.
std::optional<std::uint64_t> whole_number(const Json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

Result<Entry> read_entry(const std::string& name, const Json& value, std::string_view origin, std::string_view file) {
  const auto wrong = [&](std::string_view what) { return bad(origin, "tensor ", quote(name), " ", what); };
  if (!value.is_object()) return wrong("is described by no JSON object");
  const auto dtype = value.find("dtype"), dims = value.find("shape"), offsets = value.find("data_offsets");
  if (dtype == value.end() || !dtype->is_string()) return wrong("has no \"dtype\" text");
  if (dims == value.end() || !dims->is_array()) return wrong("has no \"shape\" array");
  if (offsets == value.end() || !offsets->is_array() || offsets->size() != 2)
    return wrong("has no \"data_offsets\" array of two numbers");

  const auto& dtype_name = dtype->get_ref<const std::string&>();
  const tensor::DTypeInfo* type = dtype_name.empty() ? nullptr : tensor::find_safetensors_type(dtype_name);
  if (type == nullptr) {
    return fail(ErrorCode::unsupported, concat("safetensors \"", origin, "\": tensor ", quote(name), " is of dtype ",
                                               quote(dtype_name), ", which Carat does not read"));
  }
  if (dims->size() > tensor::Shape::kMaxRank) {
    return fail(ErrorCode::unsupported,
                concat("safetensors \"", origin, "\": tensor ", quote(name), " has ", dims->size(),
                       " dimensions; at most ", tensor::Shape::kMaxRank, " are read"));
  }
  std::array<std::int64_t, tensor::Shape::kMaxRank> sizes{};
  for (std::size_t d = 0; d < dims->size(); ++d) {
    const auto size = whole_number((*dims)[d]);
    if (!size || *size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return wrong("has a dimension that is no whole number from 0 to 2^63 - 1");
    sizes[d] = static_cast<std::int64_t>(*size);
  }
  const auto shape = tensor::Shape::from(std::span(sizes).first(dims->size()));
  const auto size = shape ? tensor::size_in_bytes(type->dtype, *shape) : std::nullopt;
  if (!size) return wrong("has dimensions that overflow when multiplied");

  const auto begin = whole_number((*offsets)[0]), end = whole_number((*offsets)[1]);
  if (!begin || !end || *begin > *end) return wrong("has \"data_offsets\" that are no begin and end");
  if (*end - *begin != static_cast<std::uint64_t>(*size)) {
    return bad(origin, "tensor ", quote(name), " takes ", *end - *begin, " bytes by its data_offsets, but ", *size,
               " by its shape ", shape->text(), " of ", dtype_name);
  }
  return Entry{.tensor = {.name = name,
                          .view = {.dtype = type->dtype, .shape = *shape, .data = nullptr},
                          .file = std::string(file)},
               .begin = *begin,
               .end = *end};
}

Result<void> read_metadata(const Json& value, std::string_view origin, std::map<std::string, std::string>& out) {
  if (!value.is_object()) return bad(origin, "\"__metadata__\" is no JSON object of texts");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return bad(origin, "\"__metadata__\" entry ", quote(key), " is no text");
    out.emplace(key, text.get_ref<const std::string&>());
  }
  return {};
}

}  // namespace

Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> bytes, std::string_view origin,
                                            std::string_view file) {
  if (auto usable = refuse_lfs_pointer(bytes, origin); !usable) return forward(usable);
  ByteCursor cursor(bytes);
  const auto header_bytes = cursor.number<std::uint64_t>();
  if (!header_bytes) return bad(origin, "has ", bytes.size(), " bytes; the header length alone takes 8");
  if (*header_bytes > kMaxHeaderBytes)
    return bad(origin, "promises a header of ", *header_bytes, " bytes; at most ", kMaxHeaderBytes, " are possible");
  const auto header = cursor.take(*header_bytes);
  if (!header) {
    return bad(origin, "ends inside its header: ", *header_bytes, " bytes promised, ", cursor.remaining(),
               " there; it is truncated or damaged, fetch it again");
  }
  const std::string_view text(reinterpret_cast<const char*>(header->data()), header->size());
  if (!text.starts_with('{')) return bad(origin, "its header does not start with '{'");
  auto json = parse_json(text, concat("safetensors \"", origin, "\" header"),
                         {.max_bytes = kMaxHeaderBytes, .max_depth = kMaxHeaderDepth});
  if (!json) return forward(json);

  SafetensorsHeader out;
  std::vector<Entry> entries;
  entries.reserve(json->size());
  for (const auto& [name, value] : json->items()) {
    if (name == "__metadata__") {
      if (auto metadata = read_metadata(value, origin, out.metadata); !metadata) return forward(metadata);
      continue;
    }
    auto entry = read_entry(name, value, origin, file);
    if (!entry) return forward(entry);
    entries.push_back(std::move(*entry));
  }

  std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
  const std::span<const std::byte> data = bytes.subspan(cursor.position());
  std::uint64_t covered = 0;
  for (Entry& entry : entries) {
    if (entry.end > data.size()) {
      return bad(origin, "tensor ", quote(entry.tensor.name), " ends at data byte ", entry.end, "; the file holds ",
                 data.size(), " (it is truncated or damaged, fetch it again)");
    }
    if (entry.begin != covered) {
      return bad(origin, "tensor ", quote(entry.tensor.name), " starts at data byte ", entry.begin, "; expected ",
                 covered, ", where the one before it ends (tensors may neither overlap nor leave holes)");
    }
    covered = entry.end;
    entry.tensor.view.data = data.data() + entry.begin;
    out.tensors.push_back(std::move(entry.tensor));
  }
  if (covered != data.size())
    return bad(origin, "has ", data.size() - covered, " bytes behind its last tensor that belong to none");
  return out;
}

Result<void> align_tensors(std::span<NamedTensor> tensors, std::vector<std::unique_ptr<std::byte[]>>& copies,
                           std::string_view origin) {
  for (NamedTensor& tensor : tensors) {
    const tensor::DTypeInfo& type = tensor::info(tensor.view.dtype);
    const auto needed = static_cast<std::uintptr_t>(type.block_elements == 1 ? type.block_bytes : 1);
    const auto size = static_cast<std::size_t>(tensor.view.size_bytes());
    if (size == 0 || reinterpret_cast<std::uintptr_t>(tensor.view.data) % needed == 0) continue;
    std::unique_ptr<std::byte[]> copy(new (std::nothrow) std::byte[size]);
    if (!copy) {
      return fail(
          ErrorCode::out_of_memory,
          concat("safetensors \"", origin, "\": tensor ", quote(tensor.name), " stands at an odd address and its ",
                 size, " bytes do not fit in memory; save the file again with a current safetensors library"));
    }
    std::copy_n(tensor.view.data, size, copy.get());
    tensor.view.data = copy.get();
    copies.push_back(std::move(copy));
  }
  return {};
}

const NamedTensor* SafetensorsFile::find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(tensors_, name, {}, &NamedTensor::name);
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

Result<SafetensorsFile> open_safetensors(const std::filesystem::path& path) {
  auto mapped = base::MappedFile::open(path);
  if (!mapped) return forward(mapped);
  auto header = parse_safetensors(mapped->bytes(), path.string(), path.filename().string());
  if (!header) return forward(header);
  SafetensorsFile out;
  out.file_ = std::move(*mapped);
  out.metadata_ = std::move(header->metadata);
  out.tensors_ = std::move(header->tensors);
  if (auto aligned = align_tensors(out.tensors_, out.copies_, path.string()); !aligned) return forward(aligned);
  std::ranges::sort(out.tensors_, {}, &NamedTensor::name);
  return out;
}

}  // namespace carat::formats
