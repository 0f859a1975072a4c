#include "daemon/fd_store.hpp"

#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>

namespace ackbus::daemon {
namespace {

// The kernel passes at most 253 descriptors in one message.
constexpr std::size_t kMaxFdsPerMessage = 200;

bool is_name_character(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= '0' && letter <= '9') || letter == '_' || letter == '.' || letter == '-';
}

Error name_error(const std::string& name) {
  return {ErrorCode::kInvalid,
          "descriptor store: bad name " + name + ": use 1 to 8 of A-Z a-z 0-9 _ . -"};
}

}  // namespace

FdStore::FdStore() : available_(std::getenv("NOTIFY_SOCKET") != nullptr) {
  const char* capacity = std::getenv("FDSTORE");
  if (available_ && capacity != nullptr) {
    const std::string_view text(capacity);
    std::from_chars(text.data(), text.data() + text.size(), capacity_);
  }
}

void FdStore::adopt(const NamedFds& kept) {
  for (const auto& [name, fds] : kept) {
    counts_[name] += fds.size();
    count_ += fds.size();
  }
}

bool FdStore::is_valid_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameLength &&
         std::all_of(name.begin(), name.end(), is_name_character);
}

Result<void> FdStore::put(const std::string& name, std::span<const int> fds) {
  if (!is_valid_name(name)) {
    return name_error(name);
  }
  if (available_ && capacity_ != 0 && count_ + fds.size() > capacity_) {
    return {ErrorCode::kFull, "descriptor store: the service manager keeps " +
                                  std::to_string(capacity_) +
                                  " and no more: raise FileDescriptorStoreMax and $FDSTORE"};
  }
  // Without FDPOLL=0 the manager would drop a control socket whose client hung up while we were
  // gone, and we would never learn that this client has ended.
  const std::string state = "FDSTORE=1\nFDNAME=" + name + "\nFDPOLL=0";
  while (available_ && !fds.empty()) {
    const auto part = fds.first(std::min(fds.size(), kMaxFdsPerMessage));
    const int sent = sd_pid_notify_with_fds(0, 0, state.c_str(), part.data(),
                                            static_cast<unsigned>(part.size()));
    if (sent < 0) {
      return system_error("descriptor store: " + name + " cannot be kept", -sent);
    }
    counts_[name] += part.size();
    count_ += part.size();
    fds = fds.subspan(part.size());
  }
  return {};
}

Result<void> FdStore::remove(const std::string& name) {
  if (!is_valid_name(name)) {
    return name_error(name);
  }
  if (const auto found = counts_.find(name); found != counts_.end()) {
    count_ -= found->second;
    counts_.erase(found);
  }
  const std::string state = "FDSTOREREMOVE=1\nFDNAME=" + name;
  const int sent = available_ ? sd_notify(0, state.c_str()) : 0;
  return sent < 0 ? system_error("descriptor store: " + name + " cannot be removed", -sent)
                  : Result<void>();
}

Result<void> FdStore::barrier(std::uint64_t timeout_ns) {
  const int done = available_ ? sd_notify_barrier(0, timeout_ns / 1000) : 0;
  if (done == -ETIMEDOUT) {
    return {ErrorCode::kTimeout, "descriptor store: the service manager does not answer"};
  }
  return done < 0 ? system_error("descriptor store: barrier", -done) : Result<void>();
}

NamedFds FdStore::take_all() {
  NamedFds taken;
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(1, &names);
  for (int i = 0; i < count; ++i) {
    taken[names[i]].emplace_back(SD_LISTEN_FDS_START + i);
    std::free(names[i]);
  }
  std::free(names);
  return taken;
}

}  // namespace ackbus::daemon
