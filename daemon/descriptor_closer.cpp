#include "daemon/descriptor_closer.hpp"

#include <signal.h>
#include <sys/socket.h>

#include <iterator>
#include <thread>
#include <utility>

namespace ackbus::daemon {

DescriptorCloser::DescriptorCloser() : shared_(std::make_shared<Shared>()) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // The thread takes no signal of the daemon's.
  std::thread(run, shared_).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

DescriptorCloser::~DescriptorCloser() {
  const std::lock_guard lock(shared_->mutex);
  shared_->stopping = true;
  shared_->waits.notify_one();
}

void DescriptorCloser::close(UniqueFd descriptor) {
  std::vector<UniqueFd> one;
  one.push_back(std::move(descriptor));
  close(std::move(one));
}

void DescriptorCloser::close(std::vector<UniqueFd> descriptors) {
  if (descriptors.empty()) {
    return;
  }
  const std::lock_guard lock(shared_->mutex);
  shared_->descriptors.insert(shared_->descriptors.end(),
                              std::make_move_iterator(descriptors.begin()),
                              std::make_move_iterator(descriptors.end()));
  shared_->waits.notify_one();
}

void DescriptorCloser::run(const std::shared_ptr<Shared>& shared) {
  for (;;) {
    std::vector<UniqueFd> descriptors;
    {
      std::unique_lock lock(shared->mutex);
      shared->waits.wait(lock, [&] { return shared->stopping || !shared->descriptors.empty(); });
      if (shared->stopping) {
        return;
      }
      descriptors.swap(shared->descriptors);
    }
    for (UniqueFd& descriptor : descriptors) {
      // A socket that lingers would hold up all that come after it; of anything else this fails.
      const linger at_once{0, 0};
      ::setsockopt(descriptor.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
      descriptor.reset();
    }
  }
}

}  // namespace ackbus::daemon
