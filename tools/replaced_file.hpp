// Writing a file so that nobody ever sees it half done: a temporary file in the same folder,
// renamed into place. Data flow: picture and layout_report hand their bytes over; a reader of
// `path` sees the old file or the new one. Threads: one ReplacedFile belongs to one thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "tools/file_result.hpp"

namespace ackbus::tools {

// Whether a file at `path` could be written now: its folder exists and takes new files, and `path`
// is no folder. Lets a command refuse before hours of work; the write itself may still fail later,
// for example on a full disk.
[[nodiscard]] FileStatus check_writable(const std::string& path);

class ReplacedFile {
 public:
  explicit ReplacedFile(std::string path);
  // Removes the temporary file when finish() has not renamed it.
  ~ReplacedFile();
  ReplacedFile(const ReplacedFile&) = delete;
  ReplacedFile& operator=(const ReplacedFile&) = delete;

  // Appends bytes. False after any failure, which finish() then reports.
  bool write(std::string_view bytes);

  // Puts the file in place; an error names the path and the reason, and leaves what was there
  // before untouched.
  [[nodiscard]] FileStatus finish();

 private:
  [[nodiscard]] FileError error() const;
  void remember_failure();

  std::string path_;
  std::string temporary_path_;
  int descriptor_ = -1;
  int failure_ = 0;  // The errno of the first failure.
};

// Replaces the contents of `path` by `text`.
[[nodiscard]] FileStatus write_text_file(const std::string& path, std::string_view text);

}  // namespace ackbus::tools
