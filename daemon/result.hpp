// What the daemon's cold path returns: a value, or an error with a code for the program and one
// line of text for people. The text names the thing and the remedy and holds no line break. No
// exception crosses a header of the daemon.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

#include "shm_layout/assert.hpp"

namespace ackbus::daemon {

/// What a caller may do about an error; the reason for people is in the text.
enum class ErrorCode : std::uint8_t {
  kReserved = 0,  ///< Never used, so that zeroed memory is no valid code.
  kInvalid,       ///< The request or the configuration is wrong; correct it.
  kNotFound,      ///< There is no such thing.
  kExists,        ///< The name or the place is taken.
  kPermission,    ///< The system or the configuration does not allow it.
  kFull,          ///< A configured limit is used up.
  kNoSpace,       ///< The disk is used up.
  kQuota,         ///< One user's share of a limit is used up; others still have room.
  kNoMemory,      ///< The machine has not enough memory.
  kCorrupt,       ///< Stored or received bytes are not what they claim to be.
  kBusy,          ///< Try again later.
  kCancelled,     ///< The caller withdrew it while it ran.
  kTimeout,       ///< A deadline passed.
  kClosed,        ///< The other side is gone.
  kSystem,        ///< Any other failure of a system call; the text holds its reason.
};

struct Error {
  ErrorCode code = ErrorCode::kReserved;
  std::string text;
};

/// The code for an errno value, so that callers may act on the common ones.
[[nodiscard]] inline ErrorCode code_of_errno(int error_number) {
  switch (error_number) {
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermission;
    case ENOENT:
      return ErrorCode::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return ErrorCode::kExists;
    case ENOSPC:
    case EDQUOT:
      return ErrorCode::kNoSpace;
    case ENOMEM:
      return ErrorCode::kNoMemory;
    case EAGAIN:
    case EBUSY:
      return ErrorCode::kBusy;
    default:
      return ErrorCode::kSystem;
  }
}

/// An error whose text is `what` followed by the system's reason for `error_number`.
[[nodiscard]] inline Error system_error(const std::string& what, int error_number) {
  return {code_of_errno(error_number), what + ": " + std::strerror(error_number)};
}

/// A value of type T or an Error. Asking for the one that is not there is a programmer's error and
/// aborts.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit
  Result(ErrorCode code, std::string text) : Result(Error{code, std::move(text)}) {}

  [[nodiscard]] bool ok() const { return content_.index() == 0; }
  explicit operator bool() const { return ok(); }

  [[nodiscard]] T& value() & {
    ACKBUS_ASSERT(ok());
    return *std::get_if<0>(&content_);
  }
  [[nodiscard]] const T& value() const& {
    ACKBUS_ASSERT(ok());
    return *std::get_if<0>(&content_);
  }
  [[nodiscard]] T&& value() && {
    ACKBUS_ASSERT(ok());
    return std::move(*std::get_if<0>(&content_));
  }
  [[nodiscard]] const Error& error() const {
    ACKBUS_ASSERT(!ok());
    return *std::get_if<1>(&content_);
  }

 private:
  std::variant<T, Error> content_;
};

/// The result of something that gives no value: done, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {  // NOLINT: implicit
    ACKBUS_ASSERT(error_.code != ErrorCode::kReserved);
  }
  Result(ErrorCode code, std::string text) : Result(Error{code, std::move(text)}) {}

  [[nodiscard]] bool ok() const { return error_.code == ErrorCode::kReserved; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const {
    ACKBUS_ASSERT(!ok());
    return error_;
  }

 private:
  Error error_;
};

}  // namespace ackbus::daemon
