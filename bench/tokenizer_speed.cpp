// Times loading and encoding of one tokenizer on one thread, and writes the ids for a comparison with the reference.
// Usage: tokenizer_speed MODEL FILE [--special] [--repeat N] [--ids OUT]; prints one JSON object.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"
#include "text/tokenizer.h"

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  std::string model, file, ids_file;
  carat::text::EncodeOptions options;
  int repeat = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--special")
      options.special = true;
    else if (argument == "--ids" && i + 1 < argc)
      ids_file = argv[++i];
    else if (argument == "--repeat" && i + 1 < argc)
      repeat = std::atoi(argv[++i]);
    else if (model.empty())
      model = argument;
    else
      file = argument;
  }
  if (model.empty() || file.empty() || repeat < 1) {
    std::fprintf(stderr, "usage: tokenizer_speed MODEL FILE [--special] [--repeat N] [--ids OUT]\n");
    return 2;
  }

  auto checkpoint = carat::formats::open_checkpoint(model);
  if (!checkpoint) {
    std::fprintf(stderr, "%s\n", checkpoint.error().message.c_str());
    return 1;
  }
  auto start = std::chrono::steady_clock::now();
  const auto tokenizer = carat::text::Tokenizer::from_checkpoint(*checkpoint);
  const double load = seconds_since(start);
  if (!tokenizer) {
    std::fprintf(stderr, "%s\n", tokenizer.error().message.c_str());
    return 1;
  }

  std::ifstream in(file, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "cannot read %s\n", file.c_str());
    return 1;
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  std::vector<carat::text::TokenId> ids;
  double best = 1e300;
  for (int i = 0; i < repeat; ++i) {
    ids.clear();
    ids.shrink_to_fit();
    start = std::chrono::steady_clock::now();
    tokenizer->encode(text, options, ids);
    best = std::min(best, seconds_since(start));
  }
  if (!ids_file.empty()) {
    std::ofstream out(ids_file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(ids.data()), static_cast<std::streamsize>(ids.size() * sizeof ids[0]));
  }
  std::printf("{\"load_seconds\":%.4f,\"bytes\":%zu,\"ids\":%zu,\"seconds\":%.4f,\"mb_per_second\":%.1f}\n", load,
              text.size(), ids.size(), best, static_cast<double>(text.size()) / 1e6 / best);
  return 0;
}
