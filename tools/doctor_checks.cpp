// The single looks of `ackbus doctor` at the machine; command_doctor.cpp puts them together.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "shm_layout/limits.hpp"
#include "tools/command_doctor.hpp"
#include "tools/version.hpp"

namespace ackbus::tools {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ >= 0) {
      close(descriptor_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

std::string last_error() { return std::strerror(errno); }

// What the daemon does with each segment, on one page; the text says which step failed.
std::string try_seals() {
  constexpr std::size_t kBytes = 4096;
  const Descriptor memory(memfd_create("ackbus-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (memory.get() < 0) {
    return "memfd_create: " + last_error();
  }
  if (posix_fallocate(memory.get(), 0, kBytes) != 0) {
    return "posix_fallocate failed";
  }
  void* mapped = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapped == MAP_FAILED) {
    return "mmap: " + last_error();
  }
  std::string failed;
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
  if (fcntl(memory.get(), F_ADD_SEALS, kSeals) != 0) {
    failed = "F_ADD_SEALS: " + last_error();
  } else {
    void* second = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    if (second != MAP_FAILED) {
      munmap(second, kBytes);
      failed = "a sealed segment could be mapped for writing again";
    }
  }
  munmap(mapped, kBytes);
  const std::string path = "/proc/self/fd/" + std::to_string(memory.get());
  const Descriptor reader(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (failed.empty() && reader.get() < 0) {
    failed = "reopening through /proc/self/fd: " + last_error();
  }
  return failed;
}

}  // namespace

Finding examine_kernel() {
  utsname facts{};
  uname(&facts);
  const std::string release = std::string(facts.sysname) + " " + facts.release;
  const Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (process.get() < 0) {
    return {Health::kBad, "kernel", release + ": pidfd_open: " + last_error(),
            "use Linux 5.3 or newer; in a container, allow pidfd_open"};
  }
  return {Health::kGood, "kernel", release + ", pidfd works", ""};
}

Finding examine_seals() {
  const std::string failed = try_seals();
  if (!failed.empty()) {
    return {Health::kBad, "memfd seals", failed,
            "use Linux 5.1 or newer with /proc mounted; in a container, allow memfd_create"};
  }
  return {Health::kGood, "memfd seals", "allocate, seal, reopen read-only: all work", ""};
}

Finding examine_descriptor_limit(std::uint32_t links) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const std::uint64_t need = layout::open_descriptors(links);
  const std::string detail = std::to_string(limit.rlim_cur) + " (at most " +
                             std::to_string(limit.rlim_max) + "), " + std::to_string(need) +
                             " for " + std::to_string(links) + " link(s)";
  if (limit.rlim_max < need) {
    return {Health::kBad, "descriptors", detail, "raise LimitNOFILE of the service, or ulimit -n"};
  }
  return {Health::kGood, "descriptors", detail, ""};
}

Finding examine_memory(const DoctorOptions& options, std::uint64_t available_bytes) {
  const std::uint64_t need = link_cost(options.slots, options.arena_bytes).total() * options.links;
  const std::string detail = format_bytes(available_bytes) + " available, " + format_bytes(need) +
                             " for this configuration";
  if (available_bytes == UINT64_MAX) {
    return {Health::kRemark, "memory", "/proc/meminfo does not say what is available", ""};
  }
  if (need > available_bytes) {
    return {Health::kBad, "memory", detail, "ask for fewer links or a smaller arena"};
  }
  return {Health::kGood, "memory", detail, ""};
}

Finding examine_runtime_dir(const CommonOptions& common) {
  const Result<std::string> found = find_runtime_dir(common.runtime_dir);
  if (!found) {
    return {Health::kBad, "runtime directory", found.error().text, "name one with --runtime-dir"};
  }
  struct stat facts {};
  if (stat(found->c_str(), &facts) != 0) {
    return {Health::kRemark, "runtime directory", *found + ": " + last_error(),
            "ackbus run makes it; as a service, systemd-tmpfiles does"};
  }
  if (access(found->c_str(), X_OK) != 0) {
    return {Health::kBad, "runtime directory", *found + ": this user may not enter it",
            "join the group that owns it, or name another with --runtime-dir"};
  }
  const std::string socket = *found + "/" + common.bus + ".sock";
  if (stat(socket.c_str(), &facts) != 0) {
    return {Health::kRemark, "runtime directory", *found + " has no " + common.bus + ".sock",
            "start a bus: ackbus run, or systemctl start ackbusd.socket"};
  }
  if (access(socket.c_str(), W_OK) != 0) {
    return {Health::kBad, "runtime directory", socket + ": this user may not connect",
            "join the group that owns it"};
  }
  return {Health::kGood, "runtime directory", socket, ""};
}

Finding examine_devices() {
  std::vector<std::string> devices;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/dev", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.rfind("nvidia", 0) == 0) {
      devices.push_back(name);
    }
  }
  if (devices.empty()) {
    return {Health::kRemark, "GPU", "no /dev/nvidia*: ackbus-gpu computes on CPU threads", ""};
  }
  std::sort(devices.begin(), devices.end());
  std::string names;
  for (const std::string& name : devices) {
    names += (names.empty() ? "/dev/" : ", ") + name;
    if (access(("/dev/" + name).c_str(), R_OK | W_OK) != 0 &&
        !std::filesystem::is_directory("/dev/" + name, error)) {
      return {Health::kBad, "GPU", "/dev/" + name + ": this user may not use it",
              "join the group that owns it (often video or render)"};
    }
  }
  if (find_cuda_plugin().empty()) {
    return {Health::kRemark, "GPU", names + ", but the CUDA plug-in is not installed",
            "install libackbus_cuda.so beside ackbus-gpu"};
  }
  return {Health::kGood, "GPU", names + ", plug-in " + find_cuda_plugin(), ""};
}

Finding examine_programs() {
  for (const char* name : {"ackbusd", "ackbus-gpu"}) {
    if (find_program(name).empty()) {
      return {Health::kRemark, "programs", std::string(name) + " is not installed",
              "install it beside ackbus or in $PATH"};
    }
  }
  return {Health::kGood, "programs", "ackbusd and ackbus-gpu in " + own_folder(), ""};
}

}  // namespace ackbus::tools
