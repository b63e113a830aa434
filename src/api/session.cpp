// carat::Session: prompt in, events out.
#include "carat/session.h"

#include <algorithm>
#include <chrono>

#include "api/state.h"
#include "base/concat.h"
#include "engine/stop_text.h"
#include "text/output_parser.h"

namespace carat {

using base::concat;

struct Session::State {
  Model model;
  engine::Sequence sequence;
  std::int64_t context_length = 0;
  SessionOptions options;
};

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Result<Session> Session::create(const Model& model, const SessionOptions& options) {
  const auto& checkpoint = model.checkpoint();
  if (auto fits = checkpoint.fits(options); !fits) return forward(fits);
  const model::Config& config = model.state()->transformer->config();
  auto context_length = resolve_context_length(config, options);
  if (!context_length) return forward(context_length);
  auto dtype = resolve_cache_type(checkpoint.state()->file, config, options.cache_type);
  if (!dtype) return forward(dtype);
  auto sequence = engine::Sequence::create(config, *dtype, *context_length,
                                           std::min(*context_length, options.prompt_chunk), options.snapshot_bytes);
  if (!sequence) return forward(sequence);
  return Session(std::make_unique<State>(State{model, std::move(*sequence), *context_length, options}));
}

std::int64_t Session::context_length() const { return state_->context_length; }
std::int64_t Session::cached_tokens() const { return state_->sequence.cache().length(); }
std::int64_t Session::cache_bytes() const {
  const model::KvCache& cache = state_->sequence.cache();
  return model::kv_bytes(state_->model.state()->transformer->config(), cache.plan(), cache.dtype(), cache.length());
}
void Session::reset() { state_->sequence.reset(); }

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Turns ids into events and collects the answer; the one path for streams and whole texts.
class Output {
 public:
  Output(const text::Tokenizer* tokenizer, const GenerateOptions& options, const GenerationCallback& callback,
         formats::Json tools, Generation& result)
      : callback_(callback), result_(result), stop_(options.stop) {
    if (tokenizer == nullptr) return;
    if (options.raw) {
      decoder_.emplace(*tokenizer, false);
    } else {
      parser_.emplace(*tokenizer, text::OutputParserOptions{options.starts_in_thought, std::move(tools)});
    }
  }

  // Returns false when the caller wants to stop.
  bool push(TokenId id) {
    if (decoder_) return content(decoder_->push(id));
    return !parser_ || events(parser_->push({&id, 1}));
  }
  bool finish() {
    bool going = true;
    if (decoder_) going = content(decoder_->finish());
    if (parser_) going = events(parser_->finish());
    const std::string rest = stop_.finish();
    return emit(GenerationEvent::Kind::content, rest, result_.text) && going;
  }
  bool stop_text_found() const { return stop_.found(); }

 private:
  bool events(std::vector<text::OutputEvent> list) {
    bool going = true;
    for (text::OutputEvent& event : list) {
      switch (event.kind) {
        case text::OutputEvent::Kind::thought:
          going = emit(GenerationEvent::Kind::thought, event.text, result_.thought) && going;
          break;
        case text::OutputEvent::Kind::content:
          going = content(event.text) && going;
          break;
        case text::OutputEvent::Kind::tool_call: {
          GenerationEvent out;
          out.kind = GenerationEvent::Kind::tool_call;
          out.tool_call = {event.tool_call.name,
                           event.tool_call.arguments.dump(-1, ' ', false, formats::Json::error_handler_t::replace)};
          result_.tool_calls.push_back(out.tool_call);
          going = call(out) && going;
          break;
        }
        case text::OutputEvent::Kind::error: {
          GenerationEvent out;
          out.kind = GenerationEvent::Kind::error;
          out.text = event.text;
          going = call(out) && going;
          break;
        }
      }
    }
    return going;
  }
  bool content(std::string_view text) { return emit(GenerationEvent::Kind::content, stop_.push(text), result_.text); }
  bool emit(GenerationEvent::Kind kind, const std::string& text, std::string& collected) {
    if (text.empty()) return true;
    collected += text;
    GenerationEvent event;
    event.kind = kind;
    event.text = text;
    return call(event);
  }
  bool call(const GenerationEvent& event) { return !callback_ || callback_(event); }

  const GenerationCallback& callback_;
  Generation& result_;
  engine::StopText stop_;
  std::optional<text::StreamDecoder> decoder_;
  std::optional<text::OutputParser> parser_;
};

}  // namespace

Result<Generation> Session::generate(std::span<const TokenId> prompt, const GenerateOptions& options,
                                     const GenerationCallback& callback) {
  RenderedPrompt rendered;
  rendered.ids.assign(prompt.begin(), prompt.end());
  return generate(rendered, options, callback);
}

Result<Generation> Session::generate(const RenderedPrompt& rendered, const GenerateOptions& options,
                                     const GenerationCallback& callback) {
  const std::span<const TokenId> prompt = rendered.ids;
  const auto& shared = *state_->model.state();
  const model::Config& config = shared.transformer->config();
  const auto& tokenizer = shared.checkpoint.state()->tokenizer();
  if (auto good = check_prompt(prompt, config.vocab_size, state_->context_length, config.max_position_embeddings);
      !good) {
    return forward(good);
  }
  auto settings =
      engine::resolve_sampling(options.sampling, shared.defaults.sampling, static_cast<TokenId>(config.vocab_size));
  if (!settings) return forward(settings);
  if (options.max_tokens && *options.max_tokens < 0) {
    return fail(ErrorCode::invalid_argument, concat("max tokens: found ", *options.max_tokens, "; expected 0 or more"));
  }
  if (options.logprobs < 0 || options.logprobs > 64) {
    return fail(ErrorCode::invalid_argument, concat("logprobs: found ", options.logprobs, "; expected 0 to 64"));
  }
  formats::Json tools;
  if (!options.tools_json.empty()) {
    auto parsed = formats::parse_json(options.tools_json, "tools");
    if (!parsed) return forward(parsed);
    tools = std::move(*parsed);
  }
  std::vector<TokenId> stops = options.stop_tokens;
  if (!options.ignore_stop_tokens) {
    stops.insert(stops.end(), shared.defaults.stop_tokens.begin(), shared.defaults.stop_tokens.end());
  }

  Generation result;
  result.seed = settings->seed;
  result.prompt_tokens = static_cast<std::int64_t>(prompt.size());
  engine::Sampler sampler(std::move(*settings));
  Output output(tokenizer ? &*tokenizer : nullptr, options, callback, std::move(tools), result);
  engine::Sequence& sequence = state_->sequence;
  std::vector<TokenId> all(prompt.begin(), prompt.end());
  bool cancelled = false;

  const auto pick = [&](std::span<const float> logits) {
    const TokenId id = sampler.sample(logits, all, static_cast<std::int64_t>(result.ids.size()));
    if (options.report_logprobs) {
      TokenLogprob entry;
      entry.id = id;
      if (tokenizer) entry.text = tokenizer->bytes(id);
      entry.logprob = static_cast<float>(engine::log_probability(logits, id));
      entry.top = engine::top_log_probabilities(logits, options.logprobs);
      result.logprobs.push_back(std::move(entry));
    }
    all.push_back(id);
    result.ids.push_back(id);
    return id;
  };

  auto start = Clock::now();
  // What stands for media: rows that live until the prompt is read.
  std::vector<std::shared_ptr<const model::SoftTokens>> features;
  std::vector<engine::SoftRun> soft;
  if (rendered.soft_tokens != nullptr) {
    const auto progress = [&](std::int64_t done, std::int64_t total) {
      if (options.cancel.stop_requested()) return false;
      GenerationEvent event;
      event.kind = GenerationEvent::Kind::media;
      event.done = done;
      event.total = total;
      return !callback || callback(event);
    };
    EncodedMedia encoded;
    auto ended = shared.encode(*rendered.soft_tokens, progress, encoded);
    if (!ended && ended.error().code != ErrorCode::cancelled) return forward(ended);
    cancelled = !ended;
    if (ended) features = std::move(encoded.features);
    for (std::size_t i = 0; i < features.size(); ++i) {
      const engine::PlacedMedium& medium = rendered.soft_tokens->placed[i];
      soft.push_back({medium.begin, features[i]->count, medium.input->key, features[i]->projected.data(),
                      medium.input->kind != engine::MediumInput::Kind::sound});
    }
    // Rings have room for the longest image so far; a longer one has the cache made anew.
    const std::int64_t block = engine::longest_block(config, soft);
    if (block > sequence.cache().image_block()) {
      auto larger = engine::Sequence::create(config, sequence.cache().dtype(), state_->context_length,
                                             sequence.cache().prompt_chunk(), state_->options.snapshot_bytes, block);
      if (!larger) return forward(larger);
      sequence = std::move(*larger);
    }
    result.encoder_load_seconds = encoded.load_seconds;
    result.media_seconds = seconds_since(start) - result.encoder_load_seconds;
    start = Clock::now();
  }
  TokenId token = 0;
  const bool wants_tokens = !options.max_tokens || *options.max_tokens > 0;
  if (!cancelled) {
    const auto turn = shared.take_turn();
    const auto progress = [&](std::int64_t done, std::int64_t total) {
      if (options.cancel.stop_requested()) return false;
      GenerationEvent event;
      event.kind = GenerationEvent::Kind::prompt;
      event.done = done;
      event.total = total;
      return !callback || callback(event);
    };
    auto logits = sequence.prefill(turn.compute, prompt, progress, soft);
    if (!logits && logits.error().code != ErrorCode::cancelled) return forward(logits);
    cancelled = !logits;
    if (logits && wants_tokens) token = pick(*logits);
  }
  result.reused_tokens = sequence.reused_tokens();
  result.prompt_seconds = seconds_since(start);

  const auto decode_start = Clock::now();
  if (!wants_tokens) result.finish_reason = "length";
  while (!cancelled && result.finish_reason.empty()) {
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
      result.finish_reason = "stop";
      break;
    }
    if (!output.push(token) || options.cancel.stop_requested()) {
      cancelled = true;
    } else if (output.stop_text_found()) {
      result.finish_reason = "stop";
    } else if (options.max_tokens && static_cast<std::int64_t>(result.ids.size()) >= *options.max_tokens) {
      result.finish_reason = "length";
    } else if (sequence.cache().length() >= state_->context_length) {
      result.finish_reason = "context_full";
    } else {
      const auto turn = shared.take_turn();
      auto logits = sequence.decode(turn.compute, token);
      if (!logits) return forward(logits);
      token = pick(*logits);
    }
  }
  if (cancelled) result.finish_reason = "cancelled";
  output.finish();
  if (result.finish_reason == "stop" && !result.tool_calls.empty()) result.finish_reason = "tool_calls";
  result.decode_seconds = seconds_since(decode_start);
  result.completion_tokens = static_cast<std::int64_t>(result.ids.size());
  return result;
}

}  // namespace carat
