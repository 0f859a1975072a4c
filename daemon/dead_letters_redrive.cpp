// The store's part of a redrive. The mark of a letter whose message is under way again is its
// file's name, ID.NEWID.redriven: one rename sets it and one takes it back, so whoever dies in
// between, the letter is there once, whole, and says which message it waits for. Neither is synced:
// after a power cut no message is under way, and either name gives the letter back.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "daemon/dead_letter_file.hpp"
#include "daemon/dead_letters.hpp"

namespace ackbus::daemon {

Result<StoredLetter> DeadLetters::begin_redrive(const LetterId& id, const LetterId& new_id) {
  Result<StoredLetter> stored = read(id);
  if (!stored) {
    return stored;
  }
  if (!stored.value().letter.payload_stored) {
    return {ErrorCode::kInvalid,
            "letter " + to_text(id) +
                " has no payload (it was above payload_limit_bytes): send it from its source"};
  }
  if (renameat(directory_fd_.get(), letter_file_name(id).c_str(), directory_fd_.get(),
               redriven_file_name(id, new_id).c_str()) != 0) {
    return error_of(system_error("letter " + to_text(id) + " cannot be renamed", errno));
  }
  {
    const std::lock_guard lock(mutex_);
    redriven_[new_id] = {id, index_.at(id)};
  }
  drop_from_index(id);
  return stored;
}

Result<void> DeadLetters::end_redrive(const LetterId& new_id, bool done) {
  Redriven redriven;
  {
    const std::lock_guard lock(mutex_);
    const auto found = redriven_.find(new_id);
    if (found == redriven_.end()) {
      return {};
    }
    redriven = found->second;
  }
  const std::string name = redriven_file_name(redriven.id, new_id);
  const bool gone = done || is_kept(new_id);
  const int failed = gone ? unlinkat(directory_fd_.get(), name.c_str(), 0)
                          : renameat(directory_fd_.get(), name.c_str(), directory_fd_.get(),
                                     letter_file_name(redriven.id).c_str());
  if (failed != 0 && errno != ENOENT) {
    return error_of(system_error("letter " + name + " cannot be deleted or renamed", errno));
  }
  if (!gone && failed == 0) {
    add_to_index(redriven.id, redriven.entry);
  }
  const std::lock_guard lock(mutex_);
  redriven_.erase(new_id);
  return {};
}

bool DeadLetters::is_redriven(const LetterId& new_id) const {
  const std::lock_guard lock(mutex_);
  return redriven_.contains(new_id);
}

std::vector<LetterId> DeadLetters::redriven() const {
  const std::lock_guard lock(mutex_);
  std::vector<LetterId> ids;
  for (const auto& [new_id, letter] : redriven_) {
    ids.push_back(new_id);
  }
  return ids;
}

std::uint32_t DeadLetters::sender_of(const Letter& letter) const {
  const std::lock_guard lock(mutex_);
  const auto before = redriven_.find(letter.id);
  return before == redriven_.end() ? letter.sender_uid : before->second.entry.sender_uid;
}

/// A dead letter, or one that was taken out in its turn.
bool DeadLetters::is_kept(const LetterId& id) const {
  const std::lock_guard lock(mutex_);
  return index_.contains(id) ||
         std::any_of(redriven_.begin(), redriven_.end(),
                     [&](const auto& redriven) { return redriven.second.id == id; });
}

/// What is taken out needs its room too, but for the letter whose place `successor` takes. With the
/// mutex held.
void DeadLetters::add_redriven(const LetterId& successor, std::uint32_t uid,
                               DeadLetterAmount& total, DeadLetterAmount& own) const {
  for (const auto& [new_id, redriven] : redriven_) {
    if (new_id == successor) {
      continue;
    }
    ++total.letters;
    total.bytes += redriven.entry.file_bytes;
    if (redriven.entry.sender_uid == uid) {
      ++own.letters;
      own.bytes += redriven.entry.file_bytes;
    }
  }
}

/// The letter of a redriven message with what the one before it says. One that cannot be read any
/// more is no reason to lose this one.
Letter DeadLetters::with_history(const Letter& letter) const {
  std::string name;
  {
    const std::lock_guard lock(mutex_);
    const auto before = redriven_.find(letter.id);
    if (before == redriven_.end()) {
      return letter;
    }
    name = redriven_file_name(before->second.id, letter.id);
  }
  Letter continued = letter;
  if (const Result<Letter> before = read_letter_header(directory_fd_.get(), name)) {
    continue_history(continued, before.value());
  }
  return continued;
}

}  // namespace ackbus::daemon
