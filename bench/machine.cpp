#include "bench/machine.hpp"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

namespace ackbus::bench {
namespace {

constexpr int kCpusMax = CPU_SETSIZE;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

int number_in(const std::string& path) {
  std::ifstream file(path);
  int number = -1;
  return file >> number ? number : -1;
}

std::vector<CorePlace> allowed_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  std::vector<CorePlace> places;
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) {
    return places;
  }
  for (int cpu = 0; cpu < kCpusMax; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) {
      const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
      places.push_back(
          {cpu, number_in(folder + "core_id"), number_in(folder + "physical_package_id")});
    }
  }
  return places;
}

// 0 is best.
int distance(const CorePlace& one, const CorePlace& other) {
  if (one.package != other.package) {
    return 1;
  }
  return one.core == other.core && one.core >= 0 ? 2 : 0;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {  // Bounded by the file.
    if (line.starts_with("model name")) {
      const std::size_t colon = line.find(':');
      return colon == std::string::npos ? line : line.substr(line.find_first_not_of(": ", colon));
    }
  }
  return "unknown";
}

}  // namespace

CorePair choose_pair(const std::vector<CorePlace>& allowed) {
  static const char* const kRelations[] = {"different cores of one package", "different packages",
                                           "threads of one core"};
  CorePair best;
  int best_distance = 3;
  // The first core stays; the machine's other cores are compared with it.
  for (std::size_t i = 1; i < allowed.size(); ++i) {
    const int apart = distance(allowed[0], allowed[i]);
    if (apart < best_distance) {
      best = {allowed[0].number, allowed[i].number, kRelations[apart]};
      best_distance = apart;
    }
  }
  return best;
}

CorePair choose_cores() { return choose_pair(allowed_cores()); }

bool pin_to(int core) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(static_cast<unsigned>(core), &mask);
  return sched_setaffinity(0, sizeof(mask), &mask) == 0;
}

Machine describe_machine() {
  Machine machine;
  machine.cpu = cpu_name();
  utsname names{};
  if (uname(&names) == 0) {
    machine.kernel = std::string(names.sysname) + " " + names.release;
  }
  machine.governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  if (machine.governor.empty()) {
    machine.governor = "none";
  }
  machine.cores_online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return machine;
}

}  // namespace ackbus::bench
