// How a long operation tells its caller how far it is, and how the caller stops it.
//
//   auto model = carat::Model::load(*checkpoint, {.threads = 2}, [](std::int64_t done, std::int64_t total) {
//     std::cout << "loaded " << done << " of " << total << '\n';
//     return true;  // false cancels
//   });
#pragma once

#include <cstdint>
#include <functional>

namespace carat {

/// Told how far a long operation is, in steps of its own; returning false cancels it (the operation then fails with
/// `cancelled`). Called on the thread that called the operation; must not throw, and must not call the model.
using Progress = std::function<bool(std::int64_t done, std::int64_t total)>;

}  // namespace carat
