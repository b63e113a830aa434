// The options of commands that generate: how the next token is chosen, and when to stop. A value that is not given
// stays empty, so that the checkpoint's own defaults apply.
#include "cli/generation_options.h"

#include <limits>

#include "cli/option_values.h"

namespace carat::cli {
namespace {

constexpr const char* kGroup = "Sampling (a model's own generation_config.json replaces these defaults)";

std::pair<TokenId, float> parse_bias(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos) {
    throw CLI::ValidationError("--logit-bias", "\"" + text + "\" is not ID=VALUE, for example 1234=-5");
  }
  const auto id = parse_integer(text.substr(0, equals), "--logit-bias", 0, std::numeric_limits<TokenId>::max());
  const auto value = parse_number(text.substr(equals + 1), "--logit-bias", -kAnyNumber, kAnyNumber);
  return {static_cast<TokenId>(id), static_cast<float>(value)};
}

}  // namespace

void add_generation_options(CLI::App& app, GenerateOptions& options) {
  SamplingOptions& sampling = options.sampling;
  add_integer(app, "-n,--max-tokens", options.max_tokens, 1, std::numeric_limits<std::int64_t>::max(),
              "Tokens to generate at most (default: until the model stops or the context is full)")
      ->group("Ending");
  app.add_option_function<std::vector<std::string>>(
         "--stop",
         [&options](const std::vector<std::string>& texts) {
           for (const std::string& text : texts) {
             if (text.empty()) throw CLI::ValidationError("--stop", "the text is empty");
           }
           options.stop = texts;
         },
         "End before this text appears; may be repeated")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("TEXT")
      ->group("Ending");

  add_number(app, "--temp", sampling.temperature, 0, kAnyNumber,
             "Temperature; 0 always takes the likeliest token (default: 1)")
      ->group(kGroup);
  add_integer(app, "--top-k", sampling.top_k, 0, std::numeric_limits<int>::max(),
              "Keep the N likeliest; 0 = all (default: 64)")
      ->group(kGroup);
  add_number(app, "--top-p", sampling.top_p, 0, 1,
             "Keep the likeliest that together reach this probability; 1 = all (default: 0.95)")
      ->group(kGroup);
  add_number(app, "--min-p", sampling.min_p, 0, 1,
             "Drop what is less likely than this share of the likeliest; 0 = none (default: 0)")
      ->group(kGroup);
  add_number(app, "--typical-p", sampling.typical_p, 0, 1,
             "Keep the most typical that together reach this probability; 1 = all (default: 1)")
      ->group(kGroup);
  app.add_option_function<std::string>(
         "--repeat-penalty",
         [&sampling](const std::string& text) {
           const double value = parse_number(text, "--repeat-penalty", 0, kAnyNumber);
           if (!(static_cast<float>(value) > 0))
             throw CLI::ValidationError("--repeat-penalty", "\"" + text + "\" is not above 0");
           sampling.repetition_penalty = static_cast<float>(value);
         },
         "Divide the score of tokens seen before; 1 = off (default: 1)")
      ->type_name("X")
      ->group(kGroup);
  add_number(app, "--presence-penalty", sampling.presence_penalty, -kAnyNumber, kAnyNumber,
             "Subtract from the score of tokens generated before, once (default: 0)")
      ->group(kGroup);
  add_number(app, "--frequency-penalty", sampling.frequency_penalty, -kAnyNumber, kAnyNumber,
             "Subtract from the score of tokens generated before, each time (default: 0)")
      ->group(kGroup);
  app.add_option_function<std::vector<std::string>>(
         "--logit-bias",
         [&sampling](const std::vector<std::string>& texts) {
           sampling.logit_bias.clear();
           for (const std::string& text : texts) sampling.logit_bias.push_back(parse_bias(text));
         },
         "Add V to the score of token ID; may be repeated")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("ID=V")
      ->group(kGroup);
  app.add_option_function<std::string>(
         "--seed", [&sampling](const std::string& text) { sampling.seed = parse_unsigned(text, "--seed"); },
         "Same seed, same text (default: drawn anew, and reported)")
      ->type_name("N")
      ->group(kGroup);
}

}  // namespace carat::cli
