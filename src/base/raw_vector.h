// A vector for values that are written before they are read.
#pragma once

#include <memory>
#include <new>
#include <type_traits>
#include <vector>

namespace carat::base {

/// Leaves new elements as they are. A large buffer is then not written twice, and the threads that fill it are the ones
/// that ask the system for its pages.
template <typename T>
struct LeaveAsIs : std::allocator<T> {
  static_assert(std::is_trivially_default_constructible_v<T>);
  template <typename U>
  struct rebind {
    using other = LeaveAsIs<U>;
  };
  template <typename U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
};

/// A std::vector whose resize() leaves new elements as they are: write before you read.
template <typename T>
using RawVector = std::vector<T, LeaveAsIs<T>>;

}  // namespace carat::base
