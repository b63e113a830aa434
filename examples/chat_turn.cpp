// One chat turn: render messages, generate, stop after a number of pieces through a stop token, and trace the prompt.
//   chat_turn MODEL QUESTION [TRACE.safetensors]
#include <cstdio>
#include <string>

#include "carat/session.h"

namespace {

int fail(const carat::Error& error) {
  std::fprintf(stderr, "chat_turn: %s\n", error.message.c_str());
  return 1;
}

// The question as a JSON string: quotes, backslashes and control characters escaped.
std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: chat_turn MODEL QUESTION [TRACE.safetensors]\n");
    return 2;
  }
  auto checkpoint = carat::Checkpoint::open(argv[1]);
  if (!checkpoint) return fail(checkpoint.error());
  auto prompt = checkpoint->render("[{\"role\":\"user\",\"content\":" + json_string(argv[2]) + "}]", "");
  if (!prompt) return fail(prompt.error());
  auto model = carat::Model::load(*checkpoint);
  if (!model) return fail(model.error());
  auto session = carat::Session::create(*model);
  if (!session) return fail(session.error());

  std::stop_source cancel;  // another thread, or a signal handler's flag, would request the stop
  int pieces = 0;
  carat::GenerateOptions options;
  options.cancel = cancel.get_token();
  options.starts_in_thought = prompt->starts_in_thought;
  options.max_tokens = 256;
  options.sampling.seed = 1;
  auto answer = session->generate(prompt->ids, options, [&](const carat::GenerationEvent& event) {
    if (event.kind == carat::GenerationEvent::Kind::content) {
      std::fwrite(event.text.data(), 1, event.text.size(), stdout);
      if (++pieces == 20) cancel.request_stop();
    }
    return true;
  });
  if (!answer) return fail(answer.error());
  std::printf("\n");
  std::fprintf(stderr, "%lld prompt tokens, %lld generated, ended by %s\n",
               static_cast<long long>(answer->prompt_tokens), static_cast<long long>(answer->completion_tokens),
               answer->finish_reason.c_str());
  if (argc > 3) {
    if (auto traced = model->trace(prompt->ids, argv[3]); !traced) return fail(traced.error());
    std::fprintf(stderr, "wrote %s\n", argv[3]);
  }
  return 0;
}
