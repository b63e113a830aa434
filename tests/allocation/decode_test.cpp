// Decoding allocates nothing: once a workspace has grown, a forward pass of one token takes no memory from the heap, on
// any checkpoint, with any kernel table, on the calling thread or the pool's.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "model/tiny_model.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

void* allocate(std::size_t size, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
  size = size == 0 ? alignment : (size + alignment - 1) / alignment * alignment;
  void* out = std::aligned_alloc(alignment, size);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}
// A function of its own: gcc inlines the operators below one by one, and takes free() of a pointer whose operator new
// it did not inline for a mistake.
[[gnu::noinline]] void release(void* p) noexcept { std::free(p); }
constexpr std::size_t kDefault = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

void* operator new(std::size_t size) { return allocate(size, kDefault); }
void* operator new[](std::size_t size) { return allocate(size, kDefault); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { release(p); }

namespace carat::test {
namespace {

class Decode : public testing::TestWithParam<GoldenCase> {};

TEST_P(Decode, AllocatesNothing) {
  for (const std::string& isa : kernels::isa_names()) {
    if (isa == "auto" || !kernels::select_kernels(isa)) continue;
    SCOPED_TRACE(isa);
    TinyModel model(GetParam().model, isa);
    ASSERT_TRUE(model.ok());
    const std::vector<model::TokenId> prompt = {2, 9, 14, 30, 31, 8, 77, 5, 41, 42};
    for (const tensor::DType type : {tensor::DType::f32, tensor::DType::f16, tensor::DType::bf16}) {
      model::KvCache cache = model.cache(128, 32, type);
      model.run(cache, prompt, static_cast<std::int64_t>(prompt.size()) - 1);
      for (model::TokenId id = 10; id < 14; ++id) model.run(cache, {&id, 1}, 0);
      allocations = 0;
      bool good = true;
      for (model::TokenId id = 20; id < 60; ++id) {  // the rings wrap meanwhile
        const model::SequenceChunk chunk{&cache, {&id, 1}, 0};
        counting = true;
        const auto logits = model.transformer().forward(model.context(), model.workspace(), {&chunk, 1});
        counting = false;
        good = good && logits.has_value();
      }
      EXPECT_TRUE(good);
      EXPECT_EQ(allocations.load(), 0) << "in 40 tokens, cache " << tensor::info(type).name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Decode, testing::ValuesIn(golden_cases()), case_name);

TEST(Allocations, AreCounted) {
  allocations = 0;
  counting = true;
  std::vector<int> some(100);
  counting = false;
  EXPECT_EQ(some.size(), 100U);
  EXPECT_EQ(allocations.load(), 1);
}

}  // namespace
}  // namespace carat::test
