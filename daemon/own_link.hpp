// The daemon's own link to a queue, over which dead letters are sent again. The daemon is its
// producer: it claims, commits and reaps like any other, at the pace of its loop, and keeps no
// outcomes but the counters. Thread: the bus thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "daemon/dead_letter.hpp"
#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"

namespace ackbus::daemon {

inline constexpr std::uint64_t kOwnLinkSlots = 64;

class OwnLink {
 public:
  OwnLink(layout::SubmissionView submission, layout::TrackingView tracking);
  // A new daemon goes on with the link that the one before it had.
  void recover();
  // The life whose acks are taken from now on.
  void set_life(layout::AckView ack, std::uint64_t epoch, std::uint64_t main_start);

  // False when no slot is free or the payload does not fit: try again later.
  bool send(const Letter& letter, const LetterId& new_id, std::span<const std::byte> payload,
            std::uint64_t now_ns);
  // Takes acks and verdicts; a slot whose message is final is free again.
  void reap();
  // Drains a life that has ended; true when its segment may go.
  void drain();
  [[nodiscard]] std::size_t in_use() const;

 private:
  struct Slot {
    std::uint64_t sequence = 0;
    bool answered = false;
  };
  void settle(std::uint32_t slot, std::uint8_t outcome);
  void try_free(std::uint32_t slot);

  layout::SubmissionView submission_;
  layout::TrackingView tracking_;
  layout::AckView ack_;
  std::vector<Slot> slots_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t next_ack_ = 1;
  std::uint64_t epoch_ = 0;
  std::uint64_t main_start_ = 0;
  bool big_in_use_ = false;  // one payload has the whole arena
};

}  // namespace ackbus::daemon
