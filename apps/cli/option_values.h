// Values of options, read strictly: a number is decimal, finite and inside its range, or the command line is refused
// with exit code 2. (CLI11's own conversion would take 010 as octal, "nan" as a number and clip what overflows.)
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace carat::cli {

/// Wrong usage found after parsing; ends the program with exit code 2.
[[noreturn]] void usage_error(std::string message);

/// A whole decimal integer in [min, max]. Throws CLI::ValidationError naming `option`.
std::int64_t parse_integer(std::string_view text, std::string_view option, std::int64_t min, std::int64_t max);
/// As above for seeds: 0 to 2^64-1.
std::uint64_t parse_unsigned(std::string_view text, std::string_view option);
/// A finite decimal number in [min, max] that fits a float. Throws CLI::ValidationError naming `option`.
double parse_number(std::string_view text, std::string_view option, double min, double max);
/// Ids separated by commas or white space. Throws CLI::ValidationError naming `option`.
std::vector<std::int32_t> parse_ids(std::string_view text, std::string_view option);

constexpr double kAnyNumber = std::numeric_limits<float>::max();

/// Declares an option of one integer, kept in an integer or an optional one. Its help shows `N`.
template <typename Target>
CLI::Option* add_integer(CLI::App& app, const std::string& name, Target& target, std::int64_t min, std::int64_t max,
                         const std::string& help) {
  // Of "-t,--threads" the long name is the one messages use.
  const auto assign = [&target, called = name.substr(name.rfind(',') + 1), min, max](const std::string& text) {
    const std::int64_t value = parse_integer(text, called, min, max);
    if constexpr (std::is_integral_v<Target>) {
      target = static_cast<Target>(value);
    } else {
      target = static_cast<typename Target::value_type>(value);
    }
  };
  return app.add_option_function<std::string>(name, assign, help)->type_name("N");
}

/// Declares an option of one number, kept in a floating-point value or an optional one. Its help shows `X`.
template <typename Target>
CLI::Option* add_number(CLI::App& app, const std::string& name, Target& target, double min, double max,
                        const std::string& help) {
  const auto assign = [&target, name, min, max](const std::string& text) {
    const double value = parse_number(text, name, min, max);
    if constexpr (std::is_floating_point_v<Target>) {
      target = static_cast<Target>(value);
    } else {
      target = static_cast<typename Target::value_type>(value);
    }
  };
  return app.add_option_function<std::string>(name, assign, help)->type_name("X");
}

/// Declares an option with a fixed set of values.
CLI::Option* add_choice(CLI::App& app, const std::string& name, std::string& target, std::vector<std::string> choices,
                        const std::string& help);

}  // namespace carat::cli
