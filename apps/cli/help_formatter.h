// The help pages: usage, options in groups with their descriptions wrapped to the terminal, examples at the end.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace carat::cli {

/// Lays options out in two columns and wraps descriptions at the width of the terminal (at most 100 columns).
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* command) const override;
  std::string make_usage(const CLI::App* app, std::string name) const override;
  std::string make_group(std::string group, bool is_positional, std::vector<const CLI::Option*> options) const override;

 private:
  std::string two_columns(const std::string& left, const std::string& right) const;
  std::size_t width_;
};

}  // namespace carat::cli
