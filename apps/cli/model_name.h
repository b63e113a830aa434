// Models that come with Carat, by name.
#pragma once

#include <string>

namespace carat::cli {

/// The path a MODEL argument means. A file or folder of that name wins; else "demo" (pictures, sound, tools) and
/// "demo-moe" (experts) are looked for where the program is installed (../share/carat/models beside its folder) and in
/// the source tree it was built from. Anything else, and a name that is found nowhere, comes back as it is: opening it
/// then says what is missing.
std::string model_path(const std::string& argument);

}  // namespace carat::cli
