// What the outside knows of every message, and the rules that it must see hold
// (docs/guarantees.md): the roles write down what they asked and what they were told; each entry is
// checked at once, the rest at the end. Knows nothing of the product's memory.
#pragma once

#include <ackbus/consumer.hpp>
#include <ackbus/producer.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace ackbus::sim {

// Messages carry their number in the first 8 bytes and a pattern of it in the rest.
inline constexpr std::size_t kPayloadMin = 8;
void fill_payload(std::uint64_t number, std::span<std::byte> payload);

class Journal {
 public:
  using Fail = std::function<void(const std::string&)>;
  using Clock = std::function<std::uint64_t()>;
  using Note = std::function<void(const std::string&)>;
  Journal(Fail fail, Note note, Clock clock)
      : fail_(std::move(fail)), note_(std::move(note)), clock_(std::move(clock)) {}

  struct Fate {
    std::uint64_t number = 0;
    std::uint64_t producer = 0;  // its process
    std::uint64_t link = 0;
    bool tracked = true;
    Kind kind = Kind::kReserved;
    std::uint64_t key = 0;
    std::uint64_t after = 0;  // number
    std::size_t bytes = 0;
    std::uint64_t order = 0;  // of commit, 0 while send() has not returned
    Ticket ticket;
    bool refused = false;  // send() said that it was not sent
    bool cancel_wished = false;
    bool producer_gone = false;  // before it took the outcome
    bool store_lost = false;     // while it was pending
    std::uint32_t runs = 0;
    std::uint64_t asked_ns = 0;    // when the take() that gave it last was called
    std::uint64_t not_before = 0;  // given back: when that life may run it again, 0 unknown
    bool died_with = false;  // its consumer was killed while it ran, and nobody has begun it since
    bool failed_said = false;
    std::uint64_t life = 0;  // that ran it last
    bool running = false;
    std::uint64_t losses_before = 0;  // of the store, when it last began
    bool given_back = false;          // since it last began
    bool success_said = false;        // the answer was about to be given
    bool success_given = false;       // ack() has returned
    bool answered = false;
    std::optional<Outcome> outcome;
  };

  // ---- a producer ----
  std::uint64_t sending(std::uint64_t producer, bool tracked, Kind kind, const SendOptions& options,
                        std::uint64_t after, std::size_t bytes);
  void sent(std::uint64_t number, const Ticket& ticket, std::uint64_t link);
  void not_sent(std::uint64_t number);
  void cancelling(std::uint64_t number) { fates_.at(number).cancel_wished = true; }
  void outcome(std::uint64_t number, const Outcome& outcome);
  void producer_ended(std::uint64_t producer);

  // ---- a consumer; `life` is one of a kind over all consumers and epochs ----
  // The message's number, 0 when the delivery makes no sense.
  // `asked_ns`: when take() was called, so no later than it began.
  std::uint64_t begun(std::uint64_t life, const Delivery& delivery, std::uint64_t asked_ns);
  void still_runs(std::uint64_t number, std::span<const std::byte> payload);
  void answering(std::uint64_t number, AckStatus status);
  void answered(std::uint64_t number, AckStatus status);
  void given_back(std::uint64_t number, std::uint64_t delay_ns);
  void gave_back(std::uint64_t number);  // nack() has returned
  void life_ended(std::uint64_t life, bool killed);

  // ---- the service manager ----
  void store_lost();
  // The link that a producer sends on from now on; 0 while it connects for the first time.
  void connected(std::uint64_t producer, std::uint64_t link);

  // ---- at the end ----
  struct Letter {
    std::string id;
    std::uint64_t link = 0;
    std::uint64_t sequence = 0;
    bool late_success = false;
  };
  void check_outcomes(const std::vector<Letter>& letters);
  struct Totals {
    std::uint64_t sent = 0, success = 0, partial = 0, failed = 0, exhausted = 0, superseded = 0,
                  cancelled = 0, closed = 0, posted = 0;
  };
  void check_totals(const Totals& daemon);

  [[nodiscard]] const std::map<std::uint64_t, Fate>& fates() const { return fates_; }
  [[nodiscard]] std::uint64_t newest_of(std::uint64_t producer) const;
  [[nodiscard]] bool lost_store() const { return lost_store_; }
  bool clock_from_commit = false;
  bool may_stand_still = false;  // between any two steps, for longer than a timeout or a delay
  std::uint64_t timeout_ns = 0;  // of an attempt
  bool consumer_died = false;    // maybe between begin and the return of take()
  std::map<OutcomeCode, std::uint64_t> seen;  // outcomes, for people

 private:
  void fail(const std::string& what, std::uint64_t number);
  void check_begin(const Fate& fate, std::uint64_t life, const Delivery& delivery);
  void check_reason(const Fate& fate, const Outcome& outcome);
  void check_payload(const char* rule, std::uint64_t number, std::span<const std::byte> payload);
  [[nodiscard]] bool newer_said_success(const Fate& fate) const;
  void check_order(const Fate& fate, std::uint64_t life, const Delivery& delivery);
  void check_letters(const std::vector<Letter>& letters);
  void check_fate(const Fate& fate, const Letter* letter);
  [[nodiscard]] bool in_time(const Fate& fate) const;

  Fail fail_;
  Note note_;
  Clock clock_;
  std::map<std::uint64_t, Fate> fates_;
  std::map<std::uint64_t, std::uint64_t> link_of_;                // by producer
  std::set<std::pair<std::uint64_t, std::uint64_t>> lost_links_;  // producer and link
  std::uint64_t next_number_ = 1;
  std::uint64_t next_order_ = 1;
  bool lost_store_ = false;
  std::uint64_t losses_ = 0;
};

}  // namespace ackbus::sim
