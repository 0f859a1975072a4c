// What the bus is made of: connections, lives, links, queues, as the daemon holds them. Thread: the
// bus thread, unless a field says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "daemon/dead_letter_health.hpp"
#include "daemon/dead_letters.hpp"
#include "daemon/own_link.hpp"
#include "daemon/segment_map.hpp"
#include "daemon/tracker.hpp"
#include "daemon/unique_fd.hpp"
#include "shm_layout/control.hpp"

namespace ackbus::daemon {

class Bus;

// A packet that arrived: at least a sound ControlHeader, and its descriptors.
struct Packet {
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> descriptors;
  [[nodiscard]] layout::ControlHeader header() const;
};

// A connected process. Before its hello it has no role and gets little time.
struct Connection {
  struct Outgoing {
    std::vector<std::byte> bytes;
    std::vector<UniqueFd> descriptors;
    std::uint64_t tells_link = 0;   // it tells that link's producer
    std::uint64_t tells_epoch = 0;  // of this life
  };
  std::uint64_t number = 0;
  std::uint32_t record = 0;  // in the ledger, once it said hello as a producer or consumer
  bool recorded = false;
  bool recovered = false;  // from the daemon before this one
  UniqueFd socket;
  UniqueFd pidfd;
  layout::ClientRole role = layout::ClientRole::kReserved;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t pid = 0;
  std::uint32_t queue = 0;  // index
  std::uint64_t since_ns = 0;
  std::string client;
  std::deque<Outgoing> outgoing;  // what did not fit into its socket
  std::uint64_t link = 0;         // a producer's
  bool hung_up = false;
  bool holds_packet = false;  // looked at, and still in its socket
  bool said_bye = false;
  std::uint64_t kill_at_ns =
      0;                // a consumer that hung up: when its process is ended; 0 never or done
  bool killed = false;  // by this daemon, after a hang-up
};

// One consumer life of a link, as the daemon holds it.
struct Life {
  std::uint64_t epoch = 0;
  std::uint64_t slots = 0;
  std::uint64_t start = 0;
  std::uint64_t redelivery_start = 0;
  UniqueFd ack_fd;
  SegmentMap ack;  // mapped when its consumer has mapped it and it is sealed
  bool mapped = false;
  bool add_again = false;         // no descriptor was left to send it to the consumer,
  bool tell_again = false;        // or to the producer
  std::uint64_t again_ns = 0;     // not before
  bool told = false;              // to its producer, by this daemon
  std::uint32_t add_request = 0;  // of the kAddLink that brings these pipes: the answer repeats it
  BellPipe to_consumer;           // producer's end kept until the life is told
  BellPipe to_producer;
};

struct Link final : TrackerHost {
  Link(Bus& owner, std::uint32_t index) : bus(owner), record(index) {}

  // ---- TrackerHost: what the tracker asks for; bus_letters.cpp and bus_links.cpp ----
  void arm(std::uint32_t slot, std::uint64_t due_ns) override;
  void barrier() override;
  void ring_producer() override;
  void ring_consumer() override;
  void write_letter(LetterDraft draft) override;
  bool remove_letter(std::uint32_t slot, const layout::DescriptorCopy& descriptor) override;
  bool mark_late_success(std::uint32_t slot, const layout::DescriptorCopy& descriptor) override;
  void count_retry(std::uint16_t kind, RetryCause cause) override;
  void count_dead(std::uint16_t kind, layout::VerdictReason reason) override;
  void count_late(std::uint16_t kind) override;
  void will_count_retry(std::uint32_t slot, std::uint64_t version, std::uint16_t kind,
                        RetryCause cause) override;
  void will_count_dead(std::uint32_t slot, std::uint64_t version, std::uint16_t kind,
                       layout::VerdictReason reason) override;
  void will_count_late(std::uint32_t slot, std::uint64_t version, std::uint16_t kind) override;

  Bus& bus;
  std::uint32_t record;  // in the ledger
  std::uint64_t number = 0;
  std::uint32_t queue = 0;
  std::uint64_t connection = 0;  // number; 0 while the producer is away
  std::uint32_t uid = 0;
  std::uint32_t pid = 0;
  std::string client;
  std::uint64_t slots = 0;
  std::uint64_t arena_bytes = 0;
  UniqueFd submission_fd;
  UniqueFd tracking_fd;
  SegmentMap submission;  // read-only; shared with letter jobs, so it goes by the worker
  SegmentMap tracking;    // writable: this process is its writer
  layout::SubmissionView submission_view;
  std::unique_ptr<LinkTracker> tracker;
  std::unique_ptr<Life> life;                    // the newest
  std::vector<std::unique_ptr<Life>> old_lives;  // ended, not yet drained by the producer
  std::unique_ptr<OwnLink> own;                  // the daemon is its producer (redrive)
  std::uint32_t jobs = 0;                        // on the worker, reading this link's memory
  std::deque<LetterPlace> waiting_letters;       // put off for want of a place on the worker
  bool mapped = false;                           // the producer has mapped its segment
  bool draining = false;  // the producer is gone: ends when the last is final
  bool handing_over = false;
  bool closed = false;
};

struct PublishedSegment {
  UniqueFd fd;
  std::uint64_t bytes = 0;
  std::uint64_t epoch = 0;
};

struct Queue {
  std::uint32_t index = 0;
  std::string name;
  std::uint64_t epoch = 0;
  std::uint64_t active = 0;  // connection number
  std::deque<std::uint64_t> standbys;
  bool ending = false;  // the active one hung up; its process has not ended yet
  bool removed = false;
  bool ended_in_order = false;     // the last life said goodbye: its end is no death
  std::uint32_t begun_at_end = 0;  // messages that the last life had begun and not answered
  PublishedSegment published[2];   // state, frames
  PublishedSegment made[2];        // created by the active consumer, not published yet
};

// What is to be done to a letter: marked as a late success, or else taken back.
struct LetterCorrection {
  LetterOwner owner;
  bool late_success = false;
  std::uint64_t link = 0;             // number; it stays until the disk has followed
  std::optional<std::uint32_t> slot;  // whose tracker waits for that
};

}  // namespace ackbus::daemon
