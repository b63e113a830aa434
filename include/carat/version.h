// The version of the library.
//
//   std::cout << "Carat " << carat::version() << '\n';
#pragma once

namespace carat {

/// The semantic version of the library the program runs with, for example "0.1.0". Never fails; any thread.
const char* version();

}  // namespace carat
