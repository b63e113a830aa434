// Reads a directory as Hugging Face publishes models: configuration files, tokenizer, chat template, and weights in
// model.safetensors or in shards listed by model.safetensors.index.json.
#include "formats/huggingface.h"

#include <algorithm>
#include <map>
#include <set>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/concat.h"
#include "formats/open.h"
#include "formats/quote.h"
#include "formats/safetensors.h"

namespace carat::formats {
namespace {

using base::concat;
namespace fs = std::filesystem;

constexpr std::string_view kSingleFile = "model.safetensors", kIndexFile = "model.safetensors.index.json";

template <typename... Parts>
std::unexpected<Error> bad(const fs::path& where, const Parts&... parts) {
  return fail(ErrorCode::bad_file, concat("\"", where, "\": ", parts...));
}

/// Names in the directory, sorted; links that lead nowhere included.
Result<std::set<std::string>> list(const fs::path& directory) {
  std::error_code error;
  std::set<std::string> names;
  fs::directory_iterator entry(directory, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error))
    names.insert(entry->path().filename().string());
  if (error) return fail(ErrorCode::io, concat("\"", directory, "\": the directory cannot be read: ", error.message()));
  return names;
}

/// Reads the directory of one checkpoint into a State.
class DirectoryReader {
 public:
  DirectoryReader(fs::path directory, std::set<std::string> names)
      : directory_(std::move(directory)), names_(std::move(names)), state_(std::make_unique<Checkpoint::State>()) {
    state_->format = Format::huggingface;
    state_->path = directory_;
  }

  Result<std::unique_ptr<Checkpoint::State>> run() {
    if (!has("config.json")) return missing_config();
    if (auto read = read_json("config.json", state_->config); !read) return forward(read);
    if (auto read = read_json("generation_config.json", state_->generation_config); !read) return forward(read);
    if (auto read = read_json("tokenizer_config.json", state_->tokenizer_config); !read) return forward(read);
    if (auto read = read_json("processor_config.json", state_->processor_config); !read) return forward(read);
    if (has("tokenizer.json")) {
      auto text = read_text("tokenizer.json");
      if (!text) return forward(text);
      state_->tokenizer_json = *text;
    }
    if (auto read = read_chat_template(); !read) return forward(read);
    if (auto read = read_weights(); !read) return forward(read);
    return std::move(state_);
  }

 private:
  bool has(std::string_view name) const { return names_.contains(std::string(name)); }

  template <typename... Parts>
  std::unexpected<Error> bad_directory(const Parts&... parts) const {
    return bad(directory_, parts...);
  }

  std::unexpected<Error> missing_config() const {
    std::string hint;
    for (const std::string& name : names_)
      if (name.ends_with(".gguf"))
        hint += concat(hint.empty() ? "; it holds GGUF files, name one of them: " : ", ", quote(name));
    if (hint.empty()) {
      hint =
          "; expected a Hugging Face model directory (config.json, tokenizer.json, *.safetensors) or the path of a "
          "GGUF "
          "file";
    }
    return bad_directory("the directory has no config.json", hint);
  }

  /// Maps a file of the directory and keeps the mapping. Refuses Git-LFS pointers and empty files.
  Result<std::span<const std::byte>> map(const std::string& name) {
    auto mapped = base::MappedFile::open(directory_ / name);
    if (!mapped) return forward(mapped);
    if (mapped->size() == 0) return bad(directory_ / name, "the file is empty");
    if (auto usable = refuse_lfs_pointer(mapped->bytes(), mapped->name()); !usable) return forward(usable);
    state_->files.push_back(std::move(*mapped));
    return state_->files.back().bytes();
  }

  Result<std::string_view> read_text(const std::string& name) {
    const auto bytes = map(name);
    if (!bytes) return std::unexpected(bytes.error());
    return std::string_view(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  }

  /// A JSON file holding an object. `out` stays as it is when the file is absent.
  Result<void> read_json(const std::string& name, Json& out) {
    if (!has(name)) return {};
    auto text = read_text(name);
    if (!text) return forward(text);
    auto json = parse_json(*text, concat("\"", directory_ / name, "\""));
    if (!json) return forward(json);
    if (!json->is_object()) return bad(directory_ / name, "holds a JSON ", json->type_name(), "; expected an object");
    out = std::move(*json);
    return {};
  }

  Result<void> read_chat_template() {
    if (has("chat_template.jinja")) {
      auto text = read_text("chat_template.jinja");
      if (!text) return forward(text);
      state_->chat_template = std::string(*text);
      return {};
    }
    if (has("chat_template.json")) {
      Json json;
      if (auto read = read_json("chat_template.json", json); !read) return forward(read);
      const auto text = json.find("chat_template");
      if (text == json.end() || !text->is_string())
        return bad(directory_ / "chat_template.json", "has no text under \"chat_template\"");
      state_->chat_template = text->get<std::string>();
      return {};
    }
    const Json& config = state_->tokenizer_config;
    if (!config.is_object() || !config.contains("chat_template")) return {};
    const Json& value = config["chat_template"];
    if (value.is_null()) return {};
    if (value.is_string()) {
      state_->chat_template = value.get<std::string>();
      return {};
    }
    // Several templates: [{"name": "default", "template": "…"}, …].
    if (value.is_array()) {
      for (const Json& named : value) {
        if (!named.is_object() || named.value("name", Json()) != "default") continue;
        if (const auto text = named.find("template"); text != named.end() && text->is_string()) {
          state_->chat_template = text->get<std::string>();
          return {};
        }
      }
    }
    return bad(directory_ / "tokenizer_config.json",
               "\"chat_template\" is neither a text nor a list with a template named \"default\"");
  }

  Result<void> read_weights() {
    // The order of the reference library: one file before an index.
    if (has(kSingleFile)) {
      auto tensors = read_safetensors(std::string(kSingleFile));
      if (!tensors) return forward(tensors);
      state_->tensors = std::move(*tensors);
      return {};
    }
    if (has(kIndexFile)) return read_shards();
    std::string found;
    for (const std::string& name : names_) {
      if (name.ends_with(".safetensors") || name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth") ||
          name.ends_with(".gguf"))
        found += concat(found.empty() ? "; it holds " : ", ", quote(name));
    }
    return bad_directory("a directory without weights: expected ", kSingleFile, " or ", kIndexFile, " with its shards",
                         found);
  }

  Result<std::vector<NamedTensor>> read_safetensors(const std::string& name) {
    const auto bytes = map(name);
    if (!bytes) return std::unexpected(bytes.error());
    const std::string origin = (directory_ / name).string();
    auto header = parse_safetensors(*bytes, origin, name);
    if (!header) return forward(header);
    if (auto aligned = align_tensors(header->tensors, state_->copies, origin); !aligned) return forward(aligned);
    return std::move(header->tensors);
  }

  Result<void> read_shards() {
    Json index;
    if (auto read = read_json(std::string(kIndexFile), index); !read) return forward(read);
    const fs::path at = directory_ / kIndexFile;
    const auto weight_map = index.find("weight_map");
    if (weight_map == index.end() || !weight_map->is_object() || weight_map->empty())
      return bad(at, "has no \"weight_map\" that names the shard of each tensor");

    std::unordered_map<std::string, std::string> shard_of;
    std::set<std::string> shards;
    for (const auto& [tensor, shard] : weight_map->items()) {
      if (!shard.is_string()) return bad(at, "the shard of tensor ", quote(tensor), " is no file name");
      const auto& name = shard.get_ref<const std::string&>();
      if (!is_plain_name(name))
        return bad(at, "the shard of tensor ", quote(tensor), " is ", quote(name),
                   "; expected a file name in the same directory");
      shard_of.emplace(tensor, name);
      shards.insert(name);
    }
    std::string absent;
    std::size_t absent_count = 0;
    for (const std::string& shard : shards) {
      if (has(shard)) continue;
      if (++absent_count <= 8) absent += concat(absent.empty() ? "" : ", ", quote(shard));
    }
    if (absent_count > 0) {
      return bad(at, "names ", shards.size(), " shards, of which ", absent_count, " ", absent_count == 1 ? "is" : "are",
                 " absent: ", absent, absent_count > 8 ? ", …" : "", "; fetch the whole model");
    }

    std::unordered_map<std::string, std::string> seen_in;  // tensor -> shard
    for (const std::string& shard : shards) {
      auto tensors = read_safetensors(shard);
      if (!tensors) return forward(tensors);
      for (NamedTensor& tensor : *tensors) {
        // A copy in another shard than the index says is passed over, as the reference library does.
        const auto listed = shard_of.find(tensor.name);
        if (listed != shard_of.end() && listed->second != shard) continue;
        if (const auto [earlier, added] = seen_in.emplace(tensor.name, shard); !added)
          return bad(at, "tensor ", quote(tensor.name), " stands in ", quote(earlier->second), " and in ",
                     quote(shard));
        state_->tensors.push_back(std::move(tensor));
      }
    }
    for (const auto& [tensor, shard] : weight_map->items())
      if (!seen_in.contains(tensor))
        return bad(at, "tensor ", quote(tensor), " is missing in its shard ",
                   quote(shard.get_ref<const std::string&>()));
    return {};
  }

  // No path of any kind: a hostile index must not lead out of the directory.
  static bool is_plain_name(std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
           name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
  }

  fs::path directory_;
  std::set<std::string> names_;
  std::unique_ptr<Checkpoint::State> state_;
};

}  // namespace

Result<std::unique_ptr<Checkpoint::State>> read_huggingface_checkpoint(const fs::path& directory) {
  auto names = list(directory);
  if (!names) return forward(names);
  return DirectoryReader(directory, std::move(*names)).run();
}

}  // namespace carat::formats
