#include "daemon/dead_letters.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "daemon/dead_letter_file.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::size_t kMaxFilesScanned = 2'000'000;
constexpr std::uint64_t kMaxLeftoversKept = 100;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

Error directory_error(const std::string& directory, const Error& reason) {
  return {reason.code, "dead-letter directory " + directory + ": " + reason.text +
                           ": correct it or set dead_letters.directory"};
}

Error directory_error(const std::string& directory, const char* what, int error_number) {
  return directory_error(directory, system_error(what, error_number));
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

std::string amount_text(const DeadLetterAmount& used, std::uint64_t letters, std::uint64_t bytes) {
  return std::to_string(used.letters) + " of " + std::to_string(letters) + " letters, " +
         std::to_string(used.bytes) + " of " + std::to_string(bytes) + " bytes";
}

bool has_room(const DeadLetterAmount& used, std::uint64_t file_bytes, std::uint64_t letters,
              std::uint64_t bytes) {
  return used.letters < letters && used.bytes <= bytes && file_bytes <= bytes - used.bytes;
}

}  // namespace

Result<std::unique_ptr<DeadLetters>> DeadLetters::open(const std::string& directory,
                                                       const DeadLetterLimits& limits) {
  std::error_code made;
  std::filesystem::create_directories(std::filesystem::path(directory).parent_path(), made);
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return directory_error(directory, "cannot be made", errno);
  }
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return directory_error(directory, "cannot be opened", errno);
  }
  if (auto checked = check_directory(fd.get()); !checked) {
    return directory_error(directory, checked.error());
  }
  std::unique_ptr<DeadLetters> store(new DeadLetters(directory, std::move(fd), limits));
  if (auto scanned = store->scan(); !scanned) {
    return directory_error(directory, scanned.error());
  }
  return store;
}

DeadLetters::DeadLetters(std::string directory, UniqueFd directory_fd,
                         const DeadLetterLimits& limits)
    : directory_(std::move(directory)), directory_fd_(std::move(directory_fd)), limits_(limits) {}

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
    if (ends_with(name, kTemporarySuffix)) {
      if (++stats_.leftovers <= kMaxLeftoversKept) {
        move_aside(name);
      } else {
        unlinkat(directory_fd_.get(), name.c_str(), 0);
      }
    } else if (ends_with(name, kLetterSuffix) || ends_with(name, kRedrivenSuffix)) {
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

Error DeadLetters::error_of(const Error& reason) const {
  return directory_error(directory_, reason);
}

/// Renames a file so that no scan meets it again, while a person still can. If even that fails it
/// is met again: no harm.
void DeadLetters::move_aside(const std::string& name) {
  const std::string bad = name + kBadSuffix;
  renameat(directory_fd_.get(), name.c_str(), directory_fd_.get(), bad.c_str());
}

Result<void> DeadLetters::check_room(const LetterId& id, std::uint32_t uid,
                                     std::uint64_t file_bytes) const {
  const std::lock_guard lock(mutex_);
  DeadLetterAmount total = stats_.total;
  const auto of_uid = stats_.by_uid.find(uid);
  DeadLetterAmount own = of_uid == stats_.by_uid.end() ? DeadLetterAmount{} : of_uid->second;
  if (const auto replaced = index_.find(id); replaced != index_.end()) {
    --total.letters;
    total.bytes -= replaced->second.file_bytes;
    if (replaced->second.sender_uid == uid) {
      --own.letters;
      own.bytes -= replaced->second.file_bytes;
    }
  }
  add_redriven(id, uid, total, own);
  const std::string needs = ", this letter needs " + std::to_string(file_bytes) +
                            " bytes: run `ackbus dead purge` or raise dead_letters.";
  if (!has_room(total, file_bytes, limits_.max_letters, limits_.max_bytes)) {
    return {ErrorCode::kFull, "dead-letter directory " + directory_ + " is full: " +
                                  amount_text(total, limits_.max_letters, limits_.max_bytes) +
                                  needs + "max_letters or max_bytes"};
  }
  if (!has_room(own, file_bytes, limits_.max_letters_per_uid, limits_.max_bytes_per_uid)) {
    return {ErrorCode::kFull,
            "dead-letter directory " + directory_ + " is full for user " + std::to_string(uid) +
                ": " + amount_text(own, limits_.max_letters_per_uid, limits_.max_bytes_per_uid) +
                needs + "max_letters_per_uid or max_bytes_per_uid"};
  }
  return {};
}

Result<void> DeadLetters::write(const Letter& draft, std::span<const std::byte> payload,
                                const std::function<bool()>& still_valid) {
  const Letter letter = with_history(draft);
  std::uint64_t payload_limit_bytes = 0;
  {
    const std::lock_guard lock(mutex_);
    payload_limit_bytes = limits_.payload_limit_bytes;
  }
  const bool store_payload = payload.size() <= payload_limit_bytes;
  const std::uint64_t file_bytes = sizeof(LetterHeader) + (store_payload ? payload.size() : 0);
  if (auto room = check_room(letter.id, letter.sender_uid, file_bytes); !room) {
    return room;
  }
  auto written =
      write_letter_file(directory_fd_.get(), letter, payload, store_payload, still_valid);
  if (!written) {
    if (faccessat(directory_fd_.get(), letter_file_name(letter.id).c_str(), F_OK, 0) != 0) {
      drop_from_index(letter.id);
    }
    return written.error().code == ErrorCode::kCancelled ? written : error_of(written.error());
  }
  add_to_index(letter.id, entry_of(letter, file_bytes));
  return {};
}

Result<bool> DeadLetters::remove(const LetterId& id) {
  const int failed = unlinkat(directory_fd_.get(), letter_file_name(id).c_str(), 0);
  if (failed != 0 && errno != ENOENT) {
    return error_of(system_error("letter " + to_text(id) + " cannot be deleted", errno));
  }
  const bool existed = failed == 0;
  drop_from_index(id);
  return existed;
}

Result<bool> DeadLetters::mark_late_success(const LetterId& id) {
  if (!exists(id)) {
    return false;
  }
  if (auto marked = mark_letter_file_late(directory_fd_.get(), letter_file_name(id)); !marked) {
    return error_of(marked.error());
  }
  return true;
}

bool DeadLetters::exists(const LetterId& id) const {
  const std::lock_guard lock(mutex_);
  return index_.count(id) == 1;
}

std::vector<Letter> DeadLetters::list(const DeadLetterFilter& filter, std::size_t limit) {
  std::vector<Letter> letters;
  for (const LetterId& id : matching(filter)) {
    if (letters.size() >= limit) {
      break;
    }
    Result<Letter> letter = read_letter_header(directory_fd_.get(), letter_file_name(id));
    if (letter) {
      letters.push_back(std::move(letter).value());
    } else {
      note_damage(id, letter.error());
    }
  }
  return letters;
}

Result<StoredLetter> DeadLetters::read(const LetterId& id) {
  StoredLetter stored;
  if (!exists(id)) {
    return {ErrorCode::kNotFound,
            "dead letter " + to_text(id) + ": there is none in " + directory_};
  }
  Result<Letter> letter =
      read_letter_file(directory_fd_.get(), letter_file_name(id), &stored.payload);
  if (letter) {
    stored.letter = std::move(letter).value();
    return stored;
  }
  note_damage(id, letter.error());
  return letter.error();
}

/// Moves a letter aside that was whole when it was taken in and is not any more.
void DeadLetters::note_damage(const LetterId& id, const Error& error) {
  if (error.code != ErrorCode::kCorrupt) {
    return;
  }
  move_aside(letter_file_name(id));
  drop_from_index(id);
  const std::lock_guard lock(mutex_);
  ++stats_.damaged;
}

Result<DeadLetterAmount> DeadLetters::purge(const DeadLetterFilter& filter) {
  const DeadLetterAmount before = stats().total;
  for (const LetterId& id : matching(filter)) {
    if (auto removed = remove(id); !removed) {
      return removed.error();
    }
  }
  if (filter.is_empty()) {
    purge_moved_aside();
  }
  fsync(directory_fd_.get());  // A power cut may at worst bring a purged letter back.
  const DeadLetterAmount after = stats().total;
  return DeadLetterAmount{before.letters - after.letters, before.bytes - after.bytes};
}

void DeadLetters::purge_moved_aside() {
  const Result<std::vector<std::string>> names = file_names();
  if (!names) {
    return;
  }
  for (const std::string& name : names.value()) {
    if (ends_with(name, kBadSuffix)) {
      unlinkat(directory_fd_.get(), name.c_str(), 0);
    }
  }
}

DeadLetterStats DeadLetters::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void DeadLetters::set_limits(const DeadLetterLimits& limits) {
  const std::lock_guard lock(mutex_);
  limits_ = limits;
}

DeadLetters::Entry DeadLetters::entry_of(const Letter& letter, std::uint64_t file_bytes) {
  return {file_bytes,        letter.exhausted.realtime_ns,
          letter.sender_uid, letter.kind_id,
          letter.reason,     letter.queue};
}

/// In place of one of the same id.
void DeadLetters::add_to_index(const LetterId& id, const Entry& entry) {
  drop_from_index(id);
  const std::lock_guard lock(mutex_);
  index_[id] = entry;
  DeadLetterAmount& own = stats_.by_uid[entry.sender_uid];
  ++stats_.total.letters;
  ++own.letters;
  stats_.total.bytes += entry.file_bytes;
  own.bytes += entry.file_bytes;
  ++stats_.letters_by_reason[entry.reason];
}

void DeadLetters::drop_from_index(const LetterId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = index_.find(id);
  if (found == index_.end()) {
    return;
  }
  const Entry& entry = found->second;
  const auto own = stats_.by_uid.find(entry.sender_uid);
  --stats_.total.letters;
  stats_.total.bytes -= entry.file_bytes;
  own->second.bytes -= entry.file_bytes;
  if (--own->second.letters == 0) {
    stats_.by_uid.erase(own);
  }
  --stats_.letters_by_reason[entry.reason];
  index_.erase(found);
}

bool DeadLetters::matches(const LetterId& id, const Entry& entry, const DeadLetterFilter& filter) {
  return (!filter.id || *filter.id == id) && (!filter.queue || *filter.queue == entry.queue) &&
         (!filter.kind_id || *filter.kind_id == entry.kind_id) &&
         (!filter.reason || *filter.reason == entry.reason) &&
         (!filter.sender_uid || *filter.sender_uid == entry.sender_uid) &&
         (!filter.older_than_realtime_ns ||
          entry.exhausted_realtime_ns < *filter.older_than_realtime_ns);
}

/// The ids that match, newest first; equal times in the order of the ids, so that a listing is the
/// same twice.
std::vector<LetterId> DeadLetters::matching(const DeadLetterFilter& filter) const {
  std::vector<std::pair<std::uint64_t, LetterId>> found;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : index_) {
      if (matches(id, entry, filter)) {
        found.emplace_back(UINT64_MAX - entry.exhausted_realtime_ns, id);
      }
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<LetterId> ids;
  ids.reserve(found.size());
  for (const auto& [newest_first, id] : found) {
    ids.push_back(id);
  }
  return ids;
}

}  // namespace ackbus::daemon
