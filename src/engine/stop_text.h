// Stop strings over streamed text: holds back what may be the beginning of one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace carat::engine {

/// Feed text as it comes; what comes back is safe to show. After a stop text was found everything else is swallowed.
class StopText {
 public:
  explicit StopText(std::vector<std::string> stops);
  std::string push(std::string_view text);
  /// What was held back, once the stream has ended without a stop text.
  std::string finish();
  bool found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string pending_;
  bool found_ = false;
};

}  // namespace carat::engine
