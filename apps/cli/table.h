// A plain-text table: columns as wide as their widest cell, numbers to the right, text to the left.
#pragma once

#include <string>
#include <vector>

namespace carat::cli {

class Table {
 public:
  struct Column {
    std::string title;
    bool right = true;  ///< aligned to the right, as numbers are
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// One cell per column.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// The title line and the rows, each indented by two spaces and ended by a line break.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// Columns a UTF-8 text takes, counting one per code point (cells hold no wide characters).
std::size_t display_width(const std::string& text);

}  // namespace carat::cli
