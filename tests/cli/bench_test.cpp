// bench and doctor: what they measure is not asserted, that they say it in full is.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "cli/program.h"

namespace carat::tests {
namespace {

using Json = nlohmann::ordered_json;

TEST(Bench, JsonListsEveryTestPromptsFirst) {
  const Finished result = run({"bench", chat_model(), "-p", "9,40", "-n", "3", "-d", "0,20", "--sequences", "1,2", "-r",
                               "2", "-t", "1", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  const Json all = Json::parse(result.out);
  ASSERT_EQ(all.size(), 12U);
  std::size_t at = 0;
  for (const auto& [prompt, generate] : {std::pair{9, 0}, {40, 0}, {0, 3}}) {
    for (const int depth : {0, 20}) {
      for (const int sequences : {1, 2}) {
        const Json& test = all[at++];
        EXPECT_EQ(test.at("n_prompt"), prompt);
        EXPECT_EQ(test.at("n_gen"), generate);
        EXPECT_EQ(test.at("n_depth"), depth);
        EXPECT_EQ(test.at("n_sequences"), sequences);
        EXPECT_EQ(test.at("n_threads"), 1);
        for (const char* figure : {"avg_ts", "bytes_per_token", "macs_per_token", "bandwidth_share", "compute_share"}) {
          EXPECT_GT(test.at(figure).get<double>(), 0) << figure;
        }
        EXPECT_GE(test.at("stddev_ts").get<double>(), 0);
      }
    }
  }
  // Two sequences share the weights of a decoding step, so a token reads less.
  EXPECT_LT(all[9].at("bytes_per_token").get<double>(), all[8].at("bytes_per_token").get<double>());
  // Deeper tokens see more.
  EXPECT_GT(all[10].at("macs_per_token").get<double>(), all[8].at("macs_per_token").get<double>());
}

TEST(Bench, TableNamesTheMachineAndTheTests) {
  const Finished result =
      run({"bench", chat_model(), "-p", "8", "-n", "0", "-d", "16", "-r", "1", "--isa", "portable"});
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* text : {"portable", "GB/s", "GMAC/s", "prompt 8 at depth 16", "tokens/s"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text << "\n" << result.out;
  }
  EXPECT_EQ(result.out.find("decode"), std::string::npos);
}

TEST(Bench, RefusesWhatCannotBeMeasured) {
  EXPECT_EQ(run({"bench", chat_model(), "-p", "0", "-n", "0"}).code, 2);
  EXPECT_EQ(run({"bench", chat_model(), "-p", "-1"}).code, 2);
  EXPECT_EQ(run({"bench", chat_model(), "-p", "x"}).code, 2);
  EXPECT_EQ(run({"bench", chat_model(), "--sequences", "0"}).code, 2);
  const Finished deep = run({"bench", chat_model(), "-n", "0", "-p", "8", "-d", "2000000000"});
  EXPECT_EQ(deep.code, 1);
  EXPECT_NE(deep.err.find("depth 2000000000"), std::string::npos) << deep.err;
  EXPECT_EQ(run({"bench", "no-such-model"}).code, 1);
}

TEST(Doctor, SaysWhatTheMachineIsAndWhichKernelsServe) {
  const Finished text = run({"doctor", "--isa", "portable", "-t", "1"});
  ASSERT_EQ(text.code, 0) << text.err;
  for (const char* part : {"CPU", "bandwidth", "arithmetic", "matmul q4_0", "attention", "portable"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
  const Finished result = run({"doctor", chat_model(), "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_GT(json.at("read_bytes_per_second").get<double>(), 0);
  EXPECT_GT(json.at("float_macs_per_second").get<double>(), 0);
  EXPECT_GT(json.at("prompt").at("tokens_per_second").get<double>(), 0);
  EXPECT_GT(json.at("decode").at("bandwidth_share").get<double>(), 0);
  EXPECT_GT(json.at("kernels").size(), 10U);
  EXPECT_EQ(run({"doctor", "--isa", "nonsense"}).code, 2);
}

}  // namespace
}  // namespace carat::tests
