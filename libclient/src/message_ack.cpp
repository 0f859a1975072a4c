// The builders and questions of MessageAck. No state, no threads.
#include <ackbus/message_ack.hpp>
#include <utility>

namespace ackbus {

MessageAck MessageAck::success(MessageId id, Clock::time_point timestamp) {
  return {id, ack_status::Success{}, timestamp, {}};
}

MessageAck MessageAck::partial_success(MessageId id, std::string reason,
                                       Clock::time_point timestamp) {
  return {id, ack_status::PartialSuccess{std::move(reason)}, timestamp, {}};
}

MessageAck MessageAck::failure(MessageId id, std::string error, Clock::time_point timestamp) {
  return {id, ack_status::Failed{std::move(error)}, timestamp, {}};
}

MessageAck MessageAck::retrying(MessageId id, std::uint32_t attempt, Clock::time_point timestamp) {
  return {id, ack_status::Retrying{attempt}, timestamp, {}};
}

MessageAck MessageAck::with_metadata(std::string name, std::string value) const& {
  return MessageAck(*this).with_metadata(std::move(name), std::move(value));
}

MessageAck MessageAck::with_metadata(std::string name, std::string value) && {
  metadata.insert_or_assign(std::move(name), std::move(value));
  return std::move(*this);
}

bool MessageAck::is_success() const {
  return std::holds_alternative<ack_status::Success>(status) ||
         std::holds_alternative<ack_status::PartialSuccess>(status);
}

bool MessageAck::is_failure() const { return std::holds_alternative<ack_status::Failed>(status); }

bool MessageAck::is_retrying() const {
  return std::holds_alternative<ack_status::Retrying>(status);
}

}  // namespace ackbus
