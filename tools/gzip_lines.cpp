// Buffering between zlib's blocks and the caller's lines. zlib passes files without a gzip header
// through unchanged.
#include "tools/gzip_lines.hpp"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{64} * 1024;
static_assert(kBufferBytes > 2 * GzipLines::kLineBytesMax, "a refill must make room for a line");

std::string text_of_errno(int number) { return std::generic_category().message(number); }

}  // namespace

GzipLines::GzipLines(std::string path) : path_(std::move(path)), buffer_(kBufferBytes) {
  errno = 0;
  file_.reset(gzopen(path_.c_str(), "rbe"));
  open_error_ = file_ == nullptr ? (errno != 0 ? errno : ENOMEM) : 0;
}

GzipLines::Next GzipLines::next(std::string_view& line) {
  if (error_.code != FileErrorCode::kReserved) return Next::kFailed;
  if (open_error_ != 0) {
    error_ = {FileErrorCode::kUnreadable, printable_text(path_) + ": cannot be read (" +
                                              text_of_errno(open_error_) +
                                              "); give the path of a file that you may read"};
    return Next::kFailed;
  }
  // Two rounds at most: what the buffer holds, then the same with the buffer filled up.
  for (int round = 0; round < 2; ++round) {
    const char* begin = buffer_.data() + begin_;
    const std::size_t available = end_ - begin_;
    const void* found = available == 0 ? nullptr : std::memchr(begin, '\n', available);
    if (found != nullptr) {
      const auto length = static_cast<std::size_t>(static_cast<const char*>(found) - begin);
      return take_line(length, length + 1, line);
    }
    if (available > kLineBytesMax) break;
    if (at_end_) return available == 0 ? Next::kEnd : take_line(available, available, line);
    if (!fill()) return Next::kFailed;
  }
  ++line_number_;
  return fail(FileErrorCode::kTooLarge, "the line is longer than " + std::to_string(kLineBytesMax) +
                                            " bytes; this is not a text file of the format");
}

GzipLines::Next GzipLines::take_line(std::size_t length, std::size_t consumed,
                                     std::string_view& line) {
  ++line_number_;
  line = std::string_view(buffer_.data() + begin_, length);
  begin_ += consumed;
  if (length > kLineBytesMax) {
    return fail(FileErrorCode::kTooLarge, "the line is longer than " +
                                              std::to_string(kLineBytesMax) +
                                              " bytes; this is not a text file of the format");
  }
  if (line.ends_with('\r')) line.remove_suffix(1);
  return Next::kLine;
}

bool GzipLines::fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  while (end_ < buffer_.size() && !at_end_) {
    errno = 0;
    const int count =
        gzread(file_.get(), buffer_.data() + end_, static_cast<unsigned>(buffer_.size() - end_));
    if (count > 0) end_ += static_cast<std::size_t>(count);
    if (count == 0) at_end_ = true;
    if (count < 0) break;
  }
  int code = Z_OK;
  const char* message = gzerror(file_.get(), &code);
  if (code == Z_OK || code == Z_STREAM_END) return true;
  // The lines before the damage are of no use, so they are not given out.
  if (code == Z_BUF_ERROR) {
    error_ = {FileErrorCode::kTruncated,
              printable_text(path_) +
                  ": the compressed data end too early; copy or download the file again"};
  } else if (code == Z_ERRNO) {
    error_ = {FileErrorCode::kUnreadable, printable_text(path_) + ": cannot be read (" +
                                              text_of_errno(errno) +
                                              "); give the path of a file that you may read"};
  } else {
    error_ = {FileErrorCode::kUnreadable,
              printable_text(path_) + ": the compressed data are damaged (" +
                  printable_text(message) + "); copy or download the file again"};
  }
  return false;
}

GzipLines::Next GzipLines::fail(FileErrorCode code, std::string_view text) {
  error_ = error_here(code, text);
  return Next::kFailed;
}

FileError GzipLines::error_here(FileErrorCode code, std::string_view text) const {
  return {code,
          printable_text(path_) + ":" + std::to_string(line_number_) + ": " + std::string(text)};
}

}  // namespace ackbus::tools
