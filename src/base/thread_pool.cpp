// The pool behind every parallel loop. One word, the gate, says which loop runs, whether it is open, and how many
// workers are inside; a worker that wakes late finds the gate closed and touches nothing, so nobody waits for a
// sleeper.
#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/checked.h"
#include "base/usable_cores.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace carat::base {

namespace {

// Workers wait this long in a busy loop before they sleep: the gap between two operations of one forward pass is far
// shorter, the gap between two requests far longer. Waking a sleeper costs about 50 microseconds.
constexpr auto kSpinTime = std::chrono::microseconds(100);
constexpr int kSpinsPerClockRead = 32;
// The caller waits for the last piece of another thread; if that thread lost its core, give the core back.
constexpr int kSpinsBeforeYield = 2000;

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

using Body = std::function<void(std::int64_t, std::int64_t, int)>;

// Layout of the gate: [loop number : 47][open : 1][workers inside : 16].
constexpr std::uint64_t kInsideMask = 0xFFFF;
constexpr std::uint64_t kOpen = 0x10000;
constexpr std::uint64_t kLoopStep = 0x20000;

}  // namespace

// Padded on purpose: what one thread writes at every step shares no cache line with what others read.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct ThreadPool::State {
  int threads = 1;
  bool spin = true;
  std::vector<std::jthread> workers;

  // The loop that runs now. Written by the caller while the gate is closed and nobody is inside.
  const Body* body = nullptr;
  std::int64_t count = 0;
  std::int64_t grain = 1;

  alignas(64) std::atomic<std::uint64_t> gate{0};
  alignas(64) std::atomic<std::int64_t> next{0};  // first index not yet taken
  alignas(64) std::atomic<int> sleepers{0};
  std::atomic<bool> stopping{false};

  std::mutex callers;  // one loop at a time
  std::mutex sleep_mutex;
  std::condition_variable wake;

  void run_pieces(int thread) {
    while (true) {
      const std::int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) return;
      (*body)(begin, std::min(begin + grain, count), thread);
    }
  }

  // True once a loop newer than `seen` is (or was) open, false on shutdown.
  bool wait_for_loop(std::uint64_t seen) {
    const auto news = [&] {
      const std::uint64_t now = gate.load(std::memory_order_seq_cst);
      return (now / kLoopStep != seen && (now & kOpen) != 0) || stopping.load(std::memory_order_seq_cst);
    };
    if (spin) {
      const auto until = std::chrono::steady_clock::now() + kSpinTime;
      do {
        for (int i = 0; i < kSpinsPerClockRead; ++i) {
          if (news()) return !stopping.load();
          pause_cpu();
        }
      } while (std::chrono::steady_clock::now() < until);
    }
    std::unique_lock lock(sleep_mutex);
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    wake.wait(lock, news);
    sleepers.fetch_sub(1, std::memory_order_seq_cst);
    return !stopping.load();
  }

  void work(int thread) {
    std::uint64_t seen = 0;
    while (wait_for_loop(seen)) {
      std::uint64_t now = gate.load(std::memory_order_acquire);
      bool entered = false;
      while ((now & kOpen) != 0 && now / kLoopStep != seen && !entered) {
        entered = gate.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel, std::memory_order_acquire);
      }
      if (!entered) continue;  // closed in the meantime
      seen = now / kLoopStep;
      run_pieces(thread);
      gate.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.threads = std::clamp(threads, 1, 1024);
  // Where they cannot all run, a spinning thread keeps a working one from its core, or spends the quota of both.
  s.spin = can_run_at_once(s.threads);
  s.workers.reserve(static_cast<std::size_t>(s.threads - 1));
  for (int i = 1; i < s.threads; ++i) {
    s.workers.emplace_back([&s, i] { s.work(i); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->sleep_mutex);
    state_->stopping.store(true, std::memory_order_seq_cst);
  }
  state_->wake.notify_all();
  state_->workers.clear();  // joins
}

int ThreadPool::threads() const { return state_->threads; }

void ThreadPool::parallel_for(std::int64_t count, std::int64_t grain, const Body& body) {
  State& s = *state_;
  if (count <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::lock_guard one_loop(s.callers);
  if (s.workers.empty() || count <= grain) {
    for (std::int64_t begin = 0; begin < count; begin += grain) body(begin, std::min(begin + grain, count), 0);
    return;
  }
  s.body = &body;
  s.count = count;
  s.grain = grain;
  s.next.store(0, std::memory_order_relaxed);
  // Gate closed, nobody inside: the end of the last loop made sure. The store publishes the fields above.
  const std::uint64_t loop = s.gate.load(std::memory_order_relaxed) / kLoopStep + 1;
  s.gate.store(loop * kLoopStep + kOpen, std::memory_order_seq_cst);
  if (s.sleepers.load(std::memory_order_seq_cst) > 0) {
    // Taking the lock closes the window between a worker's last look at the gate and its sleep.
    {
      const std::lock_guard lock(s.sleep_mutex);
    }
    s.wake.notify_all();
  }
  s.run_pieces(0);
  s.gate.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spins = 0; (s.gate.load(std::memory_order_acquire) & kInsideMask) != 0; ++spins) {
    if (spins < kSpinsBeforeYield) {
      pause_cpu();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace carat::base
