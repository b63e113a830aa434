// Fuzzes the products of weights of every type with every kernel table of this machine against plain sums in double:
// any bytes as weights, activations of 60 binary orders up and 130 down, any small shape. Packed weights give the bits
// of mapped ones, a token alone those of a batch, and a NaN among the activations shows.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/arena.h"
#include "base/thread_pool.h"
#include "kernels/abi.h"
#include "kernels/ops.h"

namespace {

using namespace carat;

/// The input byte by byte; after its end a fixed sequence goes on.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  std::uint8_t next() {
    if (at_ < size_) return data_[at_++];
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<std::uint8_t>(state_ >> 56);
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_, at_ = 0;
  std::uint64_t state_ = 1;
};

struct Case {
  tensor::DType type = tensor::DType::f32;
  std::int64_t rows = 0, in = 0, tokens = 0;
  std::unique_ptr<std::byte[]> bytes;  ///< exactly the matrix: a read past its end is seen by the address sanitizer
  std::vector<float> x;
  std::int64_t bad_token = -1;  ///< that has a NaN

  tensor::TensorView view() const { return {type, tensor::Shape{rows, in}, bytes.get()}; }
};

Case read_case(Bytes& input) {
  std::vector<tensor::DType> types;
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.decode != nullptr) types.push_back(type.dtype);
  }
  Case out;
  out.type = types[input.next() % types.size()];
  const tensor::DTypeInfo& type = tensor::info(out.type);
  out.rows = 1 + input.next() % 35;
  out.in = type.block_elements == 1 ? 1 + input.next() % 200 : type.block_elements * (1 + input.next() % 9);
  out.tokens = 1 + input.next() % 9;
  const bool bad = input.next() % 8 == 0;
  const auto size = static_cast<std::size_t>(out.view().size_bytes());
  out.bytes = std::make_unique<std::byte[]>(size);
  out.x.resize(static_cast<std::size_t>(out.tokens * out.in));
  const int low = -static_cast<int>(input.next() % 131), high = static_cast<int>(input.next() % 61);
  for (float& v : out.x) {
    const auto mantissa = static_cast<std::int8_t>(input.next());
    v = std::ldexp(static_cast<float>(mantissa), low + static_cast<int>(input.next()) % (high - low + 1) - 7);
  }
  for (std::size_t i = 0; i < size; ++i) out.bytes[i] = static_cast<std::byte>(input.next());
  if (bad) {
    out.bad_token = input.next() % out.tokens;
    out.x[static_cast<std::size_t>(out.bad_token * out.in + input.next() % out.in)] = NAN;
  }
  return out;
}

[[noreturn]] void wrong(const Case& c, const char* isa, const char* what) {
  std::fprintf(stderr, "%s, %s: %lld x %lld, %lld tokens: %s\n", isa, std::string(tensor::info(c.type).name).c_str(),
               static_cast<long long>(c.rows), static_cast<long long>(c.in), static_cast<long long>(c.tokens), what);
  std::abort();
}

bool same(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b)); }

// Products of bf16 take denormal numbers for zero.
bool denormal(double value) { return std::abs(value) < static_cast<double>(std::numeric_limits<float>::min()); }

// What the kernel multiplies with: the activations themselves, or what the table's own rounding makes of them.
std::vector<double> activations(const Case& c, const kernels::KernelTable& table, const float* x) {
  std::vector<double> out(x, x + c.in);
  const kernels::Activations how = table.takes[static_cast<std::size_t>(c.type)];
  if (how == kernels::Activations::f32) return out;
  if (how == kernels::Activations::bf16) {
    const std::int64_t padded = (c.in + kernels::kRoundedGroup - 1) / kernels::kRoundedGroup * kernels::kRoundedGroup;
    std::vector<std::uint16_t> rounded(static_cast<std::size_t>(padded), 0xFFFF);
    table.round_row(x, c.in, padded, rounded.data());
    for (std::size_t i = 0; i < rounded.size(); ++i) {
      const auto value = static_cast<double>(tensor::bf16_to_f32(rounded[i]));
      const double wanted = i < out.size() ? out[i] : 0;
      if (std::abs(value - wanted) > std::abs(wanted) * 0x1p-8 + 0x1p-134)
        wrong(c, table.name, "an activation is rounded too far");
      if (i < out.size()) out[i] = denormal(value) ? 0 : value;
    }
    return out;
  }
  const std::int64_t padded =
      (c.in + kernels::kActivationGroup - 1) / kernels::kActivationGroup * kernels::kActivationGroup;
  const auto blocks = static_cast<std::size_t>(padded / 32);
  std::vector<std::int8_t> q(static_cast<std::size_t>(padded));
  std::vector<float> scale(blocks), sum(blocks), half_sum(2 * blocks), total(blocks), half_total(2 * blocks);
  table.quantise_row(x, c.in, padded, q.data(), scale.data(), sum.data(), half_sum.data(), total.data(),
                     half_total.data());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double d = static_cast<double>(scale[i / 32]), rounded = d * q[i];
    // Half a step, and what f32 loses; blocks below 2^-119 count as zeros.
    if (std::abs(rounded - out[i]) > d * 0.5001 + 0x1p-119) wrong(c, table.name, "an activation is rounded too far");
    out[i] = rounded;
  }
  return out;
}

void check(const Case& c, const char* isa) {
  static base::ThreadPool pool(1);
  const auto chosen = kernels::select_kernels(isa);
  if (!chosen) return;  // not on this processor
  const kernels::KernelTable& table = *chosen->table;
  const kernels::Context context(chosen->table, pool);
  base::Arena memory;
  const kernels::Packing packing{pool, memory};
  const auto mapped = kernels::pack(table, c.view()), packed = kernels::pack(table, c.view(), &packing);
  if (!mapped || !packed) wrong(c, isa, "the matrix is refused");
  const auto product = [&](const kernels::PackedMatrix& matrix, const float* x, std::int64_t tokens) {
    std::vector<float> out(static_cast<std::size_t>(tokens * c.rows), -1.0F);
    const kernels::MatmulTarget target{&matrix, out.data(), 0};
    kernels::matmul(context, x, tokens, {&target, 1});
    return out;
  };
  const std::vector<float> out = product(*mapped, c.x.data(), c.tokens), other = product(*packed, c.x.data(), c.tokens);
  std::vector<float> row(static_cast<std::size_t>(c.in));
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    const float* x = c.x.data() + t * c.in;
    const std::vector<float> alone = product(*packed, x, 1);
    const bool bad = t == c.bad_token;
    const std::vector<double> used = bad ? std::vector<double>() : activations(c, table, x);
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const auto at = static_cast<std::size_t>(t * c.rows + r);
      if (!same(out[at], other[at])) wrong(c, isa, "packed weights give other bits");
      if (!same(out[at], alone[static_cast<std::size_t>(r)])) wrong(c, isa, "a token alone gives other bits");
      if (bad) {
        if (std::isfinite(out[at])) wrong(c, isa, "a NaN is hidden");
        continue;
      }
      tensor::decode_row(c.view(), r, row);
      if (table.takes[static_cast<std::size_t>(c.type)] == kernels::Activations::bf16) {
        for (float& value : row) value = denormal(static_cast<double>(value)) ? 0 : value;
      }
      double expected = 0, magnitude = 0, largest = 0;
      for (std::size_t i = 0; i < row.size(); ++i) {
        expected += static_cast<double>(row[i]) * used[i];
        magnitude += std::abs(static_cast<double>(row[i]) * used[i]);
        largest = std::max(largest, std::abs(static_cast<double>(row[i])));
      }
      // Where f32 cannot hold a sum, or a weight is no number, anything but an answer that looks right may come out.
      if (!(magnitude < 1e37) || !(largest < 1e37)) continue;
      if (!(std::abs(static_cast<double>(out[at]) - expected) <= 2e-6 * magnitude + 1e-37))
        wrong(c, isa, "not the plain sum");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes input(data, size);
  const Case c = read_case(input);
  for (const std::string& isa : kernels::isa_names()) {
    if (isa != "auto") check(c, isa.c_str());
  }
  return 0;
}
