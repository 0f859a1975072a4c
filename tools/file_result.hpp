// What reading or writing a file yields: the value, or an error of a code and one line of text that
// names the file, the thing and the remedy. Data flow: made by matrix_market, picture and
// layout_report, printed by the commands. Threads: plain values, no shared state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "shm_layout/assert.hpp"

namespace ackbus::tools {

// One name for each thing a command may do about it: all but kUnwritable concern what was read.
enum class FileErrorCode : std::uint8_t {
  kReserved = 0,
  kUnreadable,        // missing, no permission, an I/O error, or damaged compression
  kMalformed,         // the text is not what the format says
  kTruncated,         // the file ends before what it announced
  kOutOfRange,        // an index or a number outside its limits
  kTooLarge,          // beyond the limits of ackbus
  kEmpty,             // a graph without nodes or without edges
  kMismatch,          // two files that should belong together do not
  kUnwritable,        // the place cannot be written
  kUnknownExtension,  // the name does not say a format that we write
};

struct FileError {
  FileErrorCode code = FileErrorCode::kReserved;
  std::string text;  // One line without a line end.
};

// A value of type T or a FileError. Asking for the one that is not there is a programmer error and
// aborts.
template <typename T>
class [[nodiscard]] FileResult {
 public:
  FileResult(T value) : value_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  FileResult(FileError error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  [[nodiscard]] T& value() {
    ACKBUS_ASSERT(ok());
    return *value_;
  }
  [[nodiscard]] const T& value() const {
    ACKBUS_ASSERT(ok());
    return *value_;
  }
  [[nodiscard]] const FileError& error() const {
    ACKBUS_ASSERT(!ok());
    return error_;
  }

 private:
  std::optional<T> value_;
  FileError error_;
};

// The result of writing: nothing, or a FileError.
using FileStatus = std::optional<FileError>;

}  // namespace ackbus::tools
