// Parses one GGUF file: header, metadata, tensor table. Every count, length, type and offset is checked against the
// bytes that are really there before anything is allocated for it or pointed at.
#include "formats/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/checked.h"
#include "base/concat.h"
#include "formats/byte_cursor.h"
#include "formats/gguf_types.h"
#include "formats/quote.h"

namespace carat::formats {
namespace {

using base::concat;

constexpr std::uint32_t kOldestVersion = 2, kNewestVersion = 3;
constexpr std::uint64_t kDefaultAlignment = 32;
// The format asks for a multiple of 8; 1 MiB is far above any page or device need, and keeps rounding harmless.
constexpr std::uint64_t kMinAlignment = 8, kMaxAlignment = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxKeyBytes = 65535;
// The least a metadata entry (key length, one character, type, one byte) and a tensor entry (name length, one
// character, rank, type, offset) take: bounds their counts by the bytes that remain.
constexpr std::uint64_t kMinEntryBytes = 8 + 1 + 4 + 1, kMinTensorBytes = 8 + 1 + 4 + 4 + 8;

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, std::string_view origin, std::string_view file)
      : bytes_(bytes), cursor_(bytes), origin_(origin), file_(file) {
    out_.metadata = GgufMetadata(std::string(origin));
  }

  Result<GgufFile> run() {
    if (auto header = read_header(); !header) return forward(header);
    for (std::uint64_t i = 0; i < entry_count_; ++i)
      if (auto entry = read_entry(i); !entry) return forward(entry);
    if (auto alignment = read_alignment(); !alignment) return forward(alignment);
    out_.tensors.reserve(tensor_count_);
    for (std::uint64_t i = 0; i < tensor_count_; ++i)
      if (auto tensor = read_tensor(i); !tensor) return forward(tensor);
    if (auto data = locate_data(); !data) return forward(data);
    return std::move(out_);
  }

 private:
  struct Extent {
    std::uint64_t offset, size;  ///< within the data section
  };

  template <typename... Parts>
  std::unexpected<Error> bad(const Parts&... parts) const {
    return fail(ErrorCode::bad_file, concat("gguf \"", origin_, "\": ", parts...));
  }
  template <typename... Parts>
  std::unexpected<Error> unsupported(const Parts&... parts) const {
    return fail(ErrorCode::unsupported, concat("gguf \"", origin_, "\": ", parts...));
  }
  std::unexpected<Error> ends(std::string_view what) const {
    return bad("the file ends inside ", what, " (byte ", cursor_.position(), " of ", bytes_.size(),
               "); it is truncated or damaged, fetch it again");
  }

  Result<void> read_header() {
    const auto magic = cursor_.take(4);
    if (!magic) return ends("the header");
    const std::string_view letters(reinterpret_cast<const char*>(magic->data()), magic->size());
    if (letters == "FUGG")
      return unsupported("a byte-swapped file (magic \"FUGG\"); only little-endian files are read");
    if (letters != "GGUF") return bad("starts with ", quote(letters), "; expected \"GGUF\"");

    const auto version = cursor_.number<std::uint32_t>();
    if (!version) return ends("the header");
    // A big-endian file has the same magic and its version in the other byte order.
    if (const std::uint32_t swapped = __builtin_bswap32(*version); swapped >= 1 && swapped <= 0xFFFF)
      return unsupported("a big-endian file (version ", swapped,
                         " with its bytes swapped); only little-endian files are read");
    if (*version < kOldestVersion || *version > kNewestVersion)
      return unsupported("version ", *version, "; versions ", kOldestVersion, " and ", kNewestVersion, " are read");
    out_.version = *version;

    const auto tensors = cursor_.number<std::uint64_t>();
    const auto entries = cursor_.number<std::uint64_t>();
    if (!tensors || !entries) return ends("the header");
    if (*entries > cursor_.remaining() / kMinEntryBytes)
      return bad("promises ", *entries, " metadata entries; the ", cursor_.remaining(),
                 " bytes that follow cannot hold them");
    if (*tensors > cursor_.remaining() / kMinTensorBytes)
      return bad("promises ", *tensors, " tensors; the ", cursor_.remaining(), " bytes that follow cannot hold them");
    tensor_count_ = *tensors;
    entry_count_ = *entries;
    return {};
  }

  Result<void> read_entry(std::uint64_t index) {
    const auto key = cursor_.text();
    if (!key) return ends(concat("the key of metadata entry ", index));
    if (key->empty() || key->size() > kMaxKeyBytes)
      return bad("the key of metadata entry ", index, " has ", key->size(), " bytes; expected 1 to ", kMaxKeyBytes);
    if (out_.metadata.contains(*key)) return bad("metadata key ", quote(*key), " stands twice");
    const auto type = cursor_.number<std::uint32_t>();
    if (!type) return ends(concat("metadata ", quote(*key)));
    auto value = *type == static_cast<std::uint32_t>(GgufType::array) ? read_array(*key) : read_scalar(*key, *type);
    if (!value) return forward(value);
    out_.metadata.insert(std::string(*key), *value);
    if (*key == "general.alignment") alignment_type_ = *type;
    return {};
  }

  Result<GgufValue> read_scalar(std::string_view key, std::uint32_t type) {
    std::optional<GgufValue> value;
    const auto read = [&]<typename T, typename As>(T, As) {
      if (const auto number = cursor_.number<T>()) value = GgufValue(static_cast<As>(*number));
    };
    switch (static_cast<GgufType>(type)) {
      case GgufType::u8:
        read(std::uint8_t{}, std::uint64_t{});
        break;
      case GgufType::u16:
        read(std::uint16_t{}, std::uint64_t{});
        break;
      case GgufType::u32:
        read(std::uint32_t{}, std::uint64_t{});
        break;
      case GgufType::u64:
        read(std::uint64_t{}, std::uint64_t{});
        break;
      case GgufType::i8:
        read(std::int8_t{}, std::int64_t{});
        break;
      case GgufType::i16:
        read(std::int16_t{}, std::int64_t{});
        break;
      case GgufType::i32:
        read(std::int32_t{}, std::int64_t{});
        break;
      case GgufType::i64:
        read(std::int64_t{}, std::int64_t{});
        break;
      case GgufType::f32:
        read(float{}, double{});
        break;
      case GgufType::f64:
        read(double{}, double{});
        break;
      case GgufType::boolean:
        if (const auto byte = cursor_.number<std::uint8_t>()) {
          if (*byte > 1) return bad("metadata ", quote(key), " is a bool of value ", *byte, "; expected 0 or 1");
          value = GgufValue(*byte == 1);
        }
        break;
      case GgufType::string:
        if (const auto text = cursor_.text()) value = GgufValue(*text);
        break;
      default:
        return bad("metadata ", quote(key), " has value type ", type, ", which does not exist (0 to 12 do)");
    }
    if (!value) return ends(concat("metadata ", quote(key)));
    return *value;
  }

  Result<GgufValue> read_array(std::string_view key) {
    const auto element_type = cursor_.number<std::uint32_t>();
    const auto count = cursor_.number<std::uint64_t>();
    if (!element_type || !count) return ends(concat("metadata ", quote(key)));
    GgufArray array{.element_type = *element_type, .count = *count, .bytes = {}};
    const std::size_t start = cursor_.position();
    const auto too_long = [&] {
      return bad("metadata ", quote(key), " promises ", *count, " elements of type ", gguf_type_name(*element_type),
                 "; the ", bytes_.size() - start, " bytes that follow cannot hold them");
    };

    if (*element_type == static_cast<std::uint32_t>(GgufType::string)) {
      if (*count > cursor_.remaining() / sizeof(std::uint64_t)) return too_long();
      for (std::uint64_t i = 0; i < *count; ++i)
        if (!cursor_.text()) return ends(concat("string ", i, " of metadata ", quote(key)));
      array.bytes = bytes_.subspan(start, cursor_.position() - start);
      return array;
    }
    if (*element_type == static_cast<std::uint32_t>(GgufType::array))
      return unsupported("metadata ", quote(key),
                         " is an array of arrays; arrays of plain values and strings are read");
    const auto element_bytes = gguf_type_bytes(*element_type);
    if (!element_bytes)
      return bad("metadata ", quote(key), " is an array of element type ", *element_type,
                 ", which does not exist (0 to 12 do)");
    const auto size = base::checked_mul<std::uint64_t>(*count, *element_bytes);
    const auto taken = size ? cursor_.take(*size) : std::nullopt;
    if (!taken) return too_long();
    array.bytes = *taken;
    if (*element_type == static_cast<std::uint32_t>(GgufType::boolean) &&
        std::ranges::any_of(array.bytes, [](std::byte b) { return b > std::byte{1}; }))
      return bad("metadata ", quote(key), " is an array of bools with a value other than 0 and 1");
    return array;
  }

  Result<void> read_alignment() {
    const auto alignment = out_.metadata.find("general.alignment");
    if (alignment == nullptr) return {};
    if (alignment_type_ != static_cast<std::uint32_t>(GgufType::u32))
      return bad("metadata \"general.alignment\" is of type ", gguf_type_name(alignment_type_), "; expected u32");
    alignment_ = std::get<std::uint64_t>(*alignment);
    if (!std::has_single_bit(alignment_) || alignment_ < kMinAlignment || alignment_ > kMaxAlignment)
      return bad("metadata \"general.alignment\" is ", alignment_, "; expected a power of two from ", kMinAlignment,
                 " to ", kMaxAlignment);
    return {};
  }

  Result<void> read_tensor(std::uint64_t index) {
    const auto name = cursor_.text();
    if (!name) return ends(concat("the name of tensor ", index, " of ", tensor_count_));
    if (name->empty() || name->size() > kMaxKeyBytes)
      return bad("the name of tensor ", index, " has ", name->size(), " bytes; expected 1 to ", kMaxKeyBytes);
    if (!names_.insert(*name).second) return bad("tensor ", quote(*name), " stands twice");
    const auto cut = [&] { return ends(concat("the entry of tensor ", quote(*name))); };

    const auto rank = cursor_.number<std::uint32_t>();
    if (!rank) return cut();
    if (*rank > tensor::Shape::kMaxRank)
      return bad("tensor ", quote(*name), " has ", *rank, " dimensions; at most ", tensor::Shape::kMaxRank,
                 " are possible");
    // The file counts from the fastest dimension, a Shape from the slowest.
    std::array<std::int64_t, tensor::Shape::kMaxRank> dims{};
    for (std::uint32_t d = 0; d < *rank; ++d) {
      const auto size = cursor_.number<std::uint64_t>();
      if (!size) return cut();
      if (*size == 0 || *size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return bad("tensor ", quote(*name), " has a dimension of size ", *size);
      dims[*rank - 1 - d] = static_cast<std::int64_t>(*size);
    }
    const auto type = cursor_.number<std::uint32_t>();
    const auto offset = cursor_.number<std::uint64_t>();
    if (!type || !offset) return cut();

    const auto shape = tensor::Shape::from(std::span(dims).first(*rank));
    if (!shape) return bad("the dimensions of tensor ", quote(*name), " overflow when multiplied");
    const tensor::DTypeInfo* dtype = tensor::find_gguf_type(*type);
    if (dtype == nullptr) {
      const std::string_view known = ggml_tensor_type_name(*type);
      return unsupported("tensor ", quote(*name), " is of ggml type ", *type, " (", known.empty() ? "unknown" : known,
                         "), which Carat does not read; use a file quantised to another type");
    }
    const auto size = tensor::size_in_bytes(dtype->dtype, *shape);
    if (!size)
      return bad("tensor ", quote(*name), " of type ", dtype->name, " has shape ", shape->text(),
                 "; expected rows of a multiple of ", dtype->block_elements, " values and a size that fits a file");
    if (*offset % alignment_ != 0)
      return bad("tensor ", quote(*name), " starts at data offset ", *offset, ", no multiple of the alignment ",
                 alignment_);
    extents_.push_back({*offset, static_cast<std::uint64_t>(*size)});
    out_.tensors.push_back({.name = std::string(*name),
                            .view = {.dtype = dtype->dtype, .shape = *shape, .data = nullptr},
                            .file = std::string(file_)});
    return {};
  }

  // Points every tensor at its bytes, once the end of the table tells where the data section starts.
  Result<void> locate_data() {
    if (out_.tensors.empty()) return {};  // a vocabulary-only file may end right behind its metadata
    const std::uint64_t table_end = cursor_.position();
    const std::uint64_t start = (table_end + alignment_ - 1) / alignment_ * alignment_;
    if (start > bytes_.size()) return ends("the padding before the tensor data");
    const std::uint64_t available = bytes_.size() - start;

    std::vector<std::size_t> by_offset(extents_.size());
    for (std::size_t i = 0; i < by_offset.size(); ++i) by_offset[i] = i;
    std::ranges::sort(by_offset, {}, [&](std::size_t i) { return std::pair(extents_[i].offset, extents_[i].size); });
    std::uint64_t taken_to = 0;
    std::size_t previous = 0;
    for (const std::size_t i : by_offset) {
      const Extent& extent = extents_[i];
      NamedTensor& tensor = out_.tensors[i];
      const auto end = base::checked_add(extent.offset, extent.size);
      if (!end || *end > available)
        return bad("tensor ", quote(tensor.name), " takes ", extent.size, " bytes at data offset ", extent.offset,
                   "; the data section has ", available, " bytes (the file is truncated or damaged, fetch it again)");
      if (extent.offset < taken_to)
        return bad("tensors ", quote(out_.tensors[previous].name), " and ", quote(tensor.name),
                   " overlap at data offset ", extent.offset);
      taken_to = *end;
      previous = i;
      tensor.view.data = bytes_.data() + start + extent.offset;
    }
    return {};
  }

  std::span<const std::byte> bytes_;
  ByteCursor cursor_;
  std::string_view origin_, file_;
  GgufFile out_;
  std::uint64_t tensor_count_ = 0, entry_count_ = 0;
  std::uint64_t alignment_ = kDefaultAlignment;
  std::uint32_t alignment_type_ = 0;
  std::unordered_set<std::string_view> names_;
  std::vector<Extent> extents_;  ///< one per tensor, same order
};

}  // namespace

Result<GgufFile> parse_gguf(std::span<const std::byte> bytes, std::string_view origin, std::string_view file) {
  return Parser(bytes, origin, file).run();
}

}  // namespace carat::formats
