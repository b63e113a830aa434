// One getenv per variable that Carat knows.
#include "base/environment.h"

#include <cstdlib>

namespace carat::base {

namespace {

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

}  // namespace

Environment read_environment() {
  Environment out;
  out.isa = variable("CARAT_ISA");
  out.threads = variable("CARAT_THREADS");
  out.no_color = variable("NO_COLOR").has_value();
  return out;
}

}  // namespace carat::base
