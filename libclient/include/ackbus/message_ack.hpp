// MessageAck: what a consumer says of a message. A plain value: one thread at a time may change it,
// any number may read. On the bus the same four answers travel as an ack record in shared memory;
// this is their form for people and code.
#pragma once

#include <ackbus/message_id.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <variant>

namespace ackbus {

namespace ack_status {

// The message was done. Final.
struct Success {
  bool operator==(const Success&) const = default;
};

// The message was done with a restriction that the producer should know of. Final, and counted as a
// success.
struct PartialSuccess {
  std::string reason;  // for people; any bytes, any length
  bool operator==(const PartialSuccess&) const = default;
};

// The message cannot be done; sending it again would not help. Final, never retried.
struct Failed {
  std::string error;  // for people; any bytes, any length
  bool operator==(const Failed&) const = default;
};

// The consumer is still at it. Not final: the message stays pending and its deadline starts again.
struct Retrying {
  std::uint32_t attempt = 0;  // the consumer's own count of retries; 0 if none
  bool operator==(const Retrying&) const = default;
};

}  // namespace ack_status

// One ack. Two are equal when all four parts are.
struct MessageAck {
  using Clock = std::chrono::system_clock;  // the wall clock: for people
  using Status = std::variant<ack_status::Success, ack_status::PartialSuccess, ack_status::Failed,
                              ack_status::Retrying>;
  using Metadata = std::map<std::string, std::string>;

  MessageId id;   // of the message that it answers
  Status status;  // Success unless said
  Clock::time_point
      timestamp;  // when the consumer said so, by its wall clock; latency is never computed from it
  Metadata metadata;  // names to values, such as nodes, edges, processing_time_us

  // One builder for each status. `timestamp` is now unless said.
  [[nodiscard]] static MessageAck success(MessageId id, Clock::time_point timestamp = Clock::now());
  [[nodiscard]] static MessageAck partial_success(MessageId id, std::string reason,
                                                  Clock::time_point timestamp = Clock::now());
  [[nodiscard]] static MessageAck failure(MessageId id, std::string error,
                                          Clock::time_point timestamp = Clock::now());
  [[nodiscard]] static MessageAck retrying(MessageId id, std::uint32_t attempt,
                                           Clock::time_point timestamp = Clock::now());

  // This ack with one more entry; an entry of the same name is replaced. Calls can be chained after
  // a builder.
  [[nodiscard]] MessageAck with_metadata(std::string name, std::string value) const&;
  [[nodiscard]] MessageAck with_metadata(std::string name, std::string value) &&;

  [[nodiscard]] bool is_success() const;   // Success or PartialSuccess
  [[nodiscard]] bool is_failure() const;   // Failed
  [[nodiscard]] bool is_retrying() const;  // Retrying
  // Any but Retrying: the message has ended.
  [[nodiscard]] bool is_final() const { return !is_retrying(); }

  bool operator==(const MessageAck&) const = default;
};

}  // namespace ackbus
