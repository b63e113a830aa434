#include "base/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace carat::base {
namespace {

TEST(Arena, PiecesAreAlignedZeroAndApart) {
  Arena arena;
  std::vector<std::pair<std::byte*, std::size_t>> pieces;
  for (const std::size_t bytes : {1U, 64U, 65U, 100000U, 300U << 20U, 3U}) {  // one larger than a chunk
    const auto piece = arena.allocate(bytes);
    ASSERT_TRUE(piece);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(*piece) % 64, 0U);
    const std::size_t written = std::min<std::size_t>(bytes, 100000);
    for (std::size_t i = 0; i < written; ++i) ASSERT_EQ((*piece)[i], std::byte{0});
    std::memset(*piece, static_cast<int>(pieces.size() + 1), written);
    pieces.emplace_back(*piece, written);
  }
  const Arena moved = std::move(arena);
  for (std::size_t n = 0; n < pieces.size(); ++n) {
    for (std::size_t i = 0; i < pieces[n].second; ++i) ASSERT_EQ(pieces[n].first[i], static_cast<std::byte>(n + 1));
  }
}

TEST(Arena, MoreThanThereIsIsAnError) {
  Arena arena;
  const auto piece = arena.allocate(std::size_t{1} << 60);
  ASSERT_FALSE(piece);
  EXPECT_EQ(piece.error().code, ErrorCode::out_of_memory);
  EXPECT_TRUE(arena.allocate(10));
}

}  // namespace
}  // namespace carat::base
