// Judges a round of a chaos run from outside: from what producers and consumers wrote down, from
// the dead letters on disk, and from nothing else of the bus.
//
// Data flow: after a round, when everybody has left, add_round() reads all journals, follows each
// message from its send to its end, and counts what the guarantees do not allow as faults, with a
// line for each. What must be in the daemon's figures is summed over all rounds. Threads: one.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/chaos/journal.hpp"
#include "tests/chaos/stage.hpp"

namespace ackbus::chaos {

// Outcome codes index the endings (ackbus/outcome.hpp).
inline constexpr std::size_t kEndings = 9;

// What the daemon must have counted for one kind.
struct Expected {
  std::uint64_t sent = 0;
  std::uint64_t posted = 0;
  std::array<std::uint64_t, kEndings> endings{};
  std::uint64_t retries = 0;       // exact for kAgain only
  std::uint64_t unknown = 0;       // messages whose end no journal can know
  std::uint64_t unknown_sent = 0;  // intents of killed producers that nobody can resolve
  std::uint64_t unknown_posted = 0;
  std::map<std::string, std::uint64_t> dead;  // letters by reason
  std::uint64_t late = 0;                     // of these, marked late success
  std::array<std::uint64_t, 4> acked{};       // answers to tracked messages by AckStatus
};

struct Findings {
  std::uint64_t messages = 0;
  std::uint64_t executions = 0;
  std::uint64_t lost = 0;
  std::uint64_t wrong_payloads = 0;
  std::uint64_t wrong_outcomes = 0;  // an outcome that no journal bears out
  std::uint64_t cancelled_run = 0;
  std::uint64_t superseded_run = 0;
  std::uint64_t bad_letters = 0;  // twice, of nobody, missing, or unmarked for a success
  std::uint64_t forbidden_duplicates = 0;
  std::uint64_t gpu_state_lost = 0;
  std::uint64_t troubles = 0;           // calls that failed as they must not
  std::uint64_t duplicates_death = 0;   // its consumer died with it begun
  std::uint64_t duplicates_acking = 0;  // its consumer died while it acked
  std::uint64_t duplicates_given_back = 0;
  std::uint64_t answered_late = 0;  // raised to a later attempt while it ran, run once
  std::uint64_t posts_gone = 0;     // untracked, begun by a life that was killed
  std::vector<std::uint64_t> consumer_recoveries_ns;
  std::vector<std::uint64_t> daemon_recoveries_ns;
  std::vector<std::string> lines;  // what is wrong, in words; the first ones
};

class Verifier {
 public:
  // `letters`: the daemon's list of all dead letters of the round.
  void add_round(const Stage& stage, const nlohmann::json& letters);

  [[nodiscard]] const Findings& findings() const { return findings_; }
  [[nodiscard]] const std::map<std::uint16_t, Expected>& expected() const { return expected_; }

 private:
  struct Begin {
    std::uint64_t epoch;
    std::uint32_t attempt;
    std::uint64_t time_ns;
    bool acking = false;  // the intent
    bool acked = false;   // the fact
    bool refused = false;
    bool nacking = false;
    std::uint8_t status = 0;
    std::uint64_t acked_ns = 0;
  };
  struct Letter {
    std::string reason;
    bool late = false;
    std::uint32_t attempts = 0;
    std::uint64_t count = 0;
  };
  struct Message {
    Entry state = Entry::kReserved;  // kSending, kSent, kNotSent, kPosting, kPosted
    std::uint16_t kind = 0;
    std::uint64_t sequence = 0;
    std::uint64_t key = 0;
    bool cancelled = false;
    std::uint8_t outcome = 0;
    std::uint32_t attempt = 0;
    std::vector<Begin> begins;
    const Letter* letter = nullptr;
  };
  struct Life {
    std::string name;
    std::uint64_t link = 0;
    bool finished = false;
    bool gpu = false;
    std::vector<Message> messages;  // by number - 1
  };
  using LifeKey = std::pair<std::uint32_t, std::uint32_t>;

  void fault(std::uint64_t& counter, const std::string& line);
  void read_producer(const std::string& path);
  void read_consumer(const std::string& path);
  void note_consumer(const Record& record, std::vector<std::uint64_t>& epochs);
  void read_letters(const nlohmann::json& letters);
  void judge(const Life& life, Message& message);
  void judge_tracked(const Life& life, const Message& message, const std::string& name);
  void judge_outcome(const Life& life, const Message& message, const std::string& name);
  void judge_duplicates(const Message& message, const std::string& name);
  void judge_post(const Message& message, const std::string& name);
  [[nodiscard]] std::uint8_t ending_of(const Life& life, const Message& message) const;
  [[nodiscard]] static const Begin* final_answer(const Message& message);
  [[nodiscard]] const Begin* newer_success(const Life& life, const Message& message) const;
  void count_letters();
  void measure_recoveries(const Stage& stage);

  Findings findings_;
  std::map<std::uint16_t, Expected> expected_;
  // of the round
  std::map<LifeKey, Life> lives_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Letter> letters_;  // by link and sequence
  std::vector<std::pair<std::uint64_t, Record>> begun_;                // by time
  std::map<std::string, std::uint64_t> last_epoch_;                    // of a consumer's journal
  std::uint64_t consumer_kills_ = 0;
  std::uint64_t posts_gone_ = 0;
};

}  // namespace ackbus::chaos
