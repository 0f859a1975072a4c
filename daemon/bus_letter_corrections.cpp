// Letters that turned out differently: taken back, because the message ended by its answer after
// all, or marked, because its success came late. Data flow: the tracker or a new daemon asks -> the
// worker does it -> what the disk refused is asked again each second, unless a letter of that
// message is being written anew. Threads: the bus thread, jobs on the worker.
#include <algorithm>
#include <memory>
#include <utility>

#include "daemon/bus.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kCorrectionPauseNs = 1'000'000'000;

}  // namespace

void Link::remove_letter(const layout::DescriptorCopy& descriptor) {
  const LetterOwner owner = owner_of(*this, descriptor);
  if (bus.letters->exists(owner.id)) {
    bus.correct_letter({owner, false});
  }
}

void Link::mark_late_success(const layout::DescriptorCopy& descriptor) {
  bus.ledger.own(layout::kind_of(descriptor.kind_flags)).late_success += 1;
  bus.correct_letter({owner_of(*this, descriptor), true});
}

void Bus::correct_letter(const LetterCorrection& correction) {
  auto done = std::make_shared<bool>(false);
  submit_or_keep(
      [done, correction, store_of_letters = letters] {
        const Result<bool> tried = correction.late_success
                                       ? store_of_letters->mark_late_success_of(correction.owner)
                                       : store_of_letters->remove_of(correction.owner);
        *done = tried.ok();
      },
      [this, done, correction] {
        if (!*done && !letters_being_written.contains(correction.owner.id)) {
          corrections.push_back(correction);
          next_correction_ns = std::max(next_correction_ns, monotonic_ns() + kCorrectionPauseNs);
        }
      });
}

std::uint64_t Bus::retry_corrections(std::uint64_t now_ns) {
  if (corrections.empty()) {
    return UINT64_MAX;
  }
  if (now_ns >= next_correction_ns) {
    for (const LetterCorrection& correction : std::exchange(corrections, {})) {
      correct_letter(correction);
    }
    return UINT64_MAX;  // What fails again comes back with a time of its own.
  }
  return next_correction_ns;
}

// The letter that is written now is the newer word on that message.
void Bus::forget_corrections(const LetterId& id) {
  std::erase_if(corrections,
                [&](const LetterCorrection& correction) { return correction.owner.id == id; });
}

// A job that the full worker does not take is tried again each turn, in order.
void Bus::submit_or_keep(AllocatorWorker::Job job, AllocatorWorker::Job done) {
  if (!kept_jobs.empty() || !worker->submit(job, done)) {
    kept_jobs.emplace_back(std::move(job), std::move(done));
  }
}

void Bus::submit_kept_jobs() {
  while (!kept_jobs.empty() && worker->submit(kept_jobs.front().first, kept_jobs.front().second)) {
    kept_jobs.pop_front();
  }
}

}  // namespace ackbus::daemon
