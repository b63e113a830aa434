// A fixed set of worker threads that run one parallel loop at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace carat::base {

/// Threads that wait (spinning briefly, then sleeping) for parallel loops. One loop runs at a time; concurrent callers
/// queue. The calling thread takes part, so a pool of 1 owns no thread.
class ThreadPool {
 public:
  /// `threads` >= 1 in all, the caller counted.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  /// Calls body(begin, end, thread) over [0, count) in pieces of at most `grain`, each index once, on any thread
  /// (0 <= thread < threads()). Returns when all are done. The body must not throw and must not call the pool.
  void parallel_for(std::int64_t count, std::int64_t grain,
                    const std::function<void(std::int64_t begin, std::int64_t end, int thread)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace carat::base
