// Closes what others gave us, where it may wait. A descriptor that a client sent may be a socket
// that lingers, a file of a file system that its sender serves, or the last holder of gigabytes;
// so may what lies unread in a control socket that is closed. Whoever closes it waits, and that
// must not be the bus thread.
//
// Data flow: descriptors in from the bus thread -> closed in order on a thread of its own. Threads:
// close() from the bus thread; one thread inside, which nobody waits for: at the daemon's end the
// kernel closes what is left.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "daemon/unique_fd.hpp"

namespace ackbus::daemon {

class DescriptorCloser {
 public:
  DescriptorCloser();
  ~DescriptorCloser();
  DescriptorCloser(const DescriptorCloser&) = delete;
  DescriptorCloser& operator=(const DescriptorCloser&) = delete;

  // Never waits for what closing means.
  void close(UniqueFd descriptor);
  void close(std::vector<UniqueFd> descriptors);

 private:
  struct Shared {
    std::mutex mutex;
    std::condition_variable waits;
    std::vector<UniqueFd> descriptors;
    bool stopping = false;
  };
  static void run(const std::shared_ptr<Shared>& shared);
  std::shared_ptr<Shared> shared_;
};

}  // namespace ackbus::daemon
