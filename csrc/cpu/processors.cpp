#include "processors.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <thread>

namespace hashgcn::cpu {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

static int64_t limit_of(double quota, double period) {
  if (!(quota > 0 && period > 0)) return kNoLimit;
  const double processors = quota / period;
  return processors < 1 ? 1 : processors < 1e9 ? int64_t(processors + 0.999) : kNoLimit;
}

// Version 2 has "quota period" or "max period" in one file, version 1 a file for each, -1 for none.
static int64_t group_limit(const std::string& folder) {
  double quota = 0, period = 0;
  if (std::ifstream(folder + "/cpu.max") >> quota >> period) return limit_of(quota, period);
  std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
  std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  return limit_of(quota, period);
}

// The least of a group and those above it; a container may show its own group as the topmost.
static int64_t groups_limit(const std::string& root) {
  int64_t limit = kNoLimit;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:/path
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string mount = root + "/sys/fs/cgroup";
    if (!controllers.empty()) {
      if (("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
      const std::string own = mount + "/" + controllers;
      mount = std::ifstream(own + "/cpu.cfs_quota_us") ? own : mount + "/cpu";
    }
    std::string path = line.substr(second + 1);
    for (;;) {
      limit = std::min(limit, group_limit(mount + path));
      const size_t slash = path.rfind('/');
      if (slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return limit;
}

static int64_t runnable() {
  // Machines may have more processors than cpu_set_t has room for.
  for (int size = CPU_SETSIZE; size <= CPU_SETSIZE * 64; size *= 2) {
    cpu_set_t* set = CPU_ALLOC(size);
    if (set == nullptr) break;
    const bool found = sched_getaffinity(0, CPU_ALLOC_SIZE(size), set) == 0;
    const int64_t count = found ? CPU_COUNT_S(CPU_ALLOC_SIZE(size), set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return std::max(1u, std::thread::hardware_concurrency());
}

int64_t processors(const std::string& root) {
  static const int64_t own_limit = groups_limit("");
  return std::min(runnable(), root.empty() ? own_limit : groups_limit(root));
}

int64_t num_threads(int64_t wanted) {
  if (wanted == 0) {
    const char* variable = std::getenv("OMP_NUM_THREADS");  // a list for nested regions, perhaps
    if (variable != nullptr) wanted = std::max<int64_t>(0, std::strtoll(variable, nullptr, 10));
  }
  const int64_t most = processors();
  return wanted == 0 ? most : std::min(wanted, most);
}

}  // namespace hashgcn::cpu
