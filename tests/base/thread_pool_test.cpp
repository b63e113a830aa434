// The pool runs every index exactly once, whatever the sizes, after sleeping, under concurrent callers and with more
// threads than cores; and what a loop wrote is visible to its caller.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace carat::base {
namespace {

TEST(ThreadPool, RunsEveryIndexOnceInPiecesOfAtMostTheGrain) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::int64_t count : {0, 1, 2, 7, 64, 1000}) {
      for (const std::int64_t grain : {1, 3, 64, 5000}) {
        // Plain integers, not atomics: each index is one thread's alone, and the caller reads them afterwards.
        std::vector<int> seen(static_cast<std::size_t>(count), 0);
        std::atomic<bool> in_bounds{true};
        pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
          if (begin < 0 || begin >= end || end > count || end - begin > grain || thread < 0 || thread >= threads)
            in_bounds = false;
          for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        });
        EXPECT_TRUE(in_bounds) << threads << " threads, " << count << " by " << grain;
        EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(count), 1))
            << threads << " threads, " << count << " by " << grain;
      }
    }
  }
}

TEST(ThreadPool, LoopsRightAfterEachOtherDoNotMix) {
  for (const int threads : {2, 5}) {
    ThreadPool pool(threads);
    std::vector<std::int64_t> values(64, 0);
    for (std::int64_t round = 1; round <= 5000; ++round) {
      pool.parallel_for(64, 4, [&](std::int64_t begin, std::int64_t end, int) {
        // A worker still inside the round before would find another value here.
        for (std::int64_t i = begin; i < end; ++i) values[static_cast<std::size_t>(i)] += round;
      });
      ASSERT_EQ(std::accumulate(values.begin(), values.end(), std::int64_t{0}), 64 * round * (round + 1) / 2);
    }
  }
}

TEST(ThreadPool, WakesSleepingWorkers) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far longer than workers spin
    // Both pieces wait for each other, so this ends only if the second thread wakes.
    std::atomic<int> arrived{0};
    pool.parallel_for(2, 1, [&](std::int64_t, std::int64_t, int) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    EXPECT_EQ(arrived, 2);
  }
}

TEST(ThreadPool, ConcurrentCallersQueue) {
  ThreadPool pool(3);
  std::atomic<int> running{0}, most{0};
  std::atomic<std::int64_t> total{0};
  {
    std::vector<std::jthread> callers;
    for (int c = 0; c < 4; ++c) {
      callers.emplace_back([&, c] {
        for (int round = 0; round < 300; ++round) {
          std::vector<std::int64_t> out(100);
          pool.parallel_for(100, 9, [&](std::int64_t begin, std::int64_t end, int) {
            const int now = ++running;
            for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
            }
            for (std::int64_t i = begin; i < end; ++i) out[static_cast<std::size_t>(i)] = c + i;
            --running;
          });
          total += std::accumulate(out.begin(), out.end(), std::int64_t{0});
        }
      });
    }
  }
  EXPECT_EQ(total, 300 * (4 * 4950 + 100 * (0 + 1 + 2 + 3)));
  EXPECT_LE(most, 3);  // never more than the pool's threads at work
}

TEST(ThreadPool, EndsWhileWorkersSpinAndWhileTheySleep) {
  for (int round = 0; round < 200; ++round) {
    ThreadPool pool(3);
    std::atomic<int> runs{0};
    if (round % 2 == 0) pool.parallel_for(10, 1, [&](std::int64_t, std::int64_t, int) { ++runs; });
    if (round % 50 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(runs, round % 2 == 0 ? 10 : 0);
  }
}

#if defined(__linux__)
// Threads of this process that the kernel calls sleeping, and how many there are.
std::pair<int, int> sleeping_threads() {
  int sleeping = 0, all = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "stat");
    std::string line;
    std::getline(file, line);  // "1234 (name) S …", and a name may hold anything
    const std::size_t end = line.rfind(')');
    if (end == std::string::npos || end + 2 >= line.size()) continue;  // ended in the meantime
    ++all;
    sleeping += line[end + 2] == 'S';
  }
  return {sleeping, all};
}

TEST(ThreadPool, IdleWorkersSleep) {
  const int others = sleeping_threads().second;  // this thread and, under sanitizers, theirs
  ThreadPool pool(8);
  pool.parallel_for(1000, 1, [](std::int64_t, std::int64_t, int) {});
  // However busy the machine, workers that have nothing to do all sleep at some time, and stay so.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  int in_a_row = 0;
  while (in_a_row < 20 && std::chrono::steady_clock::now() < patience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto [sleeping, all] = sleeping_threads();
    in_a_row = sleeping >= 7 && all >= others + 7 ? in_a_row + 1 : 0;
  }
  EXPECT_EQ(in_a_row, 20);
}
#endif

}  // namespace
}  // namespace carat::base
