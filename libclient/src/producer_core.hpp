// A producer's connection: sockets, pipes, mappings and time around one ProducerLink. Runs on the
// application's threads only; with `shared_between_threads` the public calls hold `mutex`, waits
// release it while they sleep.
#pragma once

#include <ackbus/producer.hpp>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "libclient/src/arena.hpp"
#include "libclient/src/clock.hpp"
#include "libclient/src/hot_clock.hpp"
#include "libclient/src/id_source.hpp"
#include "libclient/src/payload_bounds.hpp"
#include "libclient/src/producer_link.hpp"
#include "libclient/src/session.hpp"
#include "libclient/src/waiter.hpp"

namespace ackbus {

struct ProducerCore {
  static Result<std::unique_ptr<ProducerCore>> connect(const ProducerOptions& options);
  ~ProducerCore();

  // ---- the public calls; producer.cpp locks ----
  Result<Loan> loan(Kind kind, std::uint64_t bytes, std::uint64_t deadline_ns,
                    std::unique_lock<std::mutex>& lock);
  Result<Ticket> commit(Loan& loan, const SendOptions& options);
  // Fills in the ticket that stands in `ticket`, or puts the error in its place.
  void send(Kind kind, std::span<const std::byte> payload, const SendOptions& options, bool tracked,
            std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock, Result<Ticket>& ticket);
  Result<Outcome> wait(const Ticket& ticket, std::uint64_t deadline_ns,
                       std::unique_lock<std::mutex>& lock);
  Result<void> wait_any(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock);
  std::size_t take(std::vector<Completion>& completions, std::size_t max);
  Result<void> close(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock);
  Result<void> cancel(const Ticket& ticket);
  void give_back_loan(std::uint32_t slot, std::uint64_t generation);

  // Takes what there is; wakes threads that wait for it.
  void reap();
  // Before a call returns to an event loop: what stays untaken keeps completion_fd() readable, else
  // it is armed.
  void settle_completion_fd();
  // Whether the handle may be used in this process.
  [[nodiscard]] bool forked() const { return forked_since(made_in_generation); }
  [[nodiscard]] bool kind_known(Kind kind);
  [[nodiscard]] ProducerStatistics statistics() const;

  struct LifeEnds {
    std::uint64_t epoch = 0;
    Mapping ack;
    UniqueFd ring;  // towards the consumer
    Bells rung;     // from the consumer
  };
  // A link that was lost while loans pointed into it; its memory stays until they are gone.
  struct LostLink {
    std::uint64_t generation = 0;
    Mapping submission;
  };

  static constexpr std::uint64_t kReconnectPauseMinNs = 10'000'000;

  ProducerOptions options;
  std::string runtime_dir;
  ControlSocket control;
  Mapping bus;
  Mapping submission;
  Mapping tracking;
  HotClock clock;
  IdSource ids;
  Waiter waiter;
  std::deque<LifeEnds> lives;
  std::deque<std::uint64_t> drained_untold;  // epochs whose end the daemon has not been told of
  std::unique_ptr<OutcomeStore> outcomes;
  std::unique_ptr<ProducerLink> link;
  Arena arena;
  // Offset and bytes in the arena; 0 bytes when the slot holds none, so also when it is free.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> payload_of_slot;
  std::vector<LostLink> lost_links;
  std::uint64_t link_number = 0;
  std::uint64_t token[2] = {0, 0};
  std::uint64_t link_generation = 1;
  std::uint64_t loans = 0;
  std::uint64_t sleep_generation = 0;
  std::uint64_t made_in_generation = 0;
  std::uint64_t reconnect_at_ns = 0;  // when to look for the daemon again
  std::uint64_t reconnect_pause_ns = 0;
  std::uint64_t patience_ns = 0;       // for the answer to a hello
  std::uint64_t patience_ends_ns = 0;  // of the one on its way
  std::uint64_t declared_min_ms = 0;   // how often the daemon looks: no message asks for less
  std::uint64_t kinds_known = 0;       // a bit per kind; forgotten when the daemon moves its rows
  std::uint64_t kinds_unbounded = 0;   // of them, those that take payloads of any size
  std::uint64_t kinds_moved = 0;
  PayloadBounds bounds;  // of the other known ones
  std::uint64_t lives_seen = 0;
  std::uint64_t missed_epoch = 0;  // of a life that came incomplete and was asked for again
  ProducerStatistics before;       // of links that were lost
  bool reattaching = false;        // a hello is on its way on `control`
  bool exposed = false;            // completion_fd() was handed out
  bool closed = false;
  std::mutex mutex;
  std::condition_variable woken;
  bool someone_sleeps = false;
  int followers = 0;

 private:
  Result<void> first_hello(std::uint64_t deadline_ns);
  [[nodiscard]] std::uint64_t shortest_timeout_ms() const;
  layout::HelloMessage hello(bool resume) const;
  Result<void> adopt_link(const ControlPacket& packet);
  void accept_life(ControlPacket& packet);
  bool read_control();  // true when it heard anything: what a waiter waits for may be there
  void handle_control(ControlPacket& packet);
  void lose_control();
  void try_reattach();
  bool replace_link(const ControlPacket& packet);
  void handle_reattach(ControlPacket& packet);
  void ask_again(std::uint64_t epoch);
  void retire_lives();
  void tell_drained();
  void ring();
  void sleep(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock);
  bool arm_and_look();
  template <typename Done>
  Result<void> wait_until(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock, Done done);
  // For a payload of `bytes`, of which the arena is to hold `reserved_bytes`: a loan has room there
  // however small it is.
  Result<std::uint32_t> claim(Kind kind, std::uint64_t bytes, std::uint64_t reserved_bytes,
                              std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock);
  // Why no such message may be sent, whatever room there is.
  std::optional<Error> refuse(Kind kind, std::uint64_t bytes, std::uint64_t reserved_bytes);
  void forget_moved_kinds();
  // Without waiting and without saying why not; never for a kind whose payloads have bounds.
  bool claim_at_once(Kind kind, std::uint64_t bytes, std::uint32_t& slot);
  bool try_claim(std::uint64_t bytes, std::uint32_t& slot);
  // Checks options that ask for anything but the kind's own; an error when one is out of range.
  std::optional<Error> apply(const SendOptions& options, CommitRequest& made);
  void release_arena(std::uint32_t slot);
  [[nodiscard]] Error closed_error() const;
};

}  // namespace ackbus
