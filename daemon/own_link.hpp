// The daemon's own link to a queue, over which dead letters are sent again. The daemon is its
// producer: it claims, commits and reaps like any other, at the pace of its loop, and keeps no
// outcomes but the counters. A message's slot is taken until its letter was dealt with on disk: so
// the slot of a message that has ended tells a new daemon how, as long as its letter waits for
// that. Thread: the bus thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "daemon/dead_letters.hpp"
#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"

namespace ackbus::daemon {

inline constexpr std::uint64_t kOwnLinkSlots = 64;

// How a redriven message ended, for DeadLetters::end_redrive().
struct RedriveEnd {
  LetterId id{};
  bool done = false;  // false: it was closed, and no letter of its own need be there
};

class OwnLink {
 public:
  // `letters` outlives the link; it is asked which letters wait for their messages.
  OwnLink(layout::SubmissionView submission, layout::TrackingView tracking,
          const DeadLetters& letters);
  // A new daemon goes on with the link that the one before it had.
  void recover();
  // The life whose acks are taken from now on; a new daemon gives each life in turn, the oldest
  // first.
  void set_life(layout::AckView ack, std::uint64_t epoch, std::uint64_t main_start);

  // False when no slot is free or the payload does not fit: try again later.
  bool send(const Letter& letter, const LetterId& new_id, std::span<const std::byte> payload,
            std::uint64_t now_ns);
  // Takes acks and verdicts; a slot whose message is final, and whose letter does not wait for it
  // any more, is free again.
  void reap();
  // What has ended since the last call.
  [[nodiscard]] std::vector<RedriveEnd> take_ends();
  // The same, and what has not ended, for a link that goes: done says whether the consumer answered
  // all the same.
  [[nodiscard]] std::vector<RedriveEnd> take_all();
  // Whether the message is in a slot, ended or not.
  [[nodiscard]] bool holds(const LetterId& id) const;
  [[nodiscard]] std::size_t in_use() const;

 private:
  struct Slot {
    std::uint64_t sequence = 0;
    LetterId id{};
    bool whole = false;  // its payload has the whole arena
    bool answered = false;
    bool ended = false;  // and take_ends() gives it, or gave it
  };
  void take_acks();
  void drain();
  void settle(std::uint32_t slot, std::uint8_t outcome);
  void note_end(std::uint32_t slot);
  void try_free(std::uint32_t slot);
  [[nodiscard]] std::uint8_t outcome_taken(std::uint32_t slot) const;
  [[nodiscard]] std::uint64_t share_bytes() const;
  [[nodiscard]] bool needs_whole_arena(std::uint64_t payload_bytes) const;

  layout::SubmissionView submission_;
  layout::TrackingView tracking_;
  const DeadLetters& letters_;
  layout::AckView ack_;
  std::vector<Slot> slots_;
  std::vector<RedriveEnd> ends_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t next_ack_ = 1;
  std::uint64_t epoch_ = 0;
  std::uint64_t main_start_ = 0;
};

}  // namespace ackbus::daemon
