// How many threads are worth starting: physical cores in the affinity mask, cut down to the CPU quota of the control
// groups (versions 1 and 2) the process stands in.
#include "base/usable_cores.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/concat.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace carat::base {

namespace {

std::optional<std::string> first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line)) return std::nullopt;
  return line;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

// Cores the quota of one group allows: version 2 writes "max 100000" or "150000 100000" (microseconds per period).
std::optional<double> quota_v2(const std::string& folder) {
  const auto line = first_line(folder + "/cpu.max");
  if (!line) return std::nullopt;
  const std::size_t space = line->find(' ');
  if (space == std::string::npos) return std::nullopt;
  const auto quota = number(std::string_view(*line).substr(0, space));
  const auto period = number(std::string_view(*line).substr(space + 1));
  if (!quota || !period || *period <= 0) return std::nullopt;
  return *quota / *period;
}

// Version 1 keeps the two numbers in two files; -1 means no limit.
std::optional<double> quota_v1(const std::string& folder) {
  const auto quota_line = first_line(folder + "/cpu.cfs_quota_us");
  const auto period_line = first_line(folder + "/cpu.cfs_period_us");
  if (!quota_line || !period_line) return std::nullopt;
  const auto quota = number(*quota_line);
  const auto period = number(*period_line);
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return *quota / *period;
}

// Processors in the affinity mask, numbered as the system does; all of the machine where there is no mask.
std::vector<int> allowed_processors() {
  std::vector<int> allowed;
#if defined(__linux__)
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<unsigned>(cpu), &mask)) allowed.push_back(cpu);
    }
  }
#endif
  if (allowed.empty()) {
    allowed.resize(std::max(1U, std::thread::hardware_concurrency()));
    std::iota(allowed.begin(), allowed.end(), 0);
  }
  return allowed;
}

}  // namespace

// The tightest quota of the process's groups and their parents. Inside a container the path may lie outside of what is
// mounted; the root of the mount is tried then too.
double cpu_quota(const std::string& root) {
  double cores = 1e9;
  const auto consider = [&](std::string path, const auto& read, const std::string& mount) {
    while (true) {
      if (const auto quota = read(mount + path)) cores = std::min(cores, *quota);
      if (path.empty() || path == "/") break;
      path.resize(path.rfind('/'));
    }
  };
  std::ifstream groups(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {  // "0::/path" or "4:cpu,cpuacct:/path"
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (path.empty() || path.front() != '/') continue;
    if (controllers.empty()) {
      consider(path, quota_v2, root + "/sys/fs/cgroup");
    } else if (controllers == "cpu" || controllers.starts_with("cpu,") || controllers.ends_with(",cpu")) {
      consider(path, quota_v1, root + "/sys/fs/cgroup/" + controllers);
      consider(path, quota_v1, root + "/sys/fs/cgroup/cpu");
    }
  }
  return cores;
}

int usable_cores() {
  // Threads of one core share its arithmetic units: two of them gain little and cost cache. Count each core once.
  std::set<std::string> siblings;
  int cores = 0;
  for (const int cpu : allowed_processors()) {
    const auto list = first_line(concat("/sys/devices/system/cpu/cpu", cpu, "/topology/thread_siblings_list"));
    if (!list || siblings.insert(*list).second) ++cores;
  }
  const double quota = cpu_quota();
  if (quota < cores) cores = static_cast<int>(std::ceil(quota));
  return std::max(cores, 1);
}

bool can_run_at_once(int threads) {
  return threads <= static_cast<int>(allowed_processors().size()) && threads <= cpu_quota();
}

}  // namespace carat::base
