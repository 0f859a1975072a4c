// The exit codes of every `ackbus` command, for scripts: one number for each thing a caller may do
// about it. docs/commands.md lists them. Plain constants and pure functions, any thread.
#pragma once

#include <ackbus/error.hpp>
#include <ackbus/outcome.hpp>
#include <cstdint>

#include "tools/file_result.hpp"

namespace ackbus::tools {

enum class ExitCode : std::uint8_t {
  kDone = 0,        // it worked; for a message: Success or PartialSuccess
  kFailed = 1,      // the consumer answered Failed, or a process that was started failed
  kUsage = 2,       // the command line, or an argument out of range
  kNoDaemon = 3,    // nobody serves the bus, or the daemon went away
  kPermission = 4,  // this user may not
  kTimeout = 5,     // the deadline passed; what was sent is still on its way
  kExhausted = 6,   // retries, waiting time or age used up: there is a dead letter
  kClosed = 7,      // the queue, the bus or the link was closed
  kBadInput = 8,    // a file is missing, damaged or not what it should be
  kNotFound = 9,    // no such message, queue, segment or letter
  kDegraded = 10,   // the bus serves, but something needs attention: status --check, doctor
  kNotRun = 11,     // the message was cancelled or superseded
  kResources = 12,  // a quota or memory does not suffice, or there was no room in time
  kMismatch = 13,   // another version or layout, or a peer that broke the protocol
  kSystem = 14,     // a system call failed, or a result could not be written
};

constexpr ExitCode exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNoDaemon:
    case ErrorCode::kDisconnected:
      return ExitCode::kNoDaemon;
    case ErrorCode::kPermission:
      return ExitCode::kPermission;
    case ErrorCode::kVersion:
    case ErrorCode::kProtocol:
      return ExitCode::kMismatch;
    case ErrorCode::kQuota:
    case ErrorCode::kMemory:
    case ErrorCode::kBackPressured:
      return ExitCode::kResources;
    case ErrorCode::kInvalid:
      return ExitCode::kUsage;
    case ErrorCode::kTimeout:
      return ExitCode::kTimeout;
    case ErrorCode::kClosed:
      return ExitCode::kClosed;
    case ErrorCode::kNotFound:
      return ExitCode::kNotFound;
    case ErrorCode::kForked:
    case ErrorCode::kSystem:
    case ErrorCode::kReserved:
      break;
  }
  return ExitCode::kSystem;
}

constexpr ExitCode exit_code_of(OutcomeCode code) {
  switch (code) {
    case OutcomeCode::kSuccess:
    case OutcomeCode::kPartialSuccess:
      return ExitCode::kDone;
    case OutcomeCode::kFailed:
      return ExitCode::kFailed;
    case OutcomeCode::kExhausted:
      return ExitCode::kExhausted;
    case OutcomeCode::kSuperseded:
    case OutcomeCode::kCancelled:
    case OutcomeCode::kCancelledMayHaveRun:
      return ExitCode::kNotRun;
    case OutcomeCode::kClosed:
      return ExitCode::kClosed;
    case OutcomeCode::kReserved:
      break;
  }
  return ExitCode::kTimeout;
}

// What was read is the caller's input; what cannot be written is the system's doing.
constexpr ExitCode exit_code_of(FileErrorCode code) {
  switch (code) {
    case FileErrorCode::kUnwritable:
      return ExitCode::kSystem;
    case FileErrorCode::kUnknownExtension:
      return ExitCode::kUsage;
    default:
      return ExitCode::kBadInput;
  }
}

}  // namespace ackbus::tools
