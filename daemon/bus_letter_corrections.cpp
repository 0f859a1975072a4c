// Letters that turned out differently: taken back, because the message ended by its answer after
// all, or marked, because its success came late. Data flow: the tracker or a new daemon asks -> the
// worker does it -> what the disk refused is asked again each second, unless a letter of that
// message is being written anew. Threads: the bus thread, jobs on the worker.
#include <algorithm>
#include <memory>
#include <utility>

#include "daemon/bus.hpp"
#include "daemon/bus_figures.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kCorrectionPauseNs = 1'000'000'000;

}  // namespace

bool Link::remove_letter(std::uint32_t slot, const layout::DescriptorCopy& descriptor) {
  const LetterOwner owner = owner_of(*this, descriptor);
  const bool exists = bus.letters->exists(owner.id);
  if (exists) {
    bus.correct_letter({owner, false, number, slot});
  }
  return exists;
}

bool Link::mark_late_success(std::uint32_t slot, const layout::DescriptorCopy& descriptor) {
  bus.correct_letter({owner_of(*this, descriptor), true, number, slot});
  return true;
}

// The link stays until the disk has followed: a daemon that dies before finds it again, and with it
// what its letter still needs.
void Bus::correct_letter(const LetterCorrection& correction) {
  if (Link* link = find_link(correction.link)) {
    link->jobs += 1;
  }
  try_correction(correction);
}

void Bus::end_correction(const LetterCorrection& correction) {
  if (Link* link = find_link(correction.link)) {
    link->jobs -= 1;
    if (correction.slot) {
      link->tracker->letter_corrected(*correction.slot, correction.owner.sequence);
    }
  }
}

void Bus::try_correction(const LetterCorrection& correction) {
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
          if (corrections.empty()) {
            next_correction_ns = monotonic_ns() + kCorrectionPauseNs;
          }
          corrections.push_back(correction);
        } else {
          end_correction(correction);
        }
      });
}

std::uint64_t Bus::retry_corrections(std::uint64_t now_ns) {
  if (corrections.empty()) {
    return UINT64_MAX;
  }
  if (now_ns >= next_correction_ns) {
    for (const LetterCorrection& correction : std::exchange(corrections, {})) {
      try_correction(correction);
    }
    return UINT64_MAX;  // What fails again comes back with a time of its own.
  }
  return next_correction_ns;
}

// The letter that is written now is the newer word on that message.
void Bus::forget_corrections(const LetterId& id) {
  std::erase_if(corrections, [&](const LetterCorrection& correction) {
    const bool forgotten = correction.owner.id == id;
    if (forgotten) {
      end_correction(correction);
    }
    return forgotten;
  });
}

// A hand-over stores Final for what its ended life had answered, whatever the disk says. Where it
// refused, and the daemon before this one died, the letter is dealt with now: a Success that came
// late is marked, any other answer has no letter. Not counted: the daemon before this one has.
void Bus::clean_letters(Link& link) {
  for (std::uint32_t slot = 0; slot < link.slots; ++slot) {
    const auto view = link.tracker->look(slot);
    if (!view || view->entry.state != layout::PendingState::kFinal) {
      continue;
    }
    const LetterOwner owner = owner_of(link, view->descriptor);
    if (letters->is_of(owner)) {
      const Ending ending = ending_taken(*view);
      const bool late = ending == Ending::kSuccess || ending == Ending::kPartialSuccess;
      correct_letter({owner, late, link.number, {}});
    }
  }
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
