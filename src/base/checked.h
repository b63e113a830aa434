// Overflow-checked arithmetic for every size that comes from a file or a request, and expects() for our own mistakes.
#pragma once

#include <concepts>
#include <optional>
#include <source_location>

namespace carat::base {

/// a * b, or nothing on overflow.
template <std::integral T>
[[nodiscard]] constexpr std::optional<T> checked_mul(T a, T b) {
  T out{};
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

/// a + b, or nothing on overflow.
template <std::integral T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, T b) {
  T out{};
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

/// Reports a broken internal invariant with its place and ends the process. Never reachable from input.
[[noreturn]] void invariant_broken(const char* why, const std::source_location& where);

/// States an invariant of our own code. On in debug and sanitizer builds, free in release builds.
inline void expects([[maybe_unused]] bool condition, [[maybe_unused]] const char* why,
                    [[maybe_unused]] const std::source_location& where = std::source_location::current()) {
#ifndef NDEBUG
  if (!condition) invariant_broken(why, where);
#endif
}

}  // namespace carat::base
