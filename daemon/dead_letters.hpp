// The store of dead letters: one directory, one file per letter, bounded as a whole and for each
// user.
//
// Purpose: nothing that used up its retries is dropped without a record that can be looked at and
// sent again. Data flow: the tracker decides a verdict, the worker thread writes the letter here,
// and only then the verdict is announced; the `dead` commands list, read and purge; a redrive takes
// a letter out until its message has ended. The index in memory is rebuilt from the directory when
// the store is opened; what a crash left half-written is found then, counted, and moved aside as
// *.bad. Threads: open() and every method that touches the disk are for the worker thread; those
// marked "any thread" are safe from any thread and never wait for the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/dead_letter.hpp"
#include "daemon/result.hpp"
#include "daemon/unique_fd.hpp"

namespace ackbus::daemon {

/// How much may be kept. The bytes are those of the files: 1024 and the stored payload for each
/// letter.
struct DeadLetterLimits {
  std::uint64_t max_letters = 10'000;
  std::uint64_t max_bytes = std::uint64_t{1} << 30;
  std::uint64_t max_letters_per_uid = 5'000;
  std::uint64_t max_bytes_per_uid = std::uint64_t{1} << 29;
  std::uint64_t payload_limit_bytes = std::uint64_t{16} << 20;  // Longer: length and hash only.
  bool operator==(const DeadLetterLimits&) const = default;
};

/// Which letters are meant; an empty filter means all. Conditions are joined by "and".
struct DeadLetterFilter {
  std::optional<LetterId> id;
  std::optional<std::string> queue;
  std::optional<std::uint32_t> kind_id;
  std::optional<DeathReason> reason;
  std::optional<std::uint32_t> sender_uid;
  std::optional<std::uint64_t> older_than_realtime_ns;  // Exhausted before this instant.

  [[nodiscard]] bool is_empty() const {
    return !id && !queue && !kind_id && !reason && !sender_uid && !older_than_realtime_ns;
  }
};

struct DeadLetterAmount {
  std::uint64_t letters = 0;
  std::uint64_t bytes = 0;
  bool operator==(const DeadLetterAmount&) const = default;
};

struct DeadLetterStats {
  DeadLetterAmount total;
  std::map<std::uint32_t, DeadLetterAmount> by_uid;
  std::map<DeathReason, std::uint64_t> letters_by_reason;
  std::uint64_t damaged = 0;    // Letters found damaged and moved aside since the store was opened.
  std::uint64_t leftovers = 0;  // Half-written files found when the store was opened.
};

/// Where a listing goes on: behind this letter, whether it is still there or not. Listings are in
/// the order of the verdicts, newest first; of equal times the smaller id first.
struct ListingPlace {
  std::uint64_t exhausted_realtime_ns = 0;
  LetterId id{};
};

struct LetterPage {
  std::vector<Letter> letters;       // Without their payloads.
  std::optional<ListingPlace> next;  // Nothing: these were the last.
  std::uint64_t more = 0;            // Letters that match behind this page.
};

struct StoredLetter {
  Letter letter;
  std::vector<std::byte> payload;  // Empty when letter.payload_stored is false.
};

/// Whose letter: an id alone is only what its sender wrote, and anybody who may look knows those of
/// others.
struct LetterOwner {
  LetterId id{};
  std::uint64_t link_id = 0;
  std::uint64_t sequence = 0;
  std::optional<std::uint32_t> sender_uid;  // Nothing: of the daemon's own link, for any sender.
};

class DeadLetters {
 public:
  /// Opens the store, makes the directory (mode 0700) when it is absent, and reads and checks every
  /// letter in it. Errors name the directory and the remedy: it cannot be made, read or written;
  /// others may write to it; another daemon uses it.
  static Result<std::unique_ptr<DeadLetters>> open(const std::string& directory,
                                                   const DeadLetterLimits& limits);

  /// Keeps the letter; when it returns without an error the letter survives a power cut. The
  /// payload is read once, here. `still_valid` (may be empty) is asked after that; false withdraws
  /// the letter with kCancelled. A letter of the same message is replaced, so a new daemon may do
  /// again what an old one had begun; one of another message that has the same id is left alone,
  /// and this one refused with kExists. kFull, and kQuota when only its sender's room is used up,
  /// name directory, bytes and remedy. A directory that was put in the place of the one that was
  /// opened is used from then on, with what lies in it; while there is none the letter is refused.
  Result<void> write(const Letter& draft, std::span<const std::byte> payload,
                     const std::function<bool()>& still_valid = {});

  /// Deletes one letter. False when there was none.
  Result<bool> remove(const LetterId& id);

  /// Notes in the letter that a Success came after the verdict. False when there is no such letter.
  Result<bool> mark_late_success(const LetterId& id);

  /// The same two for the letter of one message; they do nothing when the id is another's.
  Result<bool> remove_of(const LetterOwner& owner);
  Result<bool> mark_late_success_of(const LetterOwner& owner);

  /// Any thread.
  [[nodiscard]] bool exists(const LetterId& id) const;
  [[nodiscard]] bool is_of(const LetterOwner& owner) const;

  /// The latest `limit` letters that match, newest first, without their payloads.
  [[nodiscard]] std::vector<Letter> list(const DeadLetterFilter& filter, std::size_t limit);

  /// The next `limit` (1 or more) letters that match behind `after`; from the newest without it. A
  /// walk from page to page shows every letter that was there from its begin to its end once.
  [[nodiscard]] LetterPage page(const DeadLetterFilter& filter, std::size_t limit,
                                const std::optional<ListingPlace>& after);

  /// One letter with its payload, checked. kNotFound or kCorrupt (then it was moved aside).
  Result<StoredLetter> read(const LetterId& id);

  /// Deletes what matches and says how much that was; with an empty filter also what had been moved
  /// aside as *.bad. Stops at the first letter that cannot be deleted.
  Result<DeadLetterAmount> purge(const DeadLetterFilter& filter);

  // ---- redrive (dead_letters_redrive.cpp) ----

  /// Takes the letter out for the message `new_id`, which is to be sent next. It is no dead letter
  /// any more (not listed, not counted, not purged), but its file stays, marked with `new_id`,
  /// until end_redrive(); a letter written under `new_id` continues its history. kNotFound,
  /// kCorrupt, or kInvalid when its payload was not kept.
  Result<StoredLetter> begin_redrive(const LetterId& id, const LetterId& new_id);

  /// The message `new_id` has ended: done, and its letter is deleted; or not, and it is a dead
  /// letter again, unless one was written under `new_id` in its place. Does nothing for any other
  /// id, so it may be done twice.
  Result<void> end_redrive(const LetterId& new_id, bool done);

  /// Any thread. Whether a letter waits for the end of the message `new_id`, and all such ids:
  /// after open() those that the daemon before this one left.
  [[nodiscard]] bool is_redriven(const LetterId& new_id) const;
  [[nodiscard]] std::vector<LetterId> redriven() const;

  /// Any thread. The user whose room the letter needs: of a redriven message its first sender.
  [[nodiscard]] std::uint32_t sender_of(const Letter& letter) const;

  /// Any thread. Dead letters only; the limits count those taken out too.
  [[nodiscard]] DeadLetterStats stats() const;

  /// Any thread. What is kept beyond new limits stays; new letters are refused until there is room.
  void set_limits(const DeadLetterLimits& limits);

  [[nodiscard]] const std::string& directory() const { return directory_; }

 private:
  struct Entry {
    std::uint64_t file_bytes = 0;
    std::uint64_t exhausted_realtime_ns = 0;
    std::uint32_t sender_uid = 0;
    std::uint32_t kind_id = 0;
    DeathReason reason = DeathReason::kReserved;
    std::string queue;
    std::uint64_t link_id = 0;
    std::uint64_t sequence = 0;
  };
  using Index = std::map<LetterId, Entry>;
  struct Redriven {
    LetterId id{};
    Entry entry;
  };

  DeadLetters(std::string directory, UniqueFd directory_fd, const DeadLetterLimits& limits);
  Result<void> follow_directory();
  Result<void> scan();
  Result<std::vector<std::string>> file_names() const;
  Result<void> take_in(const std::string& name);
  [[nodiscard]] Error error_of(const Error& reason) const;
  void move_aside(const std::string& name);
  void note_damage(const LetterId& id, const Error& error);
  void purge_moved_aside();
  [[nodiscard]] Letter with_history(const Letter& letter) const;
  void add_redriven(const LetterId& successor, std::uint32_t uid, DeadLetterAmount& total,
                    DeadLetterAmount& own) const;
  [[nodiscard]] bool is_kept(const LetterId& id) const;
  [[nodiscard]] bool is_anothers(const Letter& letter) const;
  Result<void> check_room(const LetterId& id, std::uint32_t uid, std::uint64_t file_bytes) const;
  [[nodiscard]] static Entry entry_of(const Letter& letter, std::uint64_t file_bytes);
  void add_to_index(const LetterId& id, const Entry& entry);
  void drop_from_index(const LetterId& id);
  static bool matches(const LetterId& id, const Entry& entry, const DeadLetterFilter& filter);
  [[nodiscard]] std::vector<LetterId> matching(const DeadLetterFilter& filter,
                                               const std::optional<ListingPlace>& after = {}) const;

  const std::string directory_;
  UniqueFd directory_fd_;     // Also holds the lock that keeps a second daemon out.
  mutable std::mutex mutex_;  // Protects what follows; never held during disk work.
  DeadLetterLimits limits_;
  Index index_;
  std::map<LetterId, Redriven> redriven_;  // By the new id; as many as messages under way.
  DeadLetterStats stats_;
};

}  // namespace ackbus::daemon
