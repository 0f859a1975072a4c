#include "daemon/dead_letters.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/dead_letter_file.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {
namespace {

std::string amount_text(const DeadLetterAmount& used, std::uint64_t letters, std::uint64_t bytes) {
  return std::to_string(used.letters) + " of " + std::to_string(letters) + " letters, " +
         std::to_string(used.bytes) + " of " + std::to_string(bytes) + " bytes";
}

bool has_room(const DeadLetterAmount& used, std::uint64_t file_bytes, std::uint64_t letters,
              std::uint64_t bytes) {
  return used.letters < letters && used.bytes <= bytes && file_bytes <= bytes - used.bytes;
}

}  // namespace

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
    return {ErrorCode::kQuota,
            "dead-letter directory " + directory_ + " is full for user " + std::to_string(uid) +
                ": " + amount_text(own, limits_.max_letters_per_uid, limits_.max_bytes_per_uid) +
                needs + "max_letters_per_uid or max_bytes_per_uid"};
  }
  return {};
}

Result<void> DeadLetters::write(const Letter& draft, std::span<const std::byte> payload,
                                const std::function<bool()>& still_valid) {
  if (auto followed = follow_directory(); !followed) {
    return followed;
  }
  const Letter letter = with_history(draft);
  if (is_anothers(letter)) {
    return {ErrorCode::kExists, "message id " + to_text(letter.id) +
                                    " is that of another message's dead letter: ids are random, "
                                    "and used once"};
  }
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
    } else {  // Renamed, not synced, and the disk did not take it back: it is there.
      add_to_index(letter.id, entry_of(letter, file_bytes));
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
  ACKBUS_POINT(kLetterRemoved);
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

Result<bool> DeadLetters::remove_of(const LetterOwner& owner) {
  return is_of(owner) ? remove(owner.id) : Result<bool>(false);
}

Result<bool> DeadLetters::mark_late_success_of(const LetterOwner& owner) {
  return is_of(owner) ? mark_late_success(owner.id) : Result<bool>(false);
}

bool DeadLetters::is_of(const LetterOwner& owner) const {
  const std::lock_guard lock(mutex_);
  const auto found = index_.find(owner.id);
  return found != index_.end() && found->second.link_id == owner.link_id &&
         found->second.sequence == owner.sequence &&
         (!owner.sender_uid || found->second.sender_uid == *owner.sender_uid);
}

bool DeadLetters::is_anothers(const Letter& letter) const {
  return exists(letter.id) &&
         !is_of({letter.id, letter.link_id, letter.sequence, letter.sender_uid});
}

bool DeadLetters::exists(const LetterId& id) const {
  const std::lock_guard lock(mutex_);
  return index_.count(id) == 1;
}

std::vector<Letter> DeadLetters::list(const DeadLetterFilter& filter, std::size_t limit) {
  return page(filter, limit, {}).letters;
}

LetterPage DeadLetters::page(const DeadLetterFilter& filter, std::size_t limit,
                             const std::optional<ListingPlace>& after) {
  LetterPage page;
  if (!follow_directory()) {
    return page;
  }
  const std::vector<LetterId> ids = matching(filter, after);
  std::size_t read = 0;
  for (; read < ids.size() && page.letters.size() < limit; ++read) {
    Result<Letter> letter = read_letter_header(directory_fd_.get(), letter_file_name(ids[read]));
    if (letter) {
      page.letters.push_back(std::move(letter).value());
    } else {
      note_damage(ids[read], letter.error());
    }
  }
  page.more = ids.size() - read;
  if (page.more != 0 && !page.letters.empty()) {
    const Letter& last = page.letters.back();
    page.next = ListingPlace{last.exhausted.realtime_ns, last.id};
  }
  return page;
}

Result<StoredLetter> DeadLetters::read(const LetterId& id) {
  StoredLetter stored;
  if (auto followed = follow_directory(); !followed) {
    return followed.error();
  }
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
  if (auto followed = follow_directory(); !followed) {
    return followed.error();
  }
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
    if (name.ends_with(kBadSuffix)) {
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
          letter.reason,     letter.queue,
          letter.link_id,    letter.sequence};
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
std::vector<LetterId> DeadLetters::matching(const DeadLetterFilter& filter,
                                            const std::optional<ListingPlace>& after) const {
  using Place = std::pair<std::uint64_t, LetterId>;
  const auto place_of = [](std::uint64_t realtime_ns, const LetterId& id) {
    return Place{UINT64_MAX - realtime_ns, id};
  };
  const std::optional<Place> behind =
      after ? std::optional(place_of(after->exhausted_realtime_ns, after->id)) : std::nullopt;
  std::vector<Place> found;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : index_) {
      const Place place = place_of(entry.exhausted_realtime_ns, id);
      if (matches(id, entry, filter) && (!behind || *behind < place)) {
        found.push_back(place);
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
