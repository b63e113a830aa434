#include "carat/version.h"

namespace carat {

const char* version() { return CARAT_VERSION; }

}  // namespace carat
