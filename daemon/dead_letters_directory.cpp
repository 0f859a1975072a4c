// The store's directory: opening it, taking in what lies in it, and following it when an operator
// puts another one in its place.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "daemon/dead_letter_file.hpp"
#include "daemon/dead_letters.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::size_t kMaxFilesScanned = 2'000'000;
constexpr std::uint64_t kMaxLeftoversKept = 100;

Error directory_error(const std::string& directory, const Error& reason) {
  return {reason.code, "dead-letter directory " + directory + ": " + reason.text +
                           ": correct it or set dead_letters.directory"};
}

/// Only its owner may be able to write into it: a letter is sent again as its original sender's.
Result<void> check_directory(int fd) {
  struct stat state {};
  if (fstat(fd, &state) != 0) {
    return system_error("cannot be examined", errno);
  }
  if ((state.st_uid != geteuid() && state.st_uid != 0) || (state.st_mode & 022U) != 0) {
    return {ErrorCode::kPermission, "others can write to it (chown it to the daemon, chmod 700)"};
  }
  if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0) {
    return system_error("cannot be written", errno);
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return {ErrorCode::kBusy, "another daemon uses it"};
  }
  return {};
}

Result<UniqueFd> open_directory(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return system_error("cannot be opened", errno);
  }
  if (auto checked = check_directory(fd.get()); !checked) {
    return checked.error();
  }
  return fd;
}

}  // namespace

Result<std::unique_ptr<DeadLetters>> DeadLetters::open(const std::string& directory,
                                                       const DeadLetterLimits& limits) {
  std::error_code made;
  std::filesystem::create_directories(std::filesystem::path(directory).parent_path(), made);
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return directory_error(directory, system_error("cannot be made", errno));
  }
  Result<UniqueFd> fd = open_directory(directory);
  if (!fd) {
    return directory_error(directory, fd.error());
  }
  std::unique_ptr<DeadLetters> store(new DeadLetters(directory, std::move(fd).value(), limits));
  if (auto scanned = store->scan(); !scanned) {
    return directory_error(directory, scanned.error());
  }
  return store;
}

DeadLetters::DeadLetters(std::string directory, UniqueFd directory_fd,
                         const DeadLetterLimits& limits)
    : directory_(std::move(directory)), directory_fd_(std::move(directory_fd)), limits_(limits) {}

/// Makes the directory that has the store's name now the one that is used. While there is none
/// nothing is written: what went into a directory without its name, no later daemon would find.
Result<void> DeadLetters::follow_directory() {
  struct stat named {};
  struct stat used {};
  if (stat(directory_.c_str(), &named) != 0) {
    return error_of(system_error("cannot be opened", errno));
  }
  if (fstat(directory_fd_.get(), &used) == 0 && named.st_dev == used.st_dev &&
      named.st_ino == used.st_ino) {
    return {};
  }
  Result<UniqueFd> fd = open_directory(directory_);
  if (!fd) {
    return error_of(fd.error());
  }
  DeadLetters present(directory_, std::move(fd).value(), {});
  if (auto scanned = present.scan(); !scanned) {
    return error_of(scanned.error());
  }
  const std::lock_guard lock(mutex_);
  directory_fd_ = std::move(present.directory_fd_);
  index_ = std::move(present.index_);
  redriven_ = std::move(present.redriven_);
  present.stats_.damaged += stats_.damaged;
  present.stats_.leftovers += stats_.leftovers;
  stats_ = std::move(present.stats_);
  return {};
}

Error DeadLetters::error_of(const Error& reason) const {
  return directory_error(directory_, reason);
}

Result<std::vector<std::string>> DeadLetters::file_names() const {
  // A descriptor of its own, because the stream closes what it is given; "." also leaves the lock
  // alone.
  const int fd = openat(directory_fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fd < 0 ? nullptr : fdopendir(fd), closedir);
  if (!stream) {
    const Error error = system_error("cannot be read", errno);
    const UniqueFd closes(fd);
    return error;
  }
  std::vector<std::string> names;
  while (const dirent* entry = readdir(stream.get())) {
    if (names.size() == kMaxFilesScanned) {
      return {ErrorCode::kFull, "holds more than " + std::to_string(kMaxFilesScanned) + " files"};
    }
    names.emplace_back(entry->d_name);
  }
  return names;
}

Result<void> DeadLetters::scan() {
  Result<std::vector<std::string>> names = file_names();
  if (!names) {
    return names.error();
  }
  for (const std::string& name : names.value()) {
    if (name.ends_with(kTemporarySuffix)) {
      if (++stats_.leftovers <= kMaxLeftoversKept) {
        move_aside(name);
      } else {
        unlinkat(directory_fd_.get(), name.c_str(), 0);
      }
    } else if (name.ends_with(kLetterSuffix) || name.ends_with(kRedrivenSuffix)) {
      if (auto taken = take_in(name); !taken) {
        return taken;
      }
    }
  }
  return {};
}

/// Puts one file of the directory into the index, or aside when it is damaged.
Result<void> DeadLetters::take_in(const std::string& name) {
  const Result<Letter> letter = read_letter_file(directory_fd_.get(), name, nullptr);
  if (letter) {
    const Letter& read = letter.value();
    const Entry entry =
        entry_of(read, sizeof(LetterHeader) + (read.payload_stored ? read.payload_bytes : 0));
    if (const std::optional<LetterId> new_id = redriven_as(name)) {
      const std::lock_guard lock(mutex_);
      redriven_[*new_id] = {read.id, entry};
    } else {
      add_to_index(read.id, entry);
    }
  } else if (letter.error().code == ErrorCode::kCorrupt) {
    ++stats_.damaged;
    move_aside(name);
  } else {
    return letter.error();
  }
  return {};
}

/// Renames a file so that no scan meets it again, while a person still can. If even that fails it
/// is met again: no harm.
void DeadLetters::move_aside(const std::string& name) {
  const std::string bad = name + kBadSuffix;
  renameat(directory_fd_.get(), name.c_str(), directory_fd_.get(), bad.c_str());
}

}  // namespace ackbus::daemon
