// Values of options, read strictly: a number is decimal, finite and inside its range, or the command line is refused.
// Every refusal names the option, the value found and the range expected.
#include "cli/option_values.h"

#include <charconv>
#include <cmath>

#include "cli/number_text.h"

namespace carat::cli {
namespace {

// "-n,--max-tokens" is spoken of as "--max-tokens".
std::string spoken_name(std::string_view option) {
  const auto comma = option.rfind(',');
  return std::string(comma == std::string_view::npos ? option : option.substr(comma + 1));
}

[[noreturn]] void refuse(std::string_view option, std::string_view text, const std::string& expected) {
  throw CLI::ValidationError(spoken_name(option), "\"" + std::string(text) + "\" is not " + expected);
}

std::string plain(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? std::to_string(static_cast<std::int64_t>(value))
                                                              : fixed(value, 3);
}

}  // namespace

void usage_error(std::string message) {
  throw CLI::ValidationError(std::move(message), CLI::ExitCodes::ValidationError);
}

std::int64_t parse_integer(std::string_view text, std::string_view option, std::int64_t min, std::int64_t max) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < min || value > max) {
    refuse(option, text,
           max == std::numeric_limits<std::int64_t>::max()
               ? "an integer of at least " + std::to_string(min)
               : "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return value;
}

std::uint64_t parse_unsigned(std::string_view text, std::string_view option) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    refuse(option, text, "an integer from 0 to " + std::to_string(std::numeric_limits<std::uint64_t>::max()));
  }
  return value;
}

double parse_number(std::string_view text, std::string_view option, double min, double max) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < min || value > max) {
    std::string expected = "a finite number";
    if (min > -kAnyNumber && max < kAnyNumber) {
      expected = "a number from " + plain(min) + " to " + plain(max);
    } else if (min > -kAnyNumber) {
      expected = "a finite number of at least " + plain(min);
    }
    refuse(option, text, expected);
  }
  return value;
}

std::vector<std::int32_t> parse_ids(std::string_view text, std::string_view option) {
  const auto separator = [](char c) { return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  std::vector<std::int32_t> ids;
  for (std::size_t at = 0; at < text.size();) {
    if (separator(text[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && !separator(text[end])) ++end;
    // A damaged file may hold one endless word; an error shows its beginning.
    const std::string_view word = text.substr(at, end - at);
    if (word.size() > 40) refuse(option, std::string(word.substr(0, 40)) + "…", "a token id");
    ids.push_back(static_cast<std::int32_t>(parse_integer(word, option, 0, std::numeric_limits<std::int32_t>::max())));
    at = end;
  }
  return ids;
}

CLI::Option* add_choice(CLI::App& app, const std::string& name, std::string& target, std::vector<std::string> choices,
                        const std::string& help) {
  std::string shown;
  for (const std::string& choice : choices) shown += (shown.empty() ? "" : "|") + choice;
  const auto assign = [&target, name, choices, shown](const std::string& text) {
    for (const std::string& choice : choices) {
      if (text == choice) {
        target = text;
        return;
      }
    }
    refuse(name, text, "one of " + shown);
  };
  return app.add_option_function<std::string>(name, assign, help)->type_name(shown);
}

}  // namespace carat::cli
