// The version of the library.
#pragma once

namespace carat {

/// Semantic version, for example "0.1.0".
const char* version();

}  // namespace carat
