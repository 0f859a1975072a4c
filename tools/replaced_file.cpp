// The temporary file's life: created under a new name, written, closed, renamed or removed.
#include "tools/replaced_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "shm_layout/assert.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

// A name may be taken by a process of the same number that was killed; so many of them never are.
constexpr int kTemporaryNamesMax = 100;

FileError unwritable(const std::string& path, int number) {
  return {FileErrorCode::kUnwritable, printable_text(path) + ": cannot be written (" +
                                          std::generic_category().message(number) +
                                          "); give a path in a folder that you may write to"};
}

}  // namespace

FileStatus check_writable(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return unwritable(path, EISDIR);
  if (path.empty() || path.ends_with('/')) return unwritable(path, EISDIR);
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  if (access(folder.c_str(), W_OK | X_OK) != 0) return unwritable(path, errno);
  if (!std::filesystem::is_directory(folder, ignored)) return unwritable(path, ENOTDIR);
  return std::nullopt;
}

ReplacedFile::ReplacedFile(std::string path) : path_(std::move(path)) {
  for (int attempt = 0; attempt < kTemporaryNamesMax && descriptor_ < 0; ++attempt) {
    temporary_path_ = path_ + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(attempt);
    descriptor_ = open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) break;
  }
  if (descriptor_ >= 0) return;
  remember_failure();
  temporary_path_.clear();
}

ReplacedFile::~ReplacedFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_path_.empty()) unlink(temporary_path_.c_str());
}

void ReplacedFile::remember_failure() {
  if (failure_ == 0) failure_ = errno != 0 ? errno : EIO;
}

FileError ReplacedFile::error() const { return unwritable(path_, failure_); }

bool ReplacedFile::write(std::string_view bytes) {
  while (!bytes.empty() && failure_ == 0) {  // Every round writes at least a byte or fails.
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (count == 0 || errno != EINTR) {
      remember_failure();
    }
  }
  return failure_ == 0;
}

FileStatus ReplacedFile::finish() {
  if (failure_ != 0) return error();
  ACKBUS_ASSERT(descriptor_ >= 0);
  if (close(std::exchange(descriptor_, -1)) != 0) remember_failure();
  if (failure_ == 0 && rename(temporary_path_.c_str(), path_.c_str()) != 0) remember_failure();
  if (failure_ != 0) return error();
  temporary_path_.clear();
  return std::nullopt;
}

FileStatus write_text_file(const std::string& path, std::string_view text) {
  ReplacedFile file(path);
  file.write(text);
  return file.finish();
}

}  // namespace ackbus::tools
