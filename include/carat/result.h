// The error model of Carat: every fallible function returns Result<T>; bad input never throws and never aborts.
//
//   carat::Result<int> half(int number) {
//     if (number % 2 != 0) {
//       return carat::fail(carat::ErrorCode::invalid_argument, "half: found an odd number; expected an even one");
//     }
//     return number / 2;
//   }
//   carat::Result<std::string> half_as_text(int number) {
//     auto result = half(number);
//     if (!result) return carat::forward(result);
//     return std::to_string(*result);
//   }
//
// A Result is a std::expected: true when it holds a value, *result or result->member then, result.error() otherwise.
// What is here keeps no state and may be used from any thread. Memory that runs out outside a planned allocation throws
// std::bad_alloc, as in all of the standard library.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace carat {

/// What kind of failure an Error reports. The message carries the detail; the code decides what a caller does next.
enum class ErrorCode {
  invalid_argument,  ///< an option, request or parameter is out of its range
  bad_file,          ///< a file is missing, damaged, hostile or inconsistent
  unsupported,       ///< well-formed, but of a kind Carat does not handle
  out_of_memory,     ///< the memory plan or an allocation does not fit
  context_full,      ///< a prompt or a continuation does not fit the context
  not_finite,        ///< a NaN or infinity appeared in the computation
  cancelled,         ///< stopped on request
  io,                ///< the operating system refused a read or write
};

/// A failure: its kind, and a text that says where, what was found, what was expected and what to do next.
struct Error {
  ErrorCode code = ErrorCode::invalid_argument;
  std::string message;
};

/// A value of type T (or nothing, for void), or the Error that says why there is none.
template <typename T>
using Result = std::expected<T, Error>;

/// The failing Result of any type: `return fail(ErrorCode::bad_file, "...");`
inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

/// Passes the error of one Result on as another: `if (!a) return forward(a);` Requires that `failed` holds an error,
/// which is moved out of it.
template <typename T>
std::unexpected<Error> forward(Result<T>& failed) {
  return std::unexpected(std::move(failed.error()));
}

}  // namespace carat
