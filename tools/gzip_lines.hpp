// A reader of text files line by line, plain or gzip-compressed, in constant memory whatever the
// file's size. Data flow: file -> zlib -> one buffer -> one line at a time for matrix_market.
// Threads: one reader belongs to one thread.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/file_result.hpp"

namespace ackbus::tools {

class GzipLines {
 public:
  // A longer line is an error; the Matrix Market format itself allows 1024 bytes.
  static constexpr std::size_t kLineBytesMax = 4096;

  enum class Next : std::uint8_t { kLine = 1, kEnd, kFailed };

  // Opens `path`; if that fails, the first next() says so.
  explicit GzipLines(std::string path);

  // Moves on to the next line, without its line end (LF or CR LF). The view holds until the next
  // call. A last line without a line end counts. After kFailed, error() tells why, and there is no
  // more to read.
  [[nodiscard]] Next next(std::string_view& line);

  [[nodiscard]] const FileError& error() const { return error_; }

  // An error at the line last read: "FILE:LINE: text".
  [[nodiscard]] FileError error_here(FileErrorCode code, std::string_view text) const;

 private:
  struct CloseFile {
    void operator()(gzFile file) const { gzclose(file); }
  };

  [[nodiscard]] bool fill();
  [[nodiscard]] Next fail(FileErrorCode code, std::string_view text);
  [[nodiscard]] Next take_line(std::size_t length, std::size_t consumed, std::string_view& line);

  std::string path_;
  std::unique_ptr<gzFile_s, CloseFile> file_;
  int open_error_ = 0;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // What is read but not given out yet lies in buffer_[begin_, end_).
  std::size_t end_ = 0;
  bool at_end_ = false;
  std::uint64_t line_number_ = 0;
  FileError error_;
};

}  // namespace ackbus::tools
