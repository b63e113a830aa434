// Continues a plain text: open, load, tokenise, generate with a callback.
//   continue_text MODEL TEXT [TOKENS]
#include <charconv>
#include <cstdio>
#include <cstring>

#include "carat/session.h"

namespace {

int fail(const carat::Error& error) {
  std::fprintf(stderr, "continue_text: %s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: continue_text MODEL TEXT [TOKENS]\n");
    return 2;
  }
  auto checkpoint = carat::Checkpoint::open(argv[1]);
  if (!checkpoint) return fail(checkpoint.error());
  auto model = carat::Model::load(*checkpoint);
  if (!model) return fail(model.error());
  auto session = carat::Session::create(*model);
  if (!session) return fail(session.error());
  auto prompt = checkpoint->tokenize(argv[2], /*special=*/false, /*bos=*/true);
  if (!prompt) return fail(prompt.error());

  carat::GenerateOptions options;
  options.raw = true;
  options.sampling.temperature = 0.0F;
  options.max_tokens = 32;
  if (argc > 3) {
    std::int64_t tokens = 0;
    if (std::from_chars(argv[3], argv[3] + std::strlen(argv[3]), tokens).ec != std::errc()) return 2;
    options.max_tokens = tokens;
  }
  auto answer = session->generate(*prompt, options, [](const carat::GenerationEvent& event) {
    std::fwrite(event.text.data(), 1, event.text.size(), stdout);
    std::fflush(stdout);
    return true;  // false stops
  });
  if (!answer) return fail(answer.error());
  std::printf("\n");
  std::fprintf(stderr, "%lld tokens, stopped by %s\n", static_cast<long long>(answer->completion_tokens),
               answer->finish_reason.c_str());
  return 0;
}
