// What of the machine's processors this process may use.
#pragma once

#include <string>

namespace carat::base {

/// Physical cores this process may use: affinity mask and cgroup quota considered, at least 1.
int usable_cores();

/// Whether `threads` threads of this process can all run at the same moment: there are as many processors (two to a
/// core where it runs two threads) in the affinity mask, and the cgroup quota reaches for all.
bool can_run_at_once(int threads);

/// Cores the CPU quota of the control groups (versions 1 and 2) this process stands in leaves it, 1e9 when there is
/// none. `root` stands before /proc/self/cgroup and /sys/fs/cgroup, for tests.
double cpu_quota(const std::string& root = "");

}  // namespace carat::base
