// Quotas of control groups as Linux writes them, and how many threads they leave room for.
#include "base/usable_cores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace carat::base {
namespace {

namespace fs = std::filesystem;

class CpuQuota : public testing::Test {
 protected:
  void SetUp() override {
    root_ =
        fs::temp_directory_path() / ("carat_quota_" + std::to_string(testing::UnitTest::GetInstance()->random_seed()) +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) const {
    const fs::path file = root_.string() + path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  double quota() const { return cpu_quota(root_.string()); }
  fs::path root_;
};

TEST_F(CpuQuota, Version2TakesTheTightestOfAGroupAndItsParents) {
  write("/proc/self/cgroup", "0::/a/b\n");
  write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_GE(quota(), 1e9);
  write("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  EXPECT_DOUBLE_EQ(quota(), 1.5);
  write("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
  EXPECT_DOUBLE_EQ(quota(), 1.5);
  write("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  EXPECT_DOUBLE_EQ(quota(), 0.5);
}

TEST_F(CpuQuota, Version1HasTwoFilesAndItsOwnMount) {
  write("/proc/self/cgroup", "12:memory:/m\n4:cpu,cpuacct:/docker/1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
  EXPECT_GE(quota(), 1e9);
  write("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "300000\n");
  EXPECT_DOUBLE_EQ(quota(), 3);
}

TEST_F(CpuQuota, InsideAContainerTheRootOfTheMountCounts) {
  write("/proc/self/cgroup", "0::/system.slice/of/the/host\n");
  write("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_DOUBLE_EQ(quota(), 2);
}

TEST_F(CpuQuota, NonsenseIsNoQuota) {
  EXPECT_GE(quota(), 1e9);  // no files at all
  write("/proc/self/cgroup", "0::/\n:\nx\n5:cpu\n0::relative\n");
  for (const char* text : {"", "max", "100000", "x y", "100000 0", "100000 -1", "100000 x"}) {
    write("/sys/fs/cgroup/cpu.max", text);
    EXPECT_GE(quota(), 1e9) << text;
  }
}

TEST(UsableCores, IsAtLeastOneAndNoMoreThanTheMachineHas) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
}

#if defined(__linux__)
TEST(UsableCores, FollowTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  int first = 0;
  while (!CPU_ISSET(static_cast<unsigned>(first), &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<unsigned>(first), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_cores(), 1);
  EXPECT_FALSE(can_run_at_once(2));
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  EXPECT_FALSE(can_run_at_once(CPU_COUNT(&before) + 1));
}
#endif

}  // namespace
}  // namespace carat::base
