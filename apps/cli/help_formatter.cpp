// The help pages: usage, options in groups with their descriptions wrapped to the terminal, examples at the end.
// Defaults stand in the descriptions, where they can be explained ("default: the model's maximum").
#include "cli/help_formatter.h"

#include <algorithm>
#include <sstream>

#include "cli/table.h"
#include "cli/terminal.h"

namespace carat::cli {
namespace {

constexpr std::size_t kLeftColumn = 30;

}  // namespace

HelpFormatter::HelpFormatter()
    : width_(static_cast<std::size_t>(std::clamp(Terminal::standard_output().width(), 60, 100))) {
  label("Positionals", "Arguments");
}

std::string HelpFormatter::two_columns(const std::string& left, const std::string& right) const {
  std::string out = "  " + left;
  std::size_t column = 2 + display_width(left);
  if (column + 2 > kLeftColumn) {
    out += '\n';
    column = 0;
  }
  out.append(kLeftColumn - column, ' ');
  column = kLeftColumn;
  std::istringstream words(right);
  for (std::string word; words >> word;) {
    const std::size_t length = display_width(word);
    if (column > kLeftColumn && column + 1 + length > width_) {
      out += '\n';
      out.append(kLeftColumn, ' ');
      column = kLeftColumn;
    }
    if (column > kLeftColumn) {
      out += ' ';
      ++column;
    }
    out += word;
    column += length;
  }
  return out + '\n';
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string left;
  if (is_positional) {
    left = option->get_name(true, false);
  } else {
    left = CLI::detail::join(CLI::detail::split(option->get_name(false, true), ','), ", ");
    if (option->get_type_size() != 0) left += " " + option->get_type_name();
  }
  return two_columns(left, option->get_description());
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  std::string summary = command->get_description();
  summary.erase(std::min(summary.find('\n'), summary.size()));
  return two_columns(command->get_name(), summary);
}

std::string HelpFormatter::make_usage(const CLI::App* app, std::string name) const {
  if (app->get_parent() == nullptr) return "\nUsage: carat COMMAND [OPTIONS]\n       carat COMMAND --help\n";
  std::string out = "\nUsage: " + name;
  for (const CLI::Option* option : app->get_options([](const CLI::Option* each) { return each->get_positional(); })) {
    out += " " + make_option_usage(option);
  }
  return out + " [OPTIONS]\n";
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const {
  // The base class separates some blocks by two empty lines, some by one.
  return CLI::detail::find_and_replace(CLI::Formatter::make_help(app, std::move(name), mode), "\n\n\n", "\n\n");
}

std::string HelpFormatter::make_group(std::string group, bool is_positional,
                                      std::vector<const CLI::Option*> options) const {
  std::string out = "\n" + group + ":\n";
  for (const CLI::Option* option : options) out += make_option(option, is_positional);
  return out;
}

}  // namespace carat::cli
