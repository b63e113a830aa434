// The options of commands that show a model pictures, sound and video: which files, in which order, how they are taken.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "carat/checkpoint.h"
#include "carat/media.h"
#include "cli/input.h"

namespace carat::cli {

struct MediaArguments {
  std::vector<Json> parts;  ///< content parts of --image, --audio and --video, in the order given
  MediaOptions options;
  std::string projector;
};

/// Declares --mmproj.
CLI::Option* add_projector(CLI::App& app, std::string& projector);
/// Declares how media are taken, the limits and --mmproj.
void add_media_options(CLI::App& app, MediaArguments& arguments);
/// Declares --image, --audio and --video.
void add_media_files(CLI::App& app, MediaArguments& arguments, const std::string& group);

/// A content part that names a file: kind "image", "audio" or "video".
Json media_part(const std::string& kind, const std::string& path);

/// One line for each image, sound and video of a prompt: what it became.
std::vector<std::string> media_report(const std::vector<MediumSummary>& media);

/// A path as a person types or drags it: quotes around it and backslashes before blanks taken off.
std::string unquoted_path(const std::string& text);

/// A file dropped into a terminal, which types its path: the whole line is the path of a picture, sound or video.
struct DroppedFile {
  std::string kind, path;
};
std::optional<DroppedFile> dropped_file(const std::string& line);

}  // namespace carat::cli
