#include "engine/stop_text.h"

#include <algorithm>
#include <utility>

namespace carat::engine {

StopText::StopText(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopText::push(std::string_view text) {
  if (found_) return {};
  pending_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, pending_.find(stop));
  if (first != std::string::npos) {
    found_ = true;
    std::string out = pending_.substr(0, first);
    pending_.clear();
    return out;
  }
  std::size_t hold = 0;  // the longest suffix that begins a stop text
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, pending_.size()); n > hold; --n) {
      if (pending_.ends_with(std::string_view(stop).substr(0, n))) {
        hold = n;
        break;
      }
    }
  }
  std::string out = pending_.substr(0, pending_.size() - hold);
  pending_.erase(0, pending_.size() - hold);
  return out;
}

std::string StopText::finish() { return std::exchange(pending_, {}); }

}  // namespace carat::engine
