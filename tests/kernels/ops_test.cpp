// Every kernel table this machine runs against plain loops in double precision, and the promise that a row's result
// does not depend on its neighbours or on the number of threads.
#include "kernels/ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/arena.h"
#include "base/thread_pool.h"
#include "kernels/abi.h"
#include "kernels/random_weights.h"
#include "kernels/wide_table.h"

namespace carat::kernels {
namespace {

using test::random_floats;
using test::RandomMatrix;

std::shared_ptr<const KernelTable> table_called(const std::string& name) {
  if (name.starts_with("wide")) return std::make_shared<const KernelTable>(wide_table(name == "wide_bf16"));
  auto chosen = select_kernels(name);
  EXPECT_TRUE(chosen) << chosen.error().message;
  return chosen->table;
}

class Ops : public testing::TestWithParam<std::string> {
 protected:
  Ops() : table_(table_called(GetParam())) {}
  Context context(base::ThreadPool& pool) const { return Context(table_, pool); }
  base::ThreadPool pool_{2};
  std::shared_ptr<const KernelTable> table_;
};

std::vector<std::string> runnable() {
  std::vector<std::string> out;
  for (const std::string& name : isa_names()) {
    if (name != "auto" && select_kernels(name)) out.push_back(name);
  }
  for (const char* name : {"wide", "wide_bf16"}) out.push_back(name);  // tests/kernels/wide_table.cpp
  return out;
}

// Activations as a kernel takes them, in double: rounded to 8 bits per block of 32, to bf16, or as they are.
std::vector<double> rounded(const std::vector<float>& x, Activations how) {
  std::vector<double> out(x.begin(), x.end());
  if (how == Activations::bf16) {
    for (double& v : out) v = static_cast<double>(tensor::bf16_to_f32(tensor::f32_to_bf16(static_cast<float>(v))));
  }
  if (how != Activations::int8) return out;
  for (std::size_t b = 0; b < x.size(); b += 32) {
    double largest = 0;
    for (std::size_t i = b; i < b + 32; ++i) largest = std::max(largest, std::abs(static_cast<double>(x[i])));
    for (std::size_t i = b; i < b + 32; ++i) {
      out[i] = largest == 0 ? 0 : std::nearbyint(static_cast<double>(x[i]) * 127 / largest) * largest / 127;
    }
  }
  return out;
}

// The largest |found - expected| / magnitude.
double worst_error(const std::vector<float>& found, const std::vector<double>& expected,
                   const std::vector<double>& magnitude) {
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!std::isfinite(found[i])) return INFINITY;
    worst = std::max(worst, std::abs(static_cast<double>(found[i]) - expected[i]) / (magnitude[i] + 1e-30));
  }
  return worst;
}

double relative_distance(const std::vector<float>& found, const std::vector<double>& expected) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!std::isfinite(found[i])) return INFINITY;
    difference += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    size += expected[i] * expected[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference / size);
}

// The product of mapped and of packed weights, which must be the same bits, beside the plain sum in double.
void check_matmul(const Context& c, const RandomMatrix& w, const std::vector<float>& x) {
  const std::int64_t rows = w.view.shape[0], in = w.view.shape[1], tokens = std::ssize(x) / in;
  SCOPED_TRACE(testing::Message() << rows << " x " << in << ", " << tokens << " tokens");
  base::Arena memory;
  const Packing packing{c.pool(), memory};
  std::vector<float> out(static_cast<std::size_t>(tokens * rows), NAN), packed = out;
  for (const bool with_packing : {false, true}) {
    const auto matrix = pack(c.table(), w.view, with_packing ? &packing : nullptr);
    ASSERT_TRUE(matrix) << matrix.error().message;
    const MatmulTarget target{&*matrix, with_packing ? packed.data() : out.data(), 0};
    matmul(c, x.data(), tokens, {&target, 1});
  }
  ASSERT_EQ(out, packed);
  const Activations how = c.table().takes[static_cast<std::size_t>(w.view.dtype)];
  std::vector<double> exact(out.size()), expected(out.size()), magnitude(out.size());
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::vector<float> row_x(x.begin() + t * in, x.begin() + (t + 1) * in);
    const auto q = rounded(row_x, how);
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto weights = w.row(r);
      const auto at = static_cast<std::size_t>(t * rows + r);
      for (std::size_t i = 0; i < weights.size(); ++i) {
        exact[at] += static_cast<double>(weights[i]) * static_cast<double>(row_x[i]);
        expected[at] += static_cast<double>(weights[i]) * q[i];
        magnitude[at] += std::abs(static_cast<double>(weights[i]) * static_cast<double>(row_x[i]));
      }
    }
  }
  // Sums in f32: an error of 2e-6 of the sum of magnitudes.
  ASSERT_LE(worst_error(out, expected, magnitude), 2e-6);
  // And rounding costs little against the exact product.
  if (rows * tokens > 8 && in >= 256) {
    ASSERT_LE(relative_distance(out, exact), 0.02);
  }
}

TEST_P(Ops, MatmulOfEveryTypeEqualsThePlainSum) {
  const Context c = context(pool_);
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.decode == nullptr) continue;
    SCOPED_TRACE(type.name);
    // Widths that end inside vectors, groups and chunks; row counts that end inside tiles.
    std::vector<std::int64_t> widths = {1, 2, 5, 6, 7, 9, 17};
    for (std::int64_t& width : widths) width *= type.block_elements;
    if (type.block_elements == 1)
      widths = {1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 64, 65, 70, 640, 1731};
    else
      widths.push_back(2048 / type.block_elements * type.block_elements + 2 * type.block_elements);
    for (const std::int64_t in : widths) {
      for (const std::int64_t rows : {1, 3, 16, 21}) {
        const RandomMatrix w(type.dtype, rows, in, static_cast<std::uint32_t>(in * 31 + rows));
        for (const std::int64_t tokens : {1, 2, 3, 5, 8}) {
          check_matmul(c, w, random_floats(tokens * in, static_cast<std::uint32_t>(tokens)));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(Ops, MatmulHoldsForEverySmallShape) {
  const Context c = context(pool_);
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.decode == nullptr) continue;
    SCOPED_TRACE(type.name);
    for (std::int64_t size = 1; size <= 70; ++size) {
      // Rows, columns (or blocks of them) and tokens in turn.
      const std::int64_t block = type.block_elements, few = block == 1 ? 33 : block;
      const RandomMatrix rows(type.dtype, size, few, static_cast<std::uint32_t>(size));
      check_matmul(c, rows, random_floats(2 * few, 1));
      if (block <= 32) {
        const RandomMatrix columns(type.dtype, 5, size * block, static_cast<std::uint32_t>(size));
        check_matmul(c, columns, random_floats(3 * size * block, 2));
      }
      const RandomMatrix weights(type.dtype, 3, few, 7);
      check_matmul(c, weights, random_floats(size * few, 3));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Ops, MatmulOfExtremeAndTinyActivations) {
  const Context c = context(pool_);
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.decode == nullptr) continue;
    SCOPED_TRACE(type.name);
    const std::int64_t in = type.block_elements == 1 ? 96 : 2 * type.block_elements;
    const RandomMatrix w(type.dtype, 19, in, 11);
    // Scales near both ends of f32, values that differ by 40 orders of magnitude, zeros among them.
    for (const float size : {1e-30F, 1e30F}) check_matmul(c, w, random_floats(3 * in, 4, size));
    auto mixed = random_floats(3 * in, 5);
    for (std::size_t i = 0; i < mixed.size(); i += 3) mixed[i] *= 1e20F;
    for (std::size_t i = 1; i < mixed.size(); i += 3) mixed[i] *= 1e-20F;
    for (std::size_t i = 2; i < mixed.size(); i += 9) mixed[i] = 0;
    check_matmul(c, w, mixed);
    check_matmul(c, w, std::vector<float>(static_cast<std::size_t>(2 * in), 0.0F));
    check_matmul(c, RandomMatrix(type.dtype, 19, in, 13, 1e-4F), random_floats(3 * in, 8));
    if (HasFatalFailure()) return;
    // Denormal numbers: nothing but small results may come out.
    const auto denormal = random_floats(in, 6, 1e-40F);
    const auto matrix = pack(c.table(), w.view);
    ASSERT_TRUE(matrix);
    std::vector<float> out(19, NAN);
    const MatmulTarget target{&*matrix, out.data(), 0};
    matmul(c, denormal.data(), 1, {&target, 1});
    for (const float y : out) ASSERT_LT(std::abs(y), 1e-34F);
  }
}

// Weights, activations and results that start anywhere a float or a byte may.
TEST_P(Ops, MatmulTakesUnalignedPointers) {
  const Context c = context(pool_);
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.decode == nullptr) continue;
    const std::int64_t in = type.block_elements == 1 ? 70 : 2 * type.block_elements, rows = 21, tokens = 5;
    const RandomMatrix w(type.dtype, rows, in, 12);
    const auto x = random_floats(tokens * in, 7);
    const auto product = [&](std::size_t shift) {
      // Exactly as long as needed: a read past the end is found by the address sanitizer.
      const std::size_t bytes = w.bytes.size() + shift * static_cast<std::size_t>(type.block_bytes % 4 == 0 ? 4 : 2);
      const std::vector<std::byte> memory = [&] {
        std::vector<std::byte> m(bytes - w.bytes.size());
        m.insert(m.end(), w.bytes.begin(), w.bytes.end());
        return m;
      }();
      tensor::TensorView view = w.view;
      view.data = memory.data() + (bytes - w.bytes.size());
      std::vector<float> moved(shift), out(static_cast<std::size_t>(tokens * rows) + shift);
      moved.insert(moved.end(), x.begin(), x.end());
      const auto matrix = pack(c.table(), view);
      EXPECT_TRUE(matrix);
      const MatmulTarget target{&*matrix, out.data() + shift, 0};
      matmul(c, moved.data() + shift, tokens, {&target, 1});
      return std::vector<float>(out.begin() + static_cast<std::ptrdiff_t>(shift), out.end());
    };
    const auto aligned = product(0);
    for (const std::size_t shift : {1, 3, 7}) EXPECT_EQ(product(shift), aligned) << type.name << " " << shift;
  }
}

TEST_P(Ops, ARowIsTheSameAloneAndAmongOthers) {
  base::ThreadPool one(1), three(3);
  const Context alone = context(one), many = context(three);
  const auto check = [&](const tensor::DTypeInfo& type, std::int64_t in, std::int64_t least, std::int64_t most) {
    constexpr std::int64_t kRows = 77, kOther = 40;
    const RandomMatrix w(type.dtype, kRows, in, 5), other(type.dtype, kOther, in, 6);
    const auto a = pack(alone.table(), w.view), b = pack(alone.table(), other.view);
    base::Arena memory;
    const Packing packing{many.pool(), memory};
    const auto packed = pack(alone.table(), w.view, &packing);
    ASSERT_TRUE(a && b && packed);
    const auto x = random_floats(most * in, 9);
    std::vector<float> singles(static_cast<std::size_t>(most * kRows));
    for (std::int64_t t = 0; t < most; ++t) {
      const MatmulTarget target{&*a, singles.data() + t * kRows, 0};
      matmul(alone, x.data() + t * in, 1, {&target, 1});
    }
    for (std::int64_t tokens = least; tokens <= most; ++tokens) {
      std::vector<float> batch(static_cast<std::size_t>(tokens * kRows)),
          batch_packed = batch, beside(static_cast<std::size_t>(tokens * kOther));
      const MatmulTarget targets[] = {
          {&*b, beside.data(), 0}, {&*a, batch.data(), 0}, {&*packed, batch_packed.data(), 0}};
      matmul(many, x.data(), tokens, targets);
      EXPECT_EQ(batch, std::vector<float>(singles.begin(), singles.begin() + tokens * kRows))
          << type.name << ", " << in << " columns, " << tokens << " tokens";
      EXPECT_EQ(batch_packed, batch) << type.name << ", packed, " << in << " columns, " << tokens << " tokens";
    }
  };
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.decode == nullptr) continue;
    // More columns than a panel, a pass over packed rows or a chunk of them has, and up to more than two passes of
    // tokens; of floats an odd number as well, where two may lie in 32 bits.
    check(type, 4608, 2, 13);
    if (type.block_elements == 1) check(type, 4607, 2, 13);
    // So many in a tile that halves are unpacked once for all.
    check(type, 768, 120, 120);
  }
}

// Integer products and one order of fused additions: every table but the portable one gives the bits of the others.
TEST_P(Ops, ProductsAreTheSameBitsInEveryTable) {
  const Context c = context(pool_);
  if (c.table().packed_rows == 0) return;  // decodes to f32
  const bool bf16 = c.table().takes[static_cast<std::size_t>(tensor::DType::bf16)] == Activations::bf16;
  const Context wide(table_called(bf16 ? "wide_bf16" : "wide"), pool_);
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    const auto index = static_cast<std::size_t>(type.dtype);
    if (c.table().takes[index] == Activations::f32 && index > 2) continue;
    const std::int64_t in = 4 * type.block_elements + 1024;
    constexpr std::int64_t kRows = 21, kTokens = 15;
    const RandomMatrix w(type.dtype, kRows, in, 11);
    const auto x = random_floats(kTokens * in, 12);
    std::vector<float> here(kTokens * kRows), there = here;
    for (const auto& [from, out] : {std::pair{&c, &here}, std::pair{&wide, &there}}) {
      const auto matrix = pack(from->table(), w.view);
      ASSERT_TRUE(matrix);
      const MatmulTarget target{&*matrix, out->data(), 0};
      matmul(*from, x.data(), kTokens, {&target, 1});
    }
    EXPECT_EQ(here, there) << type.name;
  }
}

// What is asked for lies behind the last row as well, where nothing need be.
TEST_P(Ops, WeightsAskedForAheadGiveTheSameBits) {
  const Context plain = context(pool_);
  if (plain.table().packed_rows == 0) return;
  const auto asks = std::make_shared<KernelTable>(plain.table()), asks_not = std::make_shared<KernelTable>(*asks);
  asks->stream_ahead = 4096;
  asks_not->stream_ahead = 0;
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.decode == nullptr) continue;
    const std::int64_t in = 3 * type.block_elements + 512;
    const RandomMatrix w(type.dtype, 37, in, 21);
    const auto x = random_floats(in, 22);
    std::vector<float> with(37), without(37);
    for (const auto& [table, out] : {std::pair{asks, &with}, std::pair{asks_not, &without}}) {
      const Context c(table, pool_);
      base::Arena memory;
      const Packing packing{pool_, memory};
      const auto matrix = pack(*table, w.view, &packing);
      ASSERT_TRUE(matrix);
      const MatmulTarget target{&*matrix, out->data(), 0};
      matmul(c, x.data(), 1, {&target, 1});
    }
    EXPECT_EQ(with, without) << type.name;
  }
}

TEST_P(Ops, BoundsAndGatesAreWhatClampAndGeluMakeOfTheProducts) {
  const Context c = context(pool_);
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.decode == nullptr) continue;
    SCOPED_TRACE(type.name);
    // The last: more tiles in a thread's piece than are taken of one matrix at a time.
    for (const auto& [rows, tokens] : {std::pair{21, 1}, {70, 5}, {33, 300}, {4231, 1}}) {
      const std::int64_t in = type.block_elements == 1 ? 70 : 2 * type.block_elements, count = rows * tokens;
      const RandomMatrix gate(type.dtype, rows, in, 3), up(type.dtype, rows, in, 4);
      const auto gates = pack(c.table(), gate.view), ups = pack(c.table(), up.view);
      ASSERT_TRUE(gates && ups);
      const auto x = random_floats(tokens * in, 5);
      std::vector<float> a(static_cast<std::size_t>(count)), b = a, bounded = a, gated = a;
      const MatmulTarget both[] = {{&*gates, a.data()}, {&*ups, b.data()}};
      matmul(c, x.data(), tokens, both);
      const Bounds narrow{-0.02F, 0.03F}, wide{-1.0F, 0.5F};
      const MatmulTarget target{&*gates, bounded.data(), 0, narrow};
      matmul(c, x.data(), tokens, {&target, 1});
      gelu_gated_matmul(c, x.data(), tokens, *gates, *ups, gated.data(), narrow, wide);
      clamp(c, a.data(), count, narrow, a.data());
      clamp(c, b.data(), count, wide, b.data());
      ASSERT_EQ(bounded, a);
      ASSERT_TRUE(std::ranges::count(a, narrow.high) > 0 && std::ranges::count(a, narrow.low) > 0);
      gelu_tanh_mul(c, a.data(), b.data(), count, a.data());
      ASSERT_EQ(gated, a);
    }
  }
}

TEST_P(Ops, NormsEqualTheFormula) {
  const Context c = context(pool_);
  for (std::int64_t width = 1; width <= 70; ++width) {
    const auto x = random_floats(3 * width, 1), weight = random_floats(width, 2), base = random_floats(3 * width, 3);
    std::vector<float> y(x.size()), sum = base, plain(x.size());
    rms_norm(c, x.data(), 3, width, weight.data(), 1e-6F, y.data());
    rms_norm(c, x.data(), 3, width, nullptr, 1e-6F, plain.data());
    add_rms_norm(c, sum.data(), x.data(), 3, width, weight.data(), 1e-6F);
    for (std::int64_t t = 0; t < 3; ++t) {
      double square = 0;
      for (std::int64_t i = 0; i < width; ++i)
        square += std::pow(static_cast<double>(x[static_cast<std::size_t>(t * width + i)]), 2);
      const double factor = 1 / std::sqrt(square / static_cast<double>(width) + 1e-6);
      for (std::int64_t i = 0; i < width; ++i) {
        const auto at = static_cast<std::size_t>(t * width + i);
        const double expected =
            static_cast<double>(x[at]) * factor * static_cast<double>(weight[static_cast<std::size_t>(i)]);
        ASSERT_NEAR(y[at], expected, 2e-6 * (1 + std::abs(expected))) << width;
        ASSERT_NEAR(plain[at], static_cast<double>(x[at]) * factor,
                    2e-6 * (1 + std::abs(static_cast<double>(x[at]) * factor)));
        ASSERT_NEAR(sum[at], static_cast<double>(base[at]) + expected, 4e-6 * (1 + std::abs(expected)));
      }
    }
    rms_norm(c, y.data(), 3, width, nullptr, 1e-6F, y.data());  // in place
  }
}

TEST_P(Ops, RopeTurnsPairsHalfAHeadApart) {
  const Context c = context(pool_);
  for (const auto& [dim, pairs] :
       {std::pair<std::int64_t, std::int64_t>{2, 1}, {16, 8}, {32, 4}, {64, 32}, {512, 64}, {70, 35}, {70, 17}}) {
    constexpr std::int64_t kTokens = 3, kHeads = 2;
    auto x = random_floats(kTokens * kHeads * dim, 4);
    const auto before = x;
    const auto angle = random_floats(kTokens * pairs, 5, 3);
    std::vector<float> cos(angle.size()), sin(angle.size());
    for (std::size_t i = 0; i < angle.size(); ++i) cos[i] = std::cos(angle[i]), sin[i] = std::sin(angle[i]);
    rope(c, x.data(), kTokens, kHeads, dim, cos.data(), sin.data(), pairs);
    for (std::int64_t t = 0; t < kTokens; ++t) {
      for (std::int64_t h = 0; h < kHeads; ++h) {
        for (std::int64_t i = 0; i < dim / 2; ++i) {
          const auto low = static_cast<std::size_t>((t * kHeads + h) * dim + i),
                     high = low + static_cast<std::size_t>(dim / 2);
          const auto k = static_cast<std::size_t>(t * pairs + i);
          const float co = i < pairs ? cos[k] : 1, si = i < pairs ? sin[k] : 0;
          ASSERT_NEAR(x[low], before[low] * co - before[high] * si, 1e-6) << dim << " " << i;
          ASSERT_NEAR(x[high], before[high] * co + before[low] * si, 1e-6) << dim << " " << i;
        }
      }
    }
  }
}

TEST_P(Ops, ActivationsEqualTheFormulas) {
  const Context c = context(pool_);
  std::vector<float> x;
  for (double v = -40; v <= 40; v += 0.01) x.push_back(static_cast<float>(v));
  for (const float v : {0.0F, -0.0F, 1e-8F, -1e-8F, 1e-30F, 88.5F, -88.5F, 1e4F, -1e4F, 1e30F}) x.push_back(v);
  const std::vector<float> ones(x.size(), 1.0F);
  std::vector<float> gelu(x.size()), capped = x;
  gelu_tanh_mul(c, x.data(), ones.data(), static_cast<std::int64_t>(x.size()), gelu.data());
  softcap(c, capped.data(), static_cast<std::int64_t>(x.size()), 30.0F);
  std::vector<float> silu(x.size()), clamped = x;
  sigmoid_mul(c, x.data(), x.data(), static_cast<std::int64_t>(x.size()), silu.data());
  clamp(c, x.data(), static_cast<std::int64_t>(x.size()), {-1.5F, 2.25F}, clamped.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = static_cast<double>(x[i]);
    const double expected = 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    ASSERT_NEAR(gelu[i], expected, 1e-6 * std::max(1e-3, std::abs(v))) << v;
    ASSERT_NEAR(capped[i], 30 * std::tanh(v / 30), 1e-5) << v;
    ASSERT_NEAR(silu[i], v / (1 + std::exp(-v)), 1e-6 * std::max(1e-3, std::abs(v))) << v;
    ASSERT_EQ(clamped[i], std::clamp(x[i], -1.5F, 2.25F));
  }
  for (std::int64_t count = 1; count <= 40; ++count) {  // tails
    std::vector<float> out(static_cast<std::size_t>(count));
    gelu_tanh_mul(c, x.data() + 3000, x.data() + 100, count, out.data());
    std::vector<float> longer(64);
    gelu_tanh_mul(c, x.data() + 3000, x.data() + 100, 64, longer.data());
    ASSERT_EQ(out, std::vector<float>(longer.begin(), longer.begin() + count));
    sigmoid_mul(c, x.data() + 3000, x.data() + 100, count, out.data());
    sigmoid_mul(c, x.data() + 3000, x.data() + 100, 64, longer.data());
    ASSERT_EQ(out, std::vector<float>(longer.begin(), longer.begin() + count));
  }
}

TEST_P(Ops, LayerNormEqualsTheFormula) {
  const Context c = context(pool_);
  for (const std::int64_t width : {1, 2, 7, 64, 100, 1153}) {
    const auto size = static_cast<std::size_t>(width);
    const auto x = random_floats(3 * size, 5), weight = random_floats(size, 6), bias = random_floats(size, 7);
    for (const bool with_bias : {false, true}) {
      std::vector<float> y(x.size());
      layer_norm(c, x.data(), 3, width, weight.data(), with_bias ? bias.data() : nullptr, 1e-5F, y.data());
      for (std::size_t t = 0; t < 3; ++t) {
        double mean = 0, variance = 0;
        for (std::size_t i = 0; i < size; ++i)
          mean += static_cast<double>(x[t * size + i]) / static_cast<double>(width);
        for (std::size_t i = 0; i < size; ++i) {
          const double difference = static_cast<double>(x[t * size + i]) - mean;
          variance += difference * difference / static_cast<double>(width);
        }
        for (std::size_t i = 0; i < size; ++i) {
          const double expected = (static_cast<double>(x[t * size + i]) - mean) / std::sqrt(variance + 1e-5) *
                                      static_cast<double>(weight[i]) +
                                  (with_bias ? static_cast<double>(bias[i]) : 0);
          ASSERT_NEAR(y[t * size + i], expected, 1e-5) << width << " " << i;
        }
      }
    }
  }
}

TEST_P(Ops, LocalAttentionEqualsTheFormula) {
  const Context c = context(pool_);
  constexpr std::int64_t kTokens = 21, kHeads = 3;
  for (const std::int64_t dim : {4, 16, 24, 100, 128}) {
    for (const std::int64_t seen : {1, 2, 12, 20, 40}) {
      const auto size = static_cast<std::size_t>(kTokens * kHeads * dim);
      const auto q = random_floats(size, 1), k = random_floats(size, 2), v = random_floats(size, 3),
                 relative = random_floats(static_cast<std::size_t>(seen * kHeads * dim), 4);
      std::vector<float> out = q;
      constexpr float kCap = 5;
      local_attention(c, out.data(), k.data(), v.data(), relative.data(), kTokens, kHeads, dim, seen, kCap);
      for (std::int64_t t = 0; t < kTokens; ++t) {
        for (std::int64_t h = 0; h < kHeads; ++h) {
          const auto at = [&](const std::vector<float>& x, std::int64_t row, std::int64_t i) {
            return static_cast<double>(x[static_cast<std::size_t>((row * kHeads + h) * dim + i)]);
          };
          std::vector<double> weights;
          double total = 0;
          for (std::int64_t d = 0; d < std::min(seen, t + 1); ++d) {
            double score = 0;
            for (std::int64_t i = 0; i < dim; ++i) score += at(q, t, i) * (at(k, t - d, i) + at(relative, d, i));
            weights.push_back(std::exp(kCap * std::tanh(score / kCap)));
            total += weights.back();
          }
          for (std::int64_t i = 0; i < dim; ++i) {
            double expected = 0;
            for (std::size_t d = 0; d < weights.size(); ++d)
              expected += weights[d] / total * at(v, t - static_cast<std::int64_t>(d), i);
            ASSERT_NEAR(at(out, t, i), expected, 1e-5) << dim << " " << seen << " " << t << " " << h << " " << i;
          }
        }
      }
    }
  }
}

TEST_P(Ops, NothingHidesANaN) {
  const Context c = context(pool_);
  for (const std::int64_t width : {1, 15, 16, 17, 100}) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> x(static_cast<std::size_t>(5 * width), 1.0F);
      EXPECT_EQ(first_non_finite_row(c, x.data(), 5, width), -1);
      x[static_cast<std::size_t>(4 * width)] = bad;
      x[static_cast<std::size_t>(3 * width - 1)] = bad;
      EXPECT_EQ(first_non_finite_row(c, x.data(), 5, width), 2);
    }
  }
  std::vector<float> x(20, 1.0F), ones(20, 1.0F), out(20);
  x[3] = NAN;
  gelu_tanh_mul(c, x.data(), ones.data(), 20, out.data());
  EXPECT_TRUE(std::isnan(out[3]));
  EXPECT_FALSE(std::isnan(out[4]));
  sigmoid_mul(c, x.data(), ones.data(), 20, out.data());
  EXPECT_TRUE(std::isnan(out[3]));
  sigmoid_mul(c, ones.data(), x.data(), 20, out.data());
  EXPECT_TRUE(std::isnan(out[3]));
  clamp(c, x.data(), 20, {-1.0F, 1.0F}, x.data());
  EXPECT_TRUE(std::isnan(x[3]));
  for (int bad = 0; bad < 4; ++bad) {  // q, k, v or relative: two positions, two heads of five
    std::vector<float> input[4] = {ones, ones, ones, ones};
    input[bad][12] = NAN;
    local_attention(c, input[0].data(), input[1].data(), input[2].data(), input[3].data(), 2, 2, 5, 2, 5.0F);
    EXPECT_TRUE(std::isnan(input[0][12])) << bad;
    EXPECT_FALSE(std::isnan(input[0][17])) << bad;
  }
  softcap(c, x.data(), 20, 30.0F);
  EXPECT_TRUE(std::isnan(x[3]));
  for (const tensor::DType type :
       {tensor::DType::f32, tensor::DType::bf16, tensor::DType::q8_0, tensor::DType::q4_0, tensor::DType::q6_k}) {
    const RandomMatrix w(type, 3, 256, 1);
    const auto packed = pack(c.table(), w.view);
    ASSERT_TRUE(packed);
    for (const float bad : {NAN, INFINITY}) {
      for (std::size_t at = 0; at < 256; at += 5) {
        auto row = random_floats(256, 2);
        row[at] = bad;
        std::vector<float> y(3);
        const MatmulTarget target{&*packed, y.data(), 0};
        matmul(c, row.data(), 1, {&target, 1});
        EXPECT_FALSE(std::isfinite(y[0]) && std::isfinite(y[1]) && std::isfinite(y[2]))
            << tensor::info(type).name << " at " << at;
      }
    }
  }
}

// x[i] as a q8_0 cache keeps it: an integer times an f16 scale shared by 32 dimensions.
float as_q8(const float* x, std::int64_t dim, std::int64_t i) {
  float largest = 0;
  for (std::int64_t j = i / 32 * 32; j < std::min(dim, i / 32 * 32 + 32); ++j)
    largest = std::max(largest, std::abs(x[j]));
  const float scale = tensor::f16_to_f32(tensor::f32_to_f16(largest / 127));
  return scale == 0 ? 0 : std::clamp(std::nearbyint(x[i] * (1 / scale)), -127.0F, 127.0F) * scale;
}

// Attention in double over the same stored keys and values.
struct AttentionCase {
  std::int64_t heads, kv_heads, dim, slots, stored, tokens;
};

TEST_P(Ops, AttentionEqualsTheFormulaForAnyRangeOfARing) {
  base::ThreadPool one(1);
  const Context c = context(pool_), single = context(one);
  for (const AttentionCase& a : {AttentionCase{4, 2, 16, 32, 32, 3},
                                 {8, 1, 256, 96, 150, 4},
                                 {8, 8, 64, 64, 100, 2},
                                 {6, 3, 512, 64, 64, 1},
                                 {2, 1, 10, 32, 45, 5},
                                 {16, 2, 72, 128, 128, 7},
                                 {2, 2, 64, 512, 401, 61},
                                 {8, 1, 256, 320, 330, 13}}) {
    for (const tensor::DType type :
         {tensor::DType::f32, tensor::DType::f16, tensor::DType::bf16, tensor::DType::q8_0}) {
      const bool rounds = type == tensor::DType::bf16 && c.table().rounds_queries[2];
      const std::int64_t half = a.kv_heads * a.slots / kKvBlock * kv_block_bytes(type, a.dim);
      std::vector<std::byte> memory(static_cast<std::size_t>(2 * half));
      KvView cache{type, memory.data(), memory.data() + half, a.slots, a.kv_heads, a.dim};
      const auto k = random_floats(a.stored * a.kv_heads * a.dim, 1),
                 v = random_floats(a.stored * a.kv_heads * a.dim, 2);
      const std::int64_t width = a.kv_heads * a.dim;
      for (std::int64_t p = 0; p < a.stored; p += 13) {
        kv_store(c, cache, k.data() + p * width, v.data() + p * width, std::min<std::int64_t>(13, a.stored - p), p);
      }
      const auto stored = [&](const std::vector<float>& from, std::int64_t p, std::int64_t h, std::int64_t i) {
        const float value = from[static_cast<std::size_t>((p * a.kv_heads + h) * a.dim + i)];
        if (type == tensor::DType::f16) return tensor::f16_to_f32(tensor::f32_to_f16(value));
        if (type == tensor::DType::q8_0) return as_q8(from.data() + (p * a.kv_heads + h) * a.dim, a.dim, i);
        return type == tensor::DType::bf16 ? tensor::bf16_to_f32(tensor::f32_to_bf16(value)) : value;
      };
      const auto q = random_floats(a.tokens * a.heads * a.dim, 3);
      std::vector<std::int64_t> begin, end;
      std::mt19937 random(8);
      for (std::int64_t t = 0; t < a.tokens; ++t) {
        const std::int64_t oldest = std::max<std::int64_t>(0, a.stored - a.slots);
        begin.push_back(oldest + static_cast<std::int64_t>(random() % static_cast<unsigned>(a.stored - oldest)));
        end.push_back(begin.back() + 1 +
                      static_cast<std::int64_t>(random() % static_cast<unsigned>(a.stored - begin.back())));
      }
      std::vector<float> out(q.size()), alone(q.size());
      const float scale = 0.3F;
      attention(c, q.data(), a.tokens, a.heads, cache, begin.data(), end.data(), scale, out.data());
      std::vector<double> expected(q.size());
      for (std::int64_t t = 0; t < a.tokens; ++t) {
        // One row with one thread: the same bits.
        attention(single, q.data() + t * a.heads * a.dim, 1, a.heads, cache, begin.data() + t, end.data() + t, scale,
                  alone.data() + t * a.heads * a.dim);
        for (std::int64_t h = 0; h < a.heads; ++h) {
          const std::int64_t kv = h / (a.heads / a.kv_heads), row = (t * a.heads + h) * a.dim;
          std::vector<double> weight;
          double top = -INFINITY, sum = 0;
          for (std::int64_t p = begin[static_cast<std::size_t>(t)]; p < end[static_cast<std::size_t>(t)]; ++p) {
            double s = 0;
            for (std::int64_t i = 0; i < a.dim; ++i) {
              const float x = q[static_cast<std::size_t>(row + i)];
              s += static_cast<double>(rounds ? tensor::bf16_to_f32(tensor::f32_to_bf16(x)) : x) *
                   static_cast<double>(stored(k, p, kv, i));
            }
            weight.push_back(s * static_cast<double>(scale));
            top = std::max(top, weight.back());
          }
          for (double& s : weight) sum += s = std::exp(s - top);
          for (std::size_t j = 0; j < weight.size(); ++j) {
            for (std::int64_t i = 0; i < a.dim; ++i) {
              expected[static_cast<std::size_t>(row + i)] +=
                  weight[j] / sum *
                  static_cast<double>(
                      stored(v, begin[static_cast<std::size_t>(t)] + static_cast<std::int64_t>(j), kv, i));
            }
          }
        }
      }
      // Each weight of the softmax rounded to bf16 may be off by half its last bit.
      EXPECT_LE(relative_distance(out, expected), rounds ? 0x1p-9 : 3e-6) << a.dim << " " << tensor::info(type).name;
      EXPECT_EQ(alone, out);
    }
  }
}

TEST_P(Ops, ElementwiseHelpers) {
  const Context c = context(pool_);
  for (const std::int64_t count : {1, 17, 40000}) {
    auto x = random_floats(count, 1);
    const auto before = x, y = random_floats(count, 2);
    scale(c, x.data(), count, 3.0F);
    add(c, x.data(), y.data(), count);
    add_scaled(c, x.data(), y.data(), count, -2.0F);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], before[i] * 3 - y[i], 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Ops, testing::ValuesIn(runnable()), [](const auto& test) { return test.param; });

}  // namespace
}  // namespace carat::kernels
