// Errors of libackbus: a small code that says what the caller can do, and a text that names the
// thing and the remedy. No exception crosses a public header.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace ackbus {

// One name per thing that a caller may do.
enum class ErrorCode : std::uint8_t {
  kReserved = 0,   // never given
  kNoDaemon,       // nobody listens on the socket: start the daemon, or name another --runtime-dir
  kPermission,     // this user may not: see the text
  kVersion,        // library and daemon have other layouts: both are in the text
  kQuota,          // a limit of the bus: ask for less, or raise it in the configuration
  kMemory,         // not enough memory for what was asked
  kInvalid,        // an argument is out of range: the text names it
  kBackPressured,  // no free slot or arena space until the deadline: slow down, or reap outcomes
  kTimeout,        // the deadline passed
  kClosed,         // the link, the bus or the handle is closed: connect anew
  kDisconnected,  // the daemon is away; outstanding messages go on, nothing new can be set up until
                  // it is back
  kForked,        // the handle was made before fork(): connect in the child
  kNotFound,      // no such message, queue or segment
  kProtocol,      // a peer broke the protocol
  kSystem,        // a system call failed: the text says which
};

// What went wrong. A plain value.
struct Error {
  ErrorCode code = ErrorCode::kReserved;
  std::string text;  // one line for people: the thing and the remedy; not for parsing
};

namespace detail {
// Both say what happened on standard error and abort.
[[noreturn]] void end_for_value_of(const Error& error) noexcept;
[[noreturn]] void end_for_error_of_value() noexcept;
}  // namespace detail

// A value or an Error: ok(), or the result as a condition, says which. Reading the value of an
// error, or the error of a value, is a programmer error and ends the process with a message.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::move(value)) {}      // NOLINT: a function returns either by name
  Result(Error error) : content_(std::move(error)) {}  // NOLINT: a function returns either by name

  [[nodiscard]] bool ok() const { return content_.index() == 0; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] T& value() & {
    if (T* value = std::get_if<0>(&content_)) [[likely]] {
      return *value;
    }
    detail::end_for_value_of(error());
  }
  [[nodiscard]] const T& value() const& {
    if (const T* value = std::get_if<0>(&content_)) [[likely]] {
      return *value;
    }
    detail::end_for_value_of(error());
  }
  [[nodiscard]] T&& value() && { return std::move(value()); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  [[nodiscard]] const Error& error() const {
    if (const Error* error = std::get_if<1>(&content_)) [[likely]] {
      return *error;
    }
    detail::end_for_error_of_value();
  }

 private:
  std::variant<T, Error> content_;
};

// Success without a value, or an Error: ok(), or the result as a condition, says which.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: a function returns either by name

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const {
    if (error_) [[likely]] {
      return *error_;
    }
    detail::end_for_error_of_value();
  }

 private:
  std::optional<Error> error_;
};

// The code in a word or two, such as "back-pressured", for logs; "unknown" for kReserved and for
// any other number. Never null, valid for ever. Any thread.
[[nodiscard]] const char* error_name(ErrorCode code);

}  // namespace ackbus
