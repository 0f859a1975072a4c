// File descriptors: the limit of this process, and what the service manager keeps of them for the
// next daemon. Data flow: looked at before a client or a link is taken in, so that running out is a
// refusal that names the limit, never a silence. Threads: the bus thread.
#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <string>

#include "daemon/bus.hpp"

namespace ackbus::daemon {
namespace {

// Kept free for those who are in already: pipes, segments and answers of their links.
constexpr std::uint64_t kSpareDescriptors = 32;
constexpr std::uint64_t kDaemonKeeps = 3;    // ledger, bus segment, listener
constexpr std::uint64_t kQueueKeeps = 2;     // state, frames
constexpr std::uint64_t kConsumerKeeps = 2;  // socket, pidfd

// A sandbox may refuse the question; then an accept that fails is what tells.
std::uint64_t descriptor_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : UINT64_MAX;
}

std::uint64_t spare_descriptors() { return std::min(kSpareDescriptors, descriptor_limit() / 4); }

}  // namespace

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// Descriptors are numbered from the lowest free one, so what lies above it is free.
std::uint64_t Bus::free_descriptors() const {
  const UniqueFd lowest_free(::fcntl(epoll.get(), F_DUPFD_CLOEXEC, 0));
  const std::uint64_t limit = descriptor_limit();
  const auto used = static_cast<std::uint64_t>(std::max(lowest_free.get(), 0));
  return lowest_free.valid() && used < limit ? limit - used : 0;
}

bool Bus::short_of_descriptors() {
  const bool is_short = free_descriptors() <= spare_descriptors();
  if (is_short) {
    log.state(LogLevel::kError, "descriptors", "limit", kOutOfDescriptors,
              {{"limit", std::to_string(descriptor_limit())}});
  } else if (door.short_of_descriptors) {
    log.state(LogLevel::kInfo, "descriptors", "limit", "file descriptors suffice again");
  }
  door.short_of_descriptors = is_short;
  return is_short;
}

// Links stop before clients do: each needs an ack segment when a consumer comes and another when
// the next one does, and that consumer has to come in.
bool Bus::has_descriptors_for_link() {
  const bool has = free_descriptors() > 2 * spare_descriptors() + 2 * links.size();
  if (has) {
    log.forget("descriptors", "links");
  } else {
    log.state(LogLevel::kError, "descriptors", "links",
              std::string("no more links: ") + kOutOfDescriptors,
              {{"limit", std::to_string(descriptor_limit())}});
  }
  return has;
}

void Bus::warn_of_limits() {
  const std::uint32_t links_max = config().limits.max_links;
  const std::string key = "[limits] max_links = " + std::to_string(links_max);
  const std::uint64_t open = layout::open_descriptors(links_max);
  if (descriptor_limit() < open) {
    log.line(LogLevel::kWarning, "descriptors",
             "the limit of open files is below what " + key +
                 " may need: raise it (LimitNOFILE, ulimit -n), or lower max_links",
             {{"limit", std::to_string(descriptor_limit())}, {"needed", std::to_string(open)}});
  }
  const std::uint64_t kept = layout::kept_descriptors(links_max);
  if (store.available() && store.capacity() == 0) {
    log.line(LogLevel::kWarning, "descriptors",
             "the service manager does not say in $FDSTORE how many descriptors it keeps: set it "
             "beside FileDescriptorStoreMax, or links beyond that number end with the daemon");
  } else if (store.available() && store.capacity() < kept) {
    log.line(LogLevel::kWarning, "descriptors",
             "the service manager keeps fewer descriptors than " + key +
                 " may need: raise FileDescriptorStoreMax and $FDSTORE, or lower max_links; links "
                 "beyond it are refused",
             {{"limit", std::to_string(store.capacity())}, {"needed", std::to_string(kept)}});
  }
}

// ---- the store ----

bool Bus::keep(const std::string& name, int fd) {
  const Result<void> kept = store.put(name, {&fd, 1});
  if (!kept) {
    store_failures += 1;
    store_fails = true;
    log.state(LogLevel::kError, "descriptors", "store", kept.error().text);
  } else if (store_fails) {
    store_fails = false;
    log.state(LogLevel::kInfo, "descriptors", "store", "the service manager keeps them again");
  }
  return kept.ok();
}

void Bus::forget_kept(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (name != "listen") {
      [[maybe_unused]] const auto gone = store.remove(name);
    }
  }
}

// Each link counts with the most that it can come to keep, so a hand-over never finds the store
// full.
std::optional<std::string> Bus::store_is_full(std::uint64_t links_more,
                                              std::uint64_t consumers_more) const {
  const auto consumers = static_cast<std::uint64_t>(
      std::count_if(connections.begin(), connections.end(), [](const auto& entry) {
        return entry.second->recorded && entry.second->role == layout::ClientRole::kConsumer;
      }));
  const std::uint64_t needed = kDaemonKeeps + kQueueKeeps * queues.size() +
                               kConsumerKeeps * (consumers + consumers_more) +
                               layout::kKeptDescriptorsPerLink * (links.size() + links_more);
  if (store.capacity() == 0 || needed <= store.capacity()) {
    return std::nullopt;
  }
  return "the service manager keeps at most " + std::to_string(store.capacity()) +
         " descriptors of the daemon, and with one client more it would take " +
         std::to_string(needed) + ": raise FileDescriptorStoreMax and $FDSTORE";
}

}  // namespace ackbus::daemon
