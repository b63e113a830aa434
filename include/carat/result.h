// The error model of Carat: every fallible function returns Result<T>; bad input never throws and never aborts.
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

template <typename T>
using Result = std::expected<T, Error>;

/// Shorthand for `return fail(ErrorCode::bad_file, "...")` in a function returning any Result<T>.
inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

/// Passes the error of one Result on as another: `if (!a) return forward(a);`
template <typename T>
std::unexpected<Error> forward(Result<T>& failed) {
  return std::unexpected(std::move(failed.error()));
}

}  // namespace carat
