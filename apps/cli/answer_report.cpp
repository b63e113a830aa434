// What is said about an answer once it is complete: the JSON document of `--json`, and the statistics on standard
// error.
#include "cli/answer_report.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "cli/answer_printer.h"
#include "cli/number_text.h"

namespace carat::cli {
namespace {

// A single id may be part of a character; what does not decode alone shows as U+FFFD.
std::string token_text(const Checkpoint& checkpoint, TokenId id) {
  auto text = checkpoint.detokenize({&id, 1});
  return text ? *text : std::string();
}

Json logprobs_json(const Generation& answer, const Checkpoint& checkpoint) {
  Json tokens = Json::array();
  for (const TokenLogprob& token : answer.logprobs) {
    Json top = Json::array();
    for (const auto& [id, logprob] : token.top) {
      top.push_back({{"id", id}, {"token", token_text(checkpoint, id)}, {"logprob", logprob}});
    }
    tokens.push_back({{"id", token.id}, {"token", token.text}, {"logprob", token.logprob}, {"top", std::move(top)}});
  }
  return tokens;
}

double per_second(std::int64_t count, double seconds) {
  return count > 0 && seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

std::string plural(std::int64_t count, const std::string& noun) {
  return grouped(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace

double decode_rate(const Generation& answer) { return per_second(answer.completion_tokens - 1, answer.decode_seconds); }

double prompt_rate(const Generation& answer) {
  if (answer.completion_tokens == 0) return 0;  // stopped inside the prompt: how much of it was computed is not known
  return per_second(answer.prompt_tokens - answer.reused_tokens, answer.prompt_seconds);
}

Json answer_json(const Generation& answer, const Checkpoint& checkpoint, double load_seconds, bool with_logprobs) {
  Json calls = Json::array();
  for (std::size_t i = 0; i < answer.tool_calls.size(); ++i)
    calls.push_back(tool_call_json(answer.tool_calls[i], i + 1));
  Json json;
  json["text"] = answer.text;
  json["thought"] = answer.thought;
  json["tool_calls"] = std::move(calls);
  json["ids"] = answer.ids;
  json["finish_reason"] = answer.finish_reason;
  json["usage"] = {{"prompt_tokens", answer.prompt_tokens},
                   {"reused_tokens", answer.reused_tokens},
                   {"completion_tokens", answer.completion_tokens},
                   {"total_tokens", answer.prompt_tokens + answer.completion_tokens}};
  json["timings"] = {{"load_ms", load_seconds * 1000},
                     {"encoder_load_ms", answer.encoder_load_seconds * 1000},
                     {"media_ms", answer.media_seconds * 1000},
                     {"prompt_ms", answer.prompt_seconds * 1000},
                     {"decode_ms", answer.decode_seconds * 1000},
                     {"prompt_per_second", prompt_rate(answer)},
                     {"decode_per_second", decode_rate(answer)}};
  json["logprobs"] = with_logprobs ? logprobs_json(answer, checkpoint) : Json();
  return json;
}

std::string finish_text(const Generation& answer, const GenerateOptions& options, std::int64_t context_length) {
  const std::string& reason = answer.finish_reason;
  if (reason == "stop") return options.stop.empty() ? "the model stopped" : "the model stopped or a --stop text came";
  if (reason == "tool_calls") return "the model waits for the results of its calls";
  if (reason == "length")
    return "-n " + std::to_string(options.max_tokens.value_or(answer.completion_tokens)) + " reached";
  if (reason == "context_full") return "the context of " + grouped(context_length) + " tokens is full";
  if (reason == "cancelled") return "stopped by Ctrl-C";
  return reason;
}

std::vector<std::string> answer_statistics(const Generation& answer, const GenerateOptions& options,
                                           double load_seconds, std::int64_t context_length) {
  std::string times = "loaded in " + duration_text(load_seconds);
  if (answer.encoder_load_seconds > 0) times += "; encoders in " + duration_text(answer.encoder_load_seconds);
  if (answer.media_seconds > 0) times += "; media encoded in " + duration_text(answer.media_seconds);
  times += "; prompt " + plural(answer.prompt_tokens, "token");
  if (answer.completion_tokens == 0) times += ", not finished,";
  if (answer.reused_tokens > 0) times += " (" + grouped(answer.reused_tokens) + " reused)";
  times += " in " + duration_text(answer.prompt_seconds);
  if (prompt_rate(answer) > 0) times += " (" + rate_text(prompt_rate(answer)) + "/s)";
  times += "; answer " + plural(answer.completion_tokens, "token");
  if (answer.completion_tokens > 1) {
    times += " in " + duration_text(answer.decode_seconds) + " (" + rate_text(decode_rate(answer)) + "/s)";
  }
  return {times, "ended: " + finish_text(answer, options, context_length) + "; memory " +
                     bytes_text(peak_memory_bytes()) + "; seed " + std::to_string(answer.seed)};
}

std::int64_t peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("VmHWM:")) continue;
    std::istringstream fields(line.substr(6));
    std::int64_t kib = 0;
    fields >> kib;
    return kib * 1024;
  }
  return 0;
}

}  // namespace carat::cli
