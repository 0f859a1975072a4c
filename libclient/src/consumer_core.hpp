// A consumer's connection: sockets, pipes, mappings and time around a ConsumerLink per link. Runs
// on the application's threads only. Links come and go by control messages; the hot path touches
// none of that.
#pragma once

#include <ackbus/consumer.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "libclient/src/clock.hpp"
#include "libclient/src/consumer_link.hpp"
#include "libclient/src/hot_clock.hpp"
#include "libclient/src/payload_bounds.hpp"
#include "libclient/src/session.hpp"
#include "libclient/src/waiter.hpp"

namespace ackbus {

struct ConsumerCore {
  static Result<std::unique_ptr<ConsumerCore>> connect(const ConsumerOptions& options);
  ~ConsumerCore();

  // Fills in the delivery that stands in `taken`, or takes it away.
  void take(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock,
            Result<std::optional<Delivery>>& taken);
  Result<void> ack(const Delivery& delivery, const Answer& answer);
  Result<void> nack(const Delivery& delivery, std::chrono::milliseconds delay);
  Result<void> progress(const Delivery& delivery, std::uint32_t retries);
  Result<Segment> create_segment(SegmentKind kind, std::uint64_t bytes, std::uint64_t deadline_ns);
  Result<void> publish_segment(SegmentKind kind, std::uint64_t deadline_ns);
  void settle_fd();

  [[nodiscard]] bool forked() const { return forked_since(made_in_generation); }
  [[nodiscard]] ConsumerStatistics statistics() const;

  struct LinkEnds {
    void ring_also(UniqueFd newer);

    std::uint64_t number = 0;
    std::uint32_t added = 0;  // Delivery::link_added: unlike its number, never another link's here
    std::uint64_t epoch = 0;
    std::uint64_t slots = 0;
    Mapping submission;
    Mapping tracking;
    Mapping ack;
    Bells rung;                         // from the producer
    UniqueFd ring;                      // towards the producer
    std::vector<UniqueFd> newer_rings;  // the same; whether the producer has their other ends is
                                        // not known yet, so these are rung as well
    std::unique_ptr<ConsumerLink> link;
  };

  // Nothing runs, on a link that is gone either.
  [[nodiscard]] bool idle() const { return running == 0 && removed.empty(); }
  [[nodiscard]] LinkEnds* find(const Delivery& delivery);

  ConsumerOptions options;
  std::string runtime_dir;
  ControlSocket control;
  Mapping bus;
  HotClock clock;
  Waiter waiter;
  std::vector<std::unique_ptr<LinkEnds>>
      links;  // null where one was removed; the index is Delivery::link_index
  // Links that are gone while messages of them run: their payloads stay readable until those are
  // answered.
  std::vector<std::unique_ptr<LinkEnds>> removed;
  std::uint32_t links_added = 0;
  std::uint64_t epoch = 0;  // 0: standing by
  std::uint64_t made_in_generation = 0;
  std::uint64_t supersedes = 0;  // a bit per kind
  PayloadBounds bounds;
  std::uint64_t kinds_moved = UINT64_MAX;
  std::uint64_t sleep_generation = 0;
  std::uint64_t next_control_look_ns = 0;
  std::uint64_t reconnect_at_ns = 0;
  std::uint64_t reconnect_pause_ns = 0;
  std::uint32_t running = 0;
  std::uint32_t next_link = 0;
  std::uint32_t request = 0;
  Mapping predecessor;
  ConsumerStatistics figures;
  bool alone_runs = false;   // a message that must run alone is running
  bool sleeps = false;       // a thread of a shared handle is in take()
  bool wants_alone = false;  // one waits for the others to end
  bool exposed = false;
  bool closed = false;
  std::mutex mutex;

 private:
  Result<void> say_hello(std::uint64_t deadline_ns);
  bool read_control();  // true when it heard anything: what take() waits for may be there
  void handle_control(ControlPacket& packet);
  void activate(ControlPacket& packet);
  void add_link(ControlPacket& packet);
  void say(layout::ControlType type, std::uint64_t link, std::uint64_t of_epoch,
           std::uint32_t in_answer_to = 0);
  void change_ring(const layout::LinkMessage& told);
  void remove_link(std::uint64_t number);
  void lose_control();
  void try_reconnect();
  void refresh_kinds();
  bool take_one(std::uint64_t now, Delivery& delivery);
  void ring(LinkEnds& ends);
  bool arm_and_look();
  void finished(LinkEnds& ends);
  [[nodiscard]] Error refuse_answer(const Delivery& delivery);
  Result<ControlPacket> ask(const layout::SegmentMessage& message, std::uint64_t deadline_ns);
};

}  // namespace ackbus
