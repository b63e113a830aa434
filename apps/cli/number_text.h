// Numbers as people read them: grouped digits, bytes in binary units, durations.
#pragma once

#include <cstdint>
#include <string>

namespace carat::cli {

/// 262144 -> "262,144"
std::string grouped(std::int64_t value);
/// 3.14159, 2 -> "3.14"; non-finite values print as "nan", "inf", "-inf".
std::string fixed(double value, int digits);
/// 4.2e-05 style with `digits` after the point.
std::string scientific(double value, int digits);
/// 5368709120 -> "5.0 GiB"
std::string bytes_text(std::int64_t bytes);
/// 0.42 -> "0.42 s", 75 -> "1 min 15 s", 4000 -> "1 h 7 min"
std::string duration_text(double seconds);
/// Tokens per second: one digit after the point below 100.
std::string rate_text(double per_second);

}  // namespace carat::cli
