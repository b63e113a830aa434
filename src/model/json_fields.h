// Fields of a published config.json with their types and ranges checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "carat/result.h"
#include "formats/checkpoint.h"

namespace carat::model {

/// Typed access to one JSON object. Keeps the first error, so that a reader can ask for everything and check once.
class Fields {
 public:
  Fields(const formats::Json& json, std::string origin) : json_(json), origin_(std::move(origin)) {}

  bool has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }
  const formats::Json& at(const char* key) const { return json_.at(key); }

  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> fallback = {}) {
    if (!has(key)) return fallback ? *fallback : (missing(key), low);
    const formats::Json& value = json_.at(key);
    if (!value.is_number_integer()) return wrong(key, "a whole number"), low;
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(high)) {
      return wrong(key, base::concat("at most ", high)), low;
    }
    const auto number = value.get<std::int64_t>();
    if (number < low || number > high) return wrong(key, base::concat(low, " to ", high)), low;
    return number;
  }
  double number(const char* key, std::optional<double> fallback = {}) {
    if (!has(key)) return fallback ? *fallback : (missing(key), 0.0);
    if (!json_.at(key).is_number()) return wrong(key, "a number"), 0.0;
    return json_.at(key).get<double>();
  }
  bool boolean(const char* key, bool fallback) {
    if (!has(key)) return fallback;
    if (!json_.at(key).is_boolean()) return wrong(key, "true or false"), fallback;
    return json_.at(key).get<bool>();
  }
  std::string text(const char* key, std::string fallback) {
    if (!has(key)) return fallback;
    if (!json_.at(key).is_string()) return wrong(key, "text"), fallback;
    return json_.at(key).get<std::string>();
  }

  void note(ErrorCode code, std::string message) {
    if (!error_) error_ = Error{code, base::concat(origin_, ": ", message)};
  }
  void missing(const char* key) { note(ErrorCode::bad_file, base::concat(key, " is missing")); }
  void wrong(const char* key, std::string_view expected) {
    std::string found = json_.at(key).dump(-1, ' ', false, formats::Json::error_handler_t::replace);
    if (found.size() > 60) found = found.substr(0, 57) + "...";
    note(ErrorCode::bad_file, base::concat(key, " is ", found, "; expected ", expected));
  }
  const std::optional<Error>& error() const { return error_; }
  const std::string& origin() const { return origin_; }

 private:
  const formats::Json& json_;
  std::string origin_;
  std::optional<Error> error_;
};

}  // namespace carat::model
