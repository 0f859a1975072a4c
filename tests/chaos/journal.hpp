// What producers and consumers write down for the verifier, outside of the bus: an append-only file
// a process, one fixed record at a time.
//
// A record before a call is an intent, the one after it a fact: a process that is killed in between
// leaves a known uncertainty. Each record is one write() to a file opened with O_APPEND, so it is
// there as a whole or not at all, whatever happens to its writer. Threads: one writer a file.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace ackbus::chaos {

enum class Entry : std::uint8_t {
  kReserved = 0,
  // producers
  kConnected,   // sequence: the link's number
  kSending,     // intent: a tracked message; sequence: the one that it must get
  kSent,        // fact; sequence, extra: the ticket's slot
  kNotSent,     // fact: send() gave an error, nothing was sent
  kPosting,     // intent: an untracked message
  kPosted,      // fact
  kCancelling,  // intent: cancel() of number
  kOutcome,     // fact: code, reason (in extra), attempt
  kFinished,    // fact: nothing pending, the link is closed
  kTrouble,     // a call failed as it must not: extra is the ErrorCode
  // consumers
  kBegun,     // fact: take() gave it; epoch, attempt, sequence, link (in extra)
  kWrong,     // the payload is not what was sent
  kAcking,    // intent: code
  kAcked,     // fact
  kNacking,   // intent
  kNacked,    // fact
  kRefused,   // fact: ack() or nack() said that it does not run here any more
  kProgress,  // fact
};

struct Record {
  Entry entry = Entry::kReserved;
  std::uint8_t code = 0;
  std::uint16_t kind = 0;
  std::uint32_t producer = 0;
  std::uint32_t incarnation = 0;
  std::uint32_t attempt = 0;
  std::uint64_t number = 0;  // counts a producer incarnation's messages: 1, 2, 3 ...
  std::uint64_t sequence = 0;
  std::uint64_t epoch = 0;  // of the consumer's life
  std::uint64_t extra = 0;
  std::uint64_t key = 0;
  std::uint64_t time_ns = 0;  // CLOCK_MONOTONIC
};
static_assert(sizeof(Record) == 64 && std::has_unique_object_representations_v<Record>);

class Journal {
 public:
  // Ends the process with a message when the file cannot be made: without it nothing is proven.
  explicit Journal(const std::string& path);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  void write(Record record) const;

 private:
  int fd_;
};

// Everything that the file holds; a last record that is not whole cannot be, and fails the run.
[[nodiscard]] std::vector<Record> read_journal(const std::string& path);
[[nodiscard]] std::uint64_t clock_ns();

}  // namespace ackbus::chaos
