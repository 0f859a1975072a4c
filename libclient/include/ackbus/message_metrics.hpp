// MessageMetrics: how many messages were sent, done, failed and retried, in total and by kind, and
// the text that shows it. Counts arrive one event at a time (the tracker) or as sums read elsewhere
// (the status command, from shared counters). A plain value: one thread at a time may change it,
// copies are independent.
#pragma once

#include <ackbus/options.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace ackbus {

// The counts of one kind, or of all kinds together.
struct KindTotals {
  std::uint64_t sent = 0;              // messages, each once however often it was delivered
  std::uint64_t success = 0;           // acknowledged as done, partial successes included
  std::uint64_t failure = 0;           // failed by the consumer, or given up after the last retry
  std::uint64_t retries = 0;           // redeliveries
  std::uint64_t total_latency_ns = 0;  // over all successes, from the first send to the ack

  // Adds each count of `other`; nobody counts beyond 64 bits, so overflow is not looked for.
  KindTotals& operator+=(const KindTotals& other);
  bool operator==(const KindTotals&) const = default;

  // Milliseconds from first send to ack, averaged over the successes; 0 without any.
  [[nodiscard]] double avg_latency_ms() const;
  // success / sent and failure / sent, 0 to 1; 0 when nothing was sent. What is pending counts in
  // neither. A part greater than the whole (counts read one after the other) gives 1.
  [[nodiscard]] double success_rate() const;
  [[nodiscard]] double failure_rate() const;
};

// The counts by kind, and the text that shows them. Any number is a kind here, configured or not.
class MessageMetrics {
 public:
  // One event each: a message sent for the first time, ...
  void record_sent(Kind kind);
  // ... done;
  // `latency` runs from the first send to the ack; a negative one counts as 0.
  void record_success(Kind kind, std::chrono::nanoseconds latency);
  // ... failed, or given up;
  void record_failure(Kind kind);
  // ... sent again.
  void record_retry(Kind kind);

  // Adds sums that were counted elsewhere.
  void add(Kind kind, const KindTotals& totals);

  // The name that summary() shows for a kind. Built-in kinds have theirs; any other is "kind N"
  // unless named here.
  void name_kind(Kind kind, std::string name);
  [[nodiscard]] std::string kind_name(Kind kind) const;

  // The sum over all kinds.
  [[nodiscard]] KindTotals totals() const;
  // The counts of one kind; all 0 for a kind that nothing was recorded of.
  [[nodiscard]] KindTotals of_kind(Kind kind) const;
  // Every kind that something was recorded of, in the order of their numbers. Valid as long as this
  // object, and changed by what is recorded.
  [[nodiscard]] const std::map<Kind, KindTotals>& all_kinds() const { return kinds_; }

  // The figures of KindTotals over all kinds.
  [[nodiscard]] double avg_latency_ms() const { return totals().avg_latency_ms(); }
  [[nodiscard]] double success_rate() const { return totals().success_rate(); }
  [[nodiscard]] double failure_rate() const { return totals().failure_rate(); }

  // The text of `ackbus status --metrics`: totals and overall rates, then one line for each kind.
  // Numbers are written alike in every locale; the text ends with a line feed.
  [[nodiscard]] std::string summary() const;

 private:
  std::map<Kind, KindTotals> kinds_;
  std::map<Kind, std::string> names_;
};

}  // namespace ackbus
