// Which table serves a processor, and which matrices are taken.
#include <gtest/gtest.h>

#include "kernels/abi.h"
#include "kernels/ops.h"
#include "kernels/random_weights.h"

namespace carat::kernels {
namespace {

using test::RandomMatrix;

TEST(Dispatch, NamesAreListedBestFirstAndOthersRefused) {
  const auto names = isa_names();
  ASSERT_GE(names.size(), 2U);
  EXPECT_EQ(names.front(), "auto");
  EXPECT_EQ(names.back(), "portable");
  const auto unknown = select_kernels("sse9");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(unknown.error().message.find("portable"), std::string::npos);
  const auto best = select_kernels("auto");
  ASSERT_TRUE(best);
  ASSERT_FALSE(best->report.empty());
  // Better ones that auto passes over are named with the reason, whether they could run or not.
  for (std::size_t i = 1; names[i] != best->name; ++i) {
    ASSERT_LT(i + 1, names.size());
    EXPECT_NE(best->report.front().refused.find(names[i] + ": "), std::string::npos) << names[i];
  }
  const auto portable = select_kernels("portable");
  ASSERT_TRUE(portable);
  EXPECT_EQ(portable->name, "portable");
}

TEST(Dispatch, TheProcessorDecides) {
  base::CpuFeatures cpu;
  EXPECT_EQ(select_kernels("auto", cpu)->name, "portable");
  cpu.stream_ahead = 4096;
  EXPECT_EQ(select_kernels("auto", cpu)->table->stream_ahead, 4096);
  cpu.stream_ahead = 0;
  EXPECT_EQ(select_kernels("auto", cpu)->table->stream_ahead, 0);
#if defined(__x86_64__)
  cpu.avx2 = cpu.fma = cpu.f16c = true;
  EXPECT_EQ(select_kernels("auto", cpu)->name, "avx2");
  const auto lacking = select_kernels("avx512", cpu);
  ASSERT_FALSE(lacking);
  EXPECT_NE(lacking.error().message.find("avx512f"), std::string::npos) << lacking.error().message;
  cpu.avx512f = cpu.avx512bw = cpu.avx512vl = cpu.avx512dq = cpu.avx512_vnni = true;
  EXPECT_EQ(select_kernels("auto", cpu)->name, "avx512");
  cpu.avx512_bf16 = true;
  EXPECT_EQ(select_kernels("auto", cpu)->name, "avx512_bf16");
  cpu.slow_avx512_bf16 = true;
  EXPECT_EQ(select_kernels("auto", cpu)->name, "avx512");
  EXPECT_EQ(select_kernels("avx512_bf16", cpu)->name, "avx512_bf16");
#endif
}

TEST(Pack, WhatIsNoMatrixOfNumbersIsRefused) {
  const auto table = select_kernels("portable")->table;
  const RandomMatrix good(tensor::DType::f32, 4, 8, 1);
  EXPECT_TRUE(pack(*table, good.view));
  tensor::TensorView flat = good.view;
  flat.shape = tensor::Shape{32};
  EXPECT_EQ(pack(*table, flat).error().code, ErrorCode::bad_file);
  tensor::TensorView ints = good.view;
  ints.dtype = tensor::DType::i64;
  EXPECT_EQ(pack(*table, ints).error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace carat::kernels
