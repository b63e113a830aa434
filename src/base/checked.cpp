#include "base/checked.h"

#include <cstdio>
#include <cstdlib>

namespace carat::base {

void invariant_broken(const char* why, const std::source_location& where) {
  std::fprintf(stderr, "carat: internal error at %s:%u: %s\n", where.file_name(), static_cast<unsigned>(where.line()),
               why);
  std::abort();
}

}  // namespace carat::base
