// A table for tests alone: see wide_table.cpp.
#pragma once

#include "kernels/abi.h"

namespace carat::kernels {

KernelTable wide_table();

}  // namespace carat::kernels
