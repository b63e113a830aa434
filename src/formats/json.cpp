// Parses JSON through nlohmann's lexer into our own builder, which counts depth and finds duplicate keys.
// ordered_json looks a key up linearly before each insertion, quadratic for the 262,144 keys of a vocabulary; the
// builder appends instead, and looks for duplicates once per object by sorting hashes.
#include "formats/json.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "formats/quote.h"

namespace carat::formats {
namespace {

using base::concat;

/// Walks the text and leaves behind how far the lexer has read, since SAX events carry no position.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

/// "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error …; last read: '…'" -> the middle
/// part. The last token is the input's own bytes, possibly megabytes of them, so it is left out.
std::string what_is_wrong(std::string_view what) {
  if (const auto bracket = what.find("] "); bracket != what.npos) what.remove_prefix(bracket + 2);
  if (what.starts_with("parse error"))
    if (const auto colon = what.find(": "); colon != what.npos) what.remove_prefix(colon + 2);
  if (const auto last_read = what.find("; last read"); last_read != what.npos) what = what.substr(0, last_read);
  const std::string safe = quote(what, 200);
  return safe.substr(1, safe.size() - 2);
}

class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view text, const char* const* furthest, const JsonLimits& limits)
      : begin_(text.data()), furthest_(furthest), limits_(limits) {}

  bool null() override { return add(Json(nullptr)); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(value)); }
  bool number_float(number_float_t value, const string_t&) override { return add(Json(value)); }
  bool string(string_t& value) override { return add(Json(std::move(value))); }
  bool binary(binary_t&) override { return reject("binary data"); }

  bool start_object(std::size_t) override { return open(Json::value_t::object); }
  bool start_array(std::size_t) override { return open(Json::value_t::array); }
  bool key(string_t& name) override {
    keys_.push_back({std::hash<std::string_view>{}(name), members(stack_.back().value).size(), position()});
    // Straight into the vector below ordered_map: its own emplace would compare with every earlier key.
    members(stack_.back().value).emplace_back(std::move(name), Json());
    return true;
  }
  bool end_object() override { return has_unique_keys() && close(); }
  bool end_array() override { return close(); }

  bool parse_error(std::size_t at, const std::string&, const nlohmann::detail::exception& problem) override {
    // The lexer counts the character it tripped over; ours is the offset of that character.
    return reject(what_is_wrong(problem.what()), at == 0 ? 0 : at - 1);
  }

  std::optional<std::string>& problem() { return problem_; }
  Json& root() { return root_; }

 private:
  struct Level {
    Json value;
    std::size_t first_key;  ///< where its keys start in keys_
  };
  struct Key {
    std::size_t hash;
    std::size_t index;     ///< among the members of its object
    std::size_t position;  ///< byte just behind the key
  };
  using Members = Json::object_t::Container;

  static Members& members(Json& object) { return object.get_ref<Json::object_t&>(); }
  std::size_t position() const { return static_cast<std::size_t>(*furthest_ - begin_); }

  bool reject(std::string text, std::size_t at) {
    if (!problem_) problem_ = concat("byte ", at, ": ", text);
    return false;
  }
  bool reject(std::string text) { return reject(std::move(text), position()); }

  bool open(Json::value_t kind) {
    if (stack_.size() >= limits_.max_depth)
      return reject(concat("more than ", limits_.max_depth, " arrays and objects inside one another"));
    stack_.push_back({Json(kind), keys_.size()});
    return true;
  }

  bool close() {
    Json finished = std::move(stack_.back().value);
    keys_.resize(stack_.back().first_key);
    stack_.pop_back();
    return add(std::move(finished));
  }

  bool add(Json&& value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().value.is_array()) {
      stack_.back().value.get_ref<Json::array_t&>().push_back(std::move(value));
    } else {
      members(stack_.back().value).back().second = std::move(value);
    }
    return true;
  }

  // Sorted by hash, equal hashes by name: n log n even for keys chosen to collide. Reports the earliest second key.
  bool has_unique_keys() {
    Members& object = members(stack_.back().value);
    const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(stack_.back().first_key);
    const auto name = [&](const Key& key) -> const std::string& { return object[key.index].first; };
    std::sort(first, keys_.end(), [&](const Key& a, const Key& b) {
      if (a.hash != b.hash) return a.hash < b.hash;
      const int order = name(a).compare(name(b));
      return order != 0 ? order < 0 : a.index < b.index;
    });
    const Key* repeated = nullptr;
    for (auto key = first; key != keys_.end() && std::next(key) != keys_.end(); ++key) {
      const Key& next = *std::next(key);
      if (key->hash == next.hash && name(*key) == name(next) && (!repeated || next.index < repeated->index))
        repeated = &next;
    }
    return repeated == nullptr || reject(concat("duplicate key ", quote(name(*repeated))), repeated->position);
  }

  const char* begin_;
  const char* const* furthest_;
  JsonLimits limits_;
  std::vector<Level> stack_;
  std::vector<Key> keys_;  ///< keys of all open objects, innermost last
  Json root_;
  std::optional<std::string> problem_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view origin, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return fail(ErrorCode::bad_file,
                concat(origin, ": ", text.size(), " bytes of JSON; at most ", limits.max_bytes, " are accepted"));
  }
  const char* furthest = text.data();
  Builder builder(text, &furthest, limits);
  try {
    const bool ok = Json::sax_parse(CountingIterator(text.data(), &furthest),
                                    CountingIterator(text.data() + text.size(), &furthest), &builder);
    if (ok && !builder.problem()) return std::move(builder.root());
    return fail(ErrorCode::bad_file, concat(origin, ": not valid JSON at ", builder.problem().value_or("its start")));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::out_of_memory,
                concat(origin, ": not enough memory to parse ", text.size(), " bytes of JSON"));
  } catch (const std::exception& problem) {
    return fail(ErrorCode::bad_file, concat(origin, ": not valid JSON: ", what_is_wrong(problem.what())));
  }
}

}  // namespace carat::formats
