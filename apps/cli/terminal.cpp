// What a person sees: facts about the terminals behind standard output and error, progress bars, and text made safe to
// show.
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

constexpr auto kAppearAfter = std::chrono::milliseconds(300);
constexpr auto kRedrawEvery = std::chrono::milliseconds(100);
constexpr int kMinBarCells = 10, kMaxBarCells = 30;

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
    : label_(std::move(label)), unit_(std::move(unit)), terminal_(terminal) {
  if (terminal_.interactive) drawer_ = std::jthread([this](const std::stop_token& stop) { draw(stop); });
}

std::string ProgressBar::line(const State& state, double waited, int width) const {
  const auto done = static_cast<double>(state.done);
  const auto total = static_cast<double>(state.total);
  const bool known = state.total > 0;
  const double fraction = known ? std::clamp(done / total, 0.0, 1.0) : 0;
  std::string text;
  const auto add = [&](const std::string& piece) { text += (text.empty() ? "" : "  ") + piece; };
  if (known) add(fixed(100 * fraction, 0) + " %");
  if (!unit_.empty() && (known || state.done > 0)) {
    add(known ? grouped(state.done) + "/" + grouped(state.total) + " " + unit_ : grouped(state.done) + " " + unit_);
    if (state.seconds > 0 && state.done > 0) add(rate_text(done / state.seconds) + "/s");
  }
  if (!state.detail.empty()) add(state.detail);
  if (known && state.done > 0 && state.done < state.total) {
    const double left = std::max(0.0, state.seconds * (total - done) / done - waited);
    add((left < 9.5 ? fixed(std::ceil(left), 0) + " s" : duration_text(std::round(left))) + " left");
  }
  std::string bar;
  const int room = width - 1 - static_cast<int>(display_width(label_) + display_width(text)) - 4;
  const int cells = std::min(kMaxBarCells, room);
  if (known && cells >= kMinBarCells) {
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

void ProgressBar::draw(const std::stop_token& stop) {
  bool visible = false;
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    wake_.wait_for(lock, stop, visible ? kRedrawEvery : kAppearAfter, [] { return false; });
    if (stop.stop_requested()) break;
    const std::string text = "\r" + line(state_, elapsed() - state_.seconds, terminal_.width()) + "\x1b[K";
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
    visible = true;
  }
  if (!visible) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
}

void ProgressBar::update(std::int64_t done, std::int64_t total, std::string detail) {
  const std::lock_guard lock(mutex_);
  state_ = {done, total, elapsed(), std::move(detail)};
}

void ProgressBar::finish() {
  if (!drawer_.joinable()) return;
  drawer_.request_stop();
  drawer_.join();
}

}  // namespace carat::cli
