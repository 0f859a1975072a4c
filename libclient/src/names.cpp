// The texts of codes, as logs, tools and errors print them, and of outcomes; and the end of a
// process that reads a Result for what it is not.
#include <ackbus/error.hpp>
#include <ackbus/outcome.hpp>
#include <cstdio>
#include <cstdlib>

namespace ackbus {

namespace detail {

void end_for_value_of(const Error& error) noexcept {
  std::fprintf(stderr, "ackbus: the value of an error was read: %s: %s\n", error_name(error.code),
               error.text.c_str());
  std::abort();
}

void end_for_error_of_value() noexcept {
  std::fputs("ackbus: the error of a success was read: look at ok() first\n", stderr);
  std::abort();
}

}  // namespace detail

namespace {
const OutcomeNotes kNoNotes;
}  // namespace

const std::string& Outcome::text() const { return notes == nullptr ? kNoNotes.text : notes->text; }

const OutcomeNotes::Metadata& Outcome::metadata() const {
  return notes == nullptr ? kNoNotes.metadata : notes->metadata;
}

const char* error_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNoDaemon:
      return "no daemon";
    case ErrorCode::kPermission:
      return "permission";
    case ErrorCode::kVersion:
      return "version";
    case ErrorCode::kQuota:
      return "quota";
    case ErrorCode::kMemory:
      return "memory";
    case ErrorCode::kInvalid:
      return "invalid";
    case ErrorCode::kBackPressured:
      return "back-pressured";
    case ErrorCode::kTimeout:
      return "timeout";
    case ErrorCode::kClosed:
      return "closed";
    case ErrorCode::kDisconnected:
      return "disconnected";
    case ErrorCode::kForked:
      return "forked";
    case ErrorCode::kNotFound:
      return "not found";
    case ErrorCode::kProtocol:
      return "protocol";
    case ErrorCode::kSystem:
      return "system";
    case ErrorCode::kReserved:
      break;
  }
  return "unknown";
}

const char* outcome_name(OutcomeCode code) {
  switch (code) {
    case OutcomeCode::kSuccess:
      return "Success";
    case OutcomeCode::kPartialSuccess:
      return "PartialSuccess";
    case OutcomeCode::kFailed:
      return "Failed";
    case OutcomeCode::kExhausted:
      return "Exhausted";
    case OutcomeCode::kSuperseded:
      return "Superseded";
    case OutcomeCode::kCancelled:
      return "Cancelled";
    case OutcomeCode::kCancelledMayHaveRun:
      return "Cancelled (may have run)";
    case OutcomeCode::kClosed:
      return "Closed";
    case OutcomeCode::kReserved:
      break;
  }
  return "pending";
}

const char* reason_name(OutcomeReason reason) {
  switch (reason) {
    case OutcomeReason::kNone:
      return "";
    case OutcomeReason::kRetries:
      return "retries";
    case OutcomeReason::kUndelivered:
      return "undelivered";
    case OutcomeReason::kMaxAge:
      return "max_age";
    case OutcomeReason::kPoison:
      return "poison";
    case OutcomeReason::kQueueRemoved:
      return "queue removed";
    case OutcomeReason::kBusShutDown:
      return "bus shut down";
    case OutcomeReason::kUnknown:
      return "unknown";
    case OutcomeReason::kViolation:
      return "violation";
  }
  return "unknown";
}

}  // namespace ackbus
