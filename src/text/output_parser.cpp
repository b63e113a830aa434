#include "text/output_parser.h"

#include <array>
#include <optional>
#include <utility>

#include "text/prompt_writer.h"
#include "text/tool_call_parser.h"

namespace carat::text {

using formats::Json;

/// Text of one channel with its trailing white space held back, so that what stands before a marker can be dropped.
class HeldText {
 public:
  /// What of `more` may be shown now.
  std::string push(std::string_view more) {
    held_ += more;
    const std::size_t end = strip_end(held_).size();
    std::string out = held_.substr(0, end);
    held_.erase(0, end);
    return out;
  }
  std::string take() { return std::exchange(held_, {}); }
  void drop() { held_.clear(); }

 private:
  static std::string_view strip_end(std::string_view text) {
    while (!text.empty() && (text.back() == ' ' || text.back() == '\n' || text.back() == '\t' || text.back() == '\r'))
      text.remove_suffix(1);
    return text;
  }
  std::string held_;
};

struct OutputParser::Impl {
  enum class State { content, channel_name, thought, call };
  enum class Marker { none, channel_open, channel_close, call_open, call_close, response_open, quote };

  Impl(const Tokenizer& t, OutputParserOptions o) : tokenizer(&t), options(std::move(o)), decoder(t, false) {
    constexpr std::array<std::pair<std::string_view, Marker>, 6> literals = {
        {{"<|channel>", Marker::channel_open},
         {"<channel|>", Marker::channel_close},
         {"<|tool_call>", Marker::call_open},
         {"<tool_call|>", Marker::call_close},
         {"<|tool_response>", Marker::response_open},
         {"<|\"|>", Marker::quote}}};
    for (const auto& [literal, marker] : literals) {
      if (const auto id = t.find_special(literal)) markers.emplace_back(*id, marker);
    }
    state = options.starts_in_thought ? State::thought : State::content;
  }

  Marker marker_of(TokenId id) const {
    for (const auto& [known, marker] : markers) {
      if (known == id) return marker;
    }
    return Marker::none;
  }

  void push(TokenId id) {
    const Marker marker = marker_of(id);
    if (marker == Marker::none || (marker == Marker::quote && state != State::call)) {
      text(decoder.push(id));
      return;
    }
    text(decoder.finish());  // a marker completes whatever bytes were pending
    switch (marker) {
      case Marker::channel_open:
        if (state == State::call) {
          call_text += "<|channel>";
        } else {
          leave_text();
          name.clear();
          state = State::channel_name;
        }
        break;
      case Marker::channel_close:
        if (state == State::call) {
          call_text += "<channel|>";
        } else if (state != State::content) {
          leave_text();
          state = State::content;
          after_marker = true;
        }  // a stray closer just disappears
        break;
      case Marker::call_open:
        if (state == State::call)
          finish_call();
        else
          leave_text();
        after_call = state == State::thought || state == State::channel_name ? State::thought : State::content;
        state = State::call;
        call_text.clear();
        break;
      case Marker::call_close:
      case Marker::response_open:
        if (state == State::call) finish_call();  // elsewhere: a closer too many, or the hand-over to the tools
        break;
      case Marker::quote:
        call_text += kQuoteMark;
        break;
      case Marker::none:
        break;
    }
  }

  void text(std::string piece) {
    if (piece.empty()) return;
    switch (state) {
      case State::content:
        if (after_marker) {  // white space between a closed thought and the answer is neither's
          const std::size_t begin = piece.find_first_not_of(" \n\t\r");
          if (begin == std::string::npos) return;
          piece.erase(0, begin);
          after_marker = false;
        }
        emit(OutputEvent::Kind::content, held.push(piece));
        break;
      case State::channel_name: {
        // The first line names the channel if it is one word; otherwise it belongs to the thought.
        name += piece;
        const std::size_t end = name.find('\n');
        const std::string_view word = std::string_view(name).substr(0, end);
        const bool is_word =
            word.size() <= 32 &&
            word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
                std::string_view::npos;
        if (is_word && end == std::string::npos) return;
        std::string rest = is_word ? name.substr(end + 1) : std::exchange(name, {});
        name.clear();
        state = State::thought;
        emit(OutputEvent::Kind::thought, held.push(rest));
        break;
      }
      case State::thought:
        emit(OutputEvent::Kind::thought, held.push(piece));
        break;
      case State::call:
        call_text += piece;
        break;
    }
  }

  // A marker ends the current stretch of text: the white space before it goes.
  void leave_text() {
    name.clear();
    held.drop();
  }

  void finish_call() {
    state = after_call;
    if (state == State::content) after_marker = true;
    const auto call = parse_tool_call(call_text, options.tools);
    std::string raw = printed(call_text);
    call_text.clear();
    if (call) {
      OutputEvent event;
      event.kind = OutputEvent::Kind::tool_call;
      event.tool_call = {call->name, call->arguments, std::move(raw)};
      events.push_back(std::move(event));
      return;
    }
    OutputEvent event;
    event.kind = OutputEvent::Kind::error;
    event.text = call.error().message;
    events.push_back(std::move(event));
    emit(OutputEvent::Kind::content, "<|tool_call>" + raw + "<tool_call|>");
    after_marker = false;
  }

  static std::string printed(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == kQuoteMark)
        out += "<|\"|>";
      else
        out += c;
    }
    return out;
  }

  void finish() {
    text(decoder.finish());
    if (state == State::call) {
      finish_call();
      return;
    }
    if (state == State::content) emit(OutputEvent::Kind::content, held.take());
    leave_text();
  }

  void emit(OutputEvent::Kind kind, std::string piece) {
    if (piece.empty()) return;
    if (!events.empty() && events.back().kind == kind && kind != OutputEvent::Kind::error) {
      events.back().text += piece;
      return;
    }
    OutputEvent event;
    event.kind = kind;
    event.text = std::move(piece);
    events.push_back(std::move(event));
  }

  const Tokenizer* tokenizer;
  OutputParserOptions options;
  StreamDecoder decoder;
  std::vector<std::pair<TokenId, Marker>> markers;
  State state = State::content, after_call = State::content;
  bool after_marker = false;  ///< leading white space of the content is still to be dropped
  HeldText held;
  std::string name;       ///< what may be the channel's name
  std::string call_text;  ///< the open call, delimiters as kQuoteMark
  std::vector<OutputEvent> events;
};

OutputParser::OutputParser(const Tokenizer& tokenizer, OutputParserOptions options)
    : impl_(std::make_unique<Impl>(tokenizer, std::move(options))) {}
OutputParser::~OutputParser() = default;
OutputParser::OutputParser(OutputParser&&) noexcept = default;

std::vector<OutputEvent> OutputParser::push(std::span<const TokenId> ids) {
  for (const TokenId id : ids) impl_->push(id);
  return std::exchange(impl_->events, {});
}

std::vector<OutputEvent> OutputParser::finish() {
  impl_->finish();
  return std::exchange(impl_->events, {});
}

}  // namespace carat::text
