// What a person sees: facts about the terminals behind standard output and error, progress bars, and text made safe to
// show. The bar is drawn from the callbacks of the operation it shows; no thread of its own.
#include "cli/terminal.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "cli/number_text.h"
#include "cli/table.h"

namespace carat::cli {
namespace {

constexpr double kAppearAfterSeconds = 0.3;
constexpr double kRedrawEverySeconds = 0.1;
constexpr int kBarCells = 30;

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

Terminal terminal_of(int descriptor) {
  Terminal terminal;
  terminal.descriptor = descriptor;
  terminal.present = ::isatty(descriptor) == 1;
  terminal.interactive = terminal.present && environment("TERM") != "dumb";
  terminal.color = terminal.interactive && environment("NO_COLOR").empty();
  terminal.utf8 = std::string_view(::nl_langinfo(CODESET)) == "UTF-8";
  return terminal;
}

}  // namespace

Terminal Terminal::standard_output() { return terminal_of(STDOUT_FILENO); }
Terminal Terminal::standard_error() { return terminal_of(STDERR_FILENO); }

int Terminal::width() const {
  winsize size{};
  if (descriptor >= 0 && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

std::string displayable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (byte == '\r') continue;  // line ends of Windows; alone it would overwrite the line
    if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) {
      out += '^';
      out += static_cast<char>(byte ^ 0x40u);  // the caret notation: ESC is ^[
    } else if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {
      out += "\xef\xbf\xbd";  // U+0080..U+009F: control characters of eight bits
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

ProgressBar::ProgressBar(std::string label, std::string unit, Terminal terminal)
    : label_(std::move(label)), unit_(std::move(unit)), terminal_(terminal) {}

std::string ProgressBar::line(std::int64_t done, std::int64_t total, double seconds, std::string_view detail,
                              int width) const {
  const bool known = total > 0;
  const double fraction = known ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 0;
  std::string text;
  if (known) text += fixed(100 * fraction, 0) + " %";
  if (!unit_.empty()) {
    if (!text.empty()) text += "  ";
    text += known ? grouped(done) + "/" + grouped(total) + " " + unit_ : grouped(done) + " " + unit_;
    if (seconds > 0 && done > 0) text += "  " + rate_text(static_cast<double>(done) / seconds) + "/s";
  }
  if (!detail.empty()) text += "  " + std::string(detail);
  if (known && done > 0 && done < total) {
    const double left = seconds * static_cast<double>(total - done) / static_cast<double>(done);
    text += "  " + (left < 9.5 ? fixed(left, 0) + " s" : duration_text(std::round(left))) + " left";
  }
  std::string bar;
  const int room = width - 1 - static_cast<int>(display_width(label_) + display_width(text)) - 6;
  const int cells = std::min(kBarCells, room);
  if (known && cells >= 5) {
    const int filled = static_cast<int>(fraction * cells);
    bar = " [";
    for (int i = 0; i < cells; ++i) bar += i < filled ? (terminal_.utf8 ? "█" : "#") : (terminal_.utf8 ? "░" : "-");
    bar += "]";
  }
  std::string whole = label_ + bar + " " + text;
  // On a narrow terminal a wrapped line could not be erased: cut it, at a code point.
  while (display_width(whole) >= static_cast<std::size_t>(std::max(width, 2))) {
    while ((static_cast<unsigned char>(whole.back()) & 0xc0u) == 0x80u) whole.pop_back();
    whole.pop_back();
  }
  return whole;
}

void ProgressBar::update(std::int64_t done, std::int64_t total, std::string_view detail) {
  if (!terminal_.interactive) return;
  const auto now = Clock::now();
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double since_drawn = std::chrono::duration<double>(now - drawn_at_).count();
  if (!visible_ ? elapsed < kAppearAfterSeconds : since_drawn < kRedrawEverySeconds) return;
  drawn_at_ = now;
  visible_ = true;
  const std::string text = "\r" + line(done, total, elapsed, detail, terminal_.width()) + "\x1b[K";
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void ProgressBar::finish() {
  if (!visible_) return;
  visible_ = false;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
}

}  // namespace carat::cli
