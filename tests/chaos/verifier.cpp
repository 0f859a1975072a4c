#include "tests/chaos/verifier.hpp"

#include <ackbus/consumer.hpp>
#include <algorithm>
#include <filesystem>

#include "tests/chaos/message.hpp"

namespace ackbus::chaos {
namespace {

using nlohmann::json;

constexpr std::size_t kLinesMax = 40;

std::uint8_t code_of(OutcomeCode code) { return static_cast<std::uint8_t>(code); }

// AckStatus and OutcomeCode number the three answers alike.
static_assert(static_cast<int>(AckStatus::kSuccess) == static_cast<int>(OutcomeCode::kSuccess));
static_assert(static_cast<int>(AckStatus::kFailed) == static_cast<int>(OutcomeCode::kFailed));

bool is_answer(std::uint8_t outcome) {
  return outcome >= code_of(OutcomeCode::kSuccess) && outcome <= code_of(OutcomeCode::kFailed);
}

bool is_success(std::uint8_t outcome) {
  return outcome == code_of(OutcomeCode::kSuccess) ||
         outcome == code_of(OutcomeCode::kPartialSuccess);
}

}  // namespace

void Verifier::fault(std::uint64_t& counter, const std::string& line) {
  counter += 1;
  if (findings_.lines.size() < kLinesMax) {
    findings_.lines.push_back(line);
  }
}

void Verifier::add_round(const Stage& stage, const json& letters) {
  lives_.clear();
  letters_.clear();
  begun_.clear();
  last_epoch_.clear();
  posts_gone_ = 0;
  consumer_kills_ = static_cast<std::uint64_t>(
      std::count_if(stage.events().begin(), stage.events().end(), [](const Event& event) {
        return event.what == Event::What::kKill &&
               (event.victim == Victim::kConsumer || event.victim == Victim::kStandby);
      }));
  std::vector<std::string> consumers;
  for (const auto& file : std::filesystem::directory_iterator(stage.folder() + "/journal")) {
    const std::string name = file.path().filename().string();
    name.starts_with("consumer") ? consumers.push_back(file.path().string())
                                 : read_producer(file.path().string());
  }
  for (const std::string& path : consumers) {
    read_consumer(path);
  }
  read_letters(letters);
  for (auto& [key, life] : lives_) {
    for (Message& message : life.messages) {
      judge(life, message);
    }
  }
  count_letters();
  if (posts_gone_ > consumer_kills_) {
    fault(findings_.lost, std::to_string(posts_gone_) + " untracked messages were never begun, " +
                              std::to_string(consumer_kills_) + " consumers were killed");
  }
  findings_.posts_gone += posts_gone_;
  measure_recoveries(stage);
}

// ---- reading ----

void Verifier::read_producer(const std::string& path) {
  Life life;
  life.name = std::filesystem::path(path).filename().string();
  LifeKey key{};
  for (const Record& record : read_journal(path)) {
    key = {record.producer, record.incarnation};
    if (record.number > life.messages.size()) {
      life.messages.resize(record.number);
    }
    Message* message = record.number == 0 ? nullptr : &life.messages[record.number - 1];
    switch (record.entry) {
      case Entry::kConnected:
        life.link = record.sequence;
        life.gpu = record.producer >= kGpuProducerFirst;
        break;
      case Entry::kFinished:
        life.finished = true;
        break;
      case Entry::kTrouble:
        fault(findings_.troubles, life.name + ": a call failed, see the log");
        break;
      case Entry::kCancelling:
        message->cancelled = true;
        break;
      case Entry::kOutcome:
        message->outcome = record.code;
        message->attempt = record.attempt;
        break;
      default:
        message->state = record.entry;
        message->kind = record.kind;
        message->sequence = record.sequence;
        message->key = record.key;
        break;
    }
  }
  if (key.first != 0) {
    lives_[key] = std::move(life);
  }
}

void Verifier::read_consumer(const std::string& path) {
  std::vector<std::uint64_t> epochs;
  for (const Record& record : read_journal(path)) {
    note_consumer(record, epochs);
  }
  last_epoch_[path] = epochs.empty() ? 0 : epochs.back();
}

void Verifier::note_consumer(const Record& record, std::vector<std::uint64_t>& epochs) {
  if (record.entry == Entry::kWrong) {
    fault(findings_.wrong_payloads, "link " + std::to_string(record.extra) + " sequence " +
                                        std::to_string(record.sequence) + ": wrong payload");
    return;
  }
  const auto life = lives_.find({record.producer, record.incarnation});
  if (life == lives_.end() || record.number == 0 || record.number > life->second.messages.size()) {
    fault(findings_.wrong_payloads, "begun: a message that nobody sent");
    return;
  }
  Message& message = life->second.messages[record.number - 1];
  if (record.entry == Entry::kBegun) {
    Begin begin{};
    begin.epoch = record.epoch;
    begin.attempt = record.attempt;
    begin.time_ns = record.time_ns;
    message.begins.push_back(begin);
    findings_.executions += 1;
    epochs.push_back(record.epoch);
    begun_.emplace_back(record.time_ns, record);
    return;
  }
  const auto begin = std::find_if(
      message.begins.rbegin(), message.begins.rend(),
      [&](const Begin& b) { return b.epoch == record.epoch && b.attempt == record.attempt; });
  if (begin == message.begins.rend()) {
    fault(findings_.forbidden_duplicates, "answered what was not begun");
    return;
  }
  switch (record.entry) {
    case Entry::kAcking:
      begin->acking = true;
      begin->status = record.code;
      break;
    case Entry::kAcked:
      begin->acked = true;
      begin->acked_ns = record.time_ns;
      break;
    case Entry::kNacking:
      begin->nacking = true;
      break;
    case Entry::kRefused:
      begin->refused = true;
      break;
    default:
      break;
  }
}

void Verifier::read_letters(const json& letters) {
  for (const json& entry : letters) {
    Letter& letter =
        letters_[{entry["link"].get<std::uint64_t>(), entry["sequence"].get<std::uint64_t>()}];
    letter.count += 1;
    letter.reason = entry["reason"].get<std::string>();
    letter.late = entry["late_success"].get<bool>();
    letter.attempts = entry["attempts"].get<std::uint32_t>();
  }
  std::size_t matched = 0;
  for (auto& [key, life] : lives_) {
    for (Message& message : life.messages) {
      const bool tracked = message.state == Entry::kSending || message.state == Entry::kSent;
      const auto found = letters_.find({life.link, message.sequence});
      if (tracked && found != letters_.end()) {
        message.letter = &found->second;
        matched += 1;
        expected_[message.kind].dead[found->second.reason] += 1;
        expected_[message.kind].late += found->second.late ? 1 : 0;
      }
    }
  }
  if (matched != letters_.size()) {
    fault(findings_.bad_letters, std::to_string(letters_.size()) + " dead letters, of which " +
                                     std::to_string(matched) + " are of messages that were sent");
  }
}

void Verifier::count_letters() {
  for (const auto& [place, letter] : letters_) {
    if (letter.count != 1) {
      fault(findings_.bad_letters, "link " + std::to_string(place.first) + " sequence " +
                                       std::to_string(place.second) + ": two dead letters");
    }
  }
}

// ---- judging ----

const Verifier::Begin* Verifier::final_answer(const Message& message) {
  for (auto begin = message.begins.rbegin(); begin != message.begins.rend(); ++begin) {
    if (begin->acking && !begin->refused) {
      return &*begin;
    }
  }
  return nullptr;
}

const Verifier::Begin* Verifier::newer_success(const Life& life, const Message& message) const {
  for (const Message& other : life.messages) {
    const Begin* answer = final_answer(other);
    if (other.kind == message.kind && other.key == message.key && message.key != 0 &&
        other.sequence > message.sequence && answer != nullptr && is_success(answer->status)) {
      return answer;
    }
  }
  return nullptr;
}

// How it ended: by its producer's word, else by what is left of it; 0 when nothing says so.
std::uint8_t Verifier::ending_of(const Life& life, const Message& message) const {
  if (message.outcome != 0) {
    return message.outcome;
  }
  if (message.letter != nullptr) {
    return code_of(message.letter->late ? OutcomeCode::kSuccess : OutcomeCode::kExhausted);
  }
  if (const Begin* answer = final_answer(message)) {
    return answer->status;
  }
  if (message.cancelled) {
    return code_of(OutcomeCode::kCancelled);
  }
  if (newer_success(life, message) != nullptr) {
    return code_of(OutcomeCode::kSuperseded);
  }
  return 0;
}

void Verifier::judge(const Life& life, Message& message) {
  std::sort(message.begins.begin(), message.begins.end(),
            [](const Begin& left, const Begin& right) { return left.time_ns < right.time_ns; });
  const std::string name = life.name + " sequence " + std::to_string(message.sequence) + " (link " +
                           std::to_string(life.link) + ", kind " + std::to_string(message.kind) +
                           ")";
  if (message.state == Entry::kPosting || message.state == Entry::kPosted) {
    judge_post(message, name);
    return;
  }
  const bool seen = !message.begins.empty() || message.letter != nullptr;
  if (message.state == Entry::kSending && life.gpu) {
    expected_[message.kind].unknown_sent += 1;  // The GPU process keeps no journal.
    return;
  }
  if (message.state == Entry::kSent || (message.state == Entry::kSending && seen)) {
    findings_.messages += 1;
    judge_tracked(life, message, name);
  } else if (seen) {
    fault(findings_.wrong_outcomes, name + ": run, though send() said that nothing was sent");
  }
}

void Verifier::judge_tracked(const Life& life, const Message& message, const std::string& name) {
  Expected& expected = expected_[message.kind];
  expected.sent += 1;
  if (message.outcome != 0) {
    judge_outcome(life, message, name);
  } else if (life.finished) {
    fault(findings_.lost, name + ": its producer has no outcome");
  }
  const std::uint8_t ending = ending_of(life, message);
  const Begin* answer = final_answer(message);
  if (ending != 0) {
    const bool may_have_run = ending == code_of(OutcomeCode::kCancelledMayHaveRun);
    expected.endings[may_have_run ? code_of(OutcomeCode::kCancelled) : ending] += 1;
  } else if (life.gpu) {
    expected.unknown += 1;
  } else {
    fault(findings_.lost,
          name + ": neither answered nor a dead letter, and its producer was killed");
  }
  if (static_cast<Kind>(message.kind) == kAgain) {
    const std::uint32_t attempts = message.letter != nullptr ? message.letter->attempts
                                   : answer != nullptr       ? answer->attempt - 1
                                                             : 0;
    expected.retries += attempts;
  }
  if (answer != nullptr) {
    expected.acked[answer->status] += 1;
  }
  judge_duplicates(message, name);
}

void Verifier::judge_outcome(const Life& life, const Message& message, const std::string& name) {
  const std::uint8_t outcome = message.outcome;
  const bool acked = std::any_of(message.begins.begin(), message.begins.end(), [&](const Begin& b) {
    return b.acking && !b.refused && b.status == outcome;
  });
  if (is_answer(outcome) && !acked && !life.gpu) {
    fault(findings_.wrong_outcomes, name + ": an answer that no consumer gave");
  }
  if (life.gpu && outcome == code_of(OutcomeCode::kFailed)) {
    fault(findings_.gpu_state_lost, name + ": the GPU process lost what it had acked");
  }
  const bool exhausted = outcome == code_of(OutcomeCode::kExhausted);
  if (exhausted != (message.letter != nullptr && !message.letter->late)) {
    fault(findings_.bad_letters,
          name +
              (exhausted ? ": Exhausted, and no dead letter" : ": a dead letter, unmarked, and ") +
              (exhausted ? "" : outcome_name(static_cast<OutcomeCode>(outcome))));
  }
  if (outcome == code_of(OutcomeCode::kCancelled) && !message.begins.empty()) {
    fault(findings_.cancelled_run, name + ": Cancelled, but it was run");
  }
  const bool cancelled = outcome == code_of(OutcomeCode::kCancelled) ||
                         outcome == code_of(OutcomeCode::kCancelledMayHaveRun);
  if ((cancelled && !message.cancelled) || outcome == code_of(OutcomeCode::kClosed)) {
    fault(findings_.wrong_outcomes, name + ": " + outcome_name(static_cast<OutcomeCode>(outcome)) +
                                        ", which nobody asked for");
  }
  if (outcome == code_of(OutcomeCode::kSuperseded)) {
    const Begin* newer = newer_success(life, message);
    const bool run_after = newer != nullptr && !message.begins.empty() && newer->acked_ns != 0 &&
                           message.begins.back().time_ns > newer->acked_ns;
    if (newer == nullptr || run_after) {
      fault(findings_.superseded_run,
            name + ": Superseded, but " + (newer == nullptr ? "by nothing" : "run afterwards"));
    }
  }
  const Begin* answer = final_answer(message);
  findings_.answered_late += answer != nullptr && message.attempt > answer->attempt ? 1 : 0;
}

void Verifier::judge_duplicates(const Message& message, const std::string& name) {
  for (std::size_t i = 1; i < message.begins.size(); ++i) {
    const Begin& before = message.begins[i - 1];
    const Begin& again = message.begins[i];
    const bool answered = before.acked && !before.refused;
    if (answered || again.epoch < before.epoch || again.attempt <= before.attempt) {
      fault(findings_.forbidden_duplicates,
            name + ": run again in life " + std::to_string(again.epoch) + " attempt " +
                std::to_string(again.attempt) + (answered ? ", though it was answered" : ""));
    } else if (before.nacking) {
      findings_.duplicates_given_back += 1;
    } else if (again.epoch == before.epoch) {
      fault(findings_.forbidden_duplicates,
            name + ": run twice in life " + std::to_string(again.epoch));
    } else if (before.acking && !before.refused) {
      findings_.duplicates_acking += 1;
    } else {
      findings_.duplicates_death += 1;
    }
  }
}

void Verifier::judge_post(const Message& message, const std::string& name) {
  Expected& expected = expected_[message.kind];
  if (message.begins.size() > 1) {
    fault(findings_.forbidden_duplicates, name + ": untracked, and run twice");
  }
  const bool known = message.state == Entry::kPosted || !message.begins.empty();
  expected.posted += known ? 1 : 0;
  expected.unknown_posted += known ? 0 : 1;
  posts_gone_ += message.state == Entry::kPosted && message.begins.empty() ? 1 : 0;
}

// ---- recovery ----

// From the death of an active consumer to the next delivery by its successor, and from the start of
// a daemon to the next delivery of a retry; only where nothing else was done to anybody meanwhile
// that delays just that.
void Verifier::measure_recoveries(const Stage& stage) {
  std::sort(begun_.begin(), begun_.end(),
            [](const auto& left, const auto& right) { return left.first < right.first; });
  const std::vector<Event>& events = stage.events();
  const auto disturbed = [&](const Event& event, std::uint64_t until_ns) {
    return std::any_of(events.begin(), events.end(), [&](const Event& other) {
      const bool matters = other.victim != Victim::kGpu && other.victim != Victim::kProducer &&
                           other.what != Event::What::kDaemonStart;
      return &other != &event && matters && other.time_ns > event.time_ns &&
             other.time_ns <= until_ns;
    });
  };
  for (const Event& event : events) {
    const bool consumer = event.what == Event::What::kKill && event.victim == Victim::kConsumer;
    const bool daemon = event.what == Event::What::kDaemonStart;
    const auto died = last_epoch_.find(event.journal);
    const std::uint64_t epoch = died == last_epoch_.end() ? 0 : died->second;
    if ((!consumer || epoch == 0) && !daemon) {
      continue;
    }
    const auto next = std::find_if(begun_.begin(), begun_.end(), [&](const auto& begun) {
      return begun.first > event.time_ns &&
             (consumer ? begun.second.epoch > epoch : begun.second.attempt > 1);
    });
    if (next == begun_.end() || disturbed(event, next->first)) {
      continue;
    }
    (consumer ? findings_.consumer_recoveries_ns : findings_.daemon_recoveries_ns)
        .push_back(next->first - event.time_ns);
  }
}

}  // namespace ackbus::chaos
