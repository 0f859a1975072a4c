#include "tests/sim/journal.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "tests/sim/heap.hpp"

namespace ackbus::sim {
namespace {

bool never_ran(const Outcome& outcome) {
  return outcome.code == OutcomeCode::kCancelled || outcome.reason == OutcomeReason::kUndelivered;
}

constexpr std::uint64_t kDelaySlackNs = 1'000'000;  // A turn of the daemon counts as one moment.

std::byte pattern(std::uint64_t number, std::size_t place) {
  return static_cast<std::byte>((number * 131 + place * 7) & 0xff);
}

}  // namespace

void fill_payload(std::uint64_t number, std::span<std::byte> payload) {
  std::memcpy(payload.data(), &number, sizeof(number));
  for (std::size_t i = sizeof(number); i < payload.size(); ++i) {
    payload[i] = pattern(number, i);
  }
}

void Journal::fail(const std::string& what, std::uint64_t number) {
  fail_(what + ": message " + std::to_string(number));
}

// ---- a producer ----

std::uint64_t Journal::sending(std::uint64_t producer, bool tracked, Kind kind,
                               const SendOptions& options, std::uint64_t after, std::size_t bytes) {
  const SimulatorScope simulator;
  Fate fate;
  fate.number = next_number_++;
  fate.producer = producer;
  fate.tracked = tracked;
  fate.kind = kind;
  fate.key = options.key;
  fate.after = after;
  fate.bytes = bytes;
  fates_.emplace(fate.number, fate);
  return fate.number;
}

void Journal::sent(std::uint64_t number, const Ticket& ticket, std::uint64_t link) {
  const SimulatorScope simulator;
  Fate& fate = fates_.at(number);
  fate.order = next_order_++;
  fate.ticket = ticket;
  fate.link = link;
  fate.store_lost = fate.store_lost || lost_links_.contains({fate.producer, link});
  note_("sent " + std::to_string(number) + " as " + std::to_string(link) + "/" +
        std::to_string(ticket.sequence) + " id " + ticket.id.to_string() +
        (fate.tracked ? "" : " untracked") +
        (fate.key != 0 ? " key " + std::to_string(fate.key) : "") +
        (fate.after != 0 ? " after " + std::to_string(fate.after) : ""));
}

void Journal::not_sent(std::uint64_t number) {
  Fate& fate = fates_.at(number);
  fate.refused = true;
  if (fate.runs > 0) {
    fail("ran although send() said that it was not sent", number);
  }
}

void Journal::outcome(std::uint64_t number, const Outcome& outcome) {
  const SimulatorScope simulator;
  Fate& fate = fates_.at(number);
  note_("outcome of " + std::to_string(number) + ": " + outcome_name(outcome.code) + " " +
        reason_name(outcome.reason));
  if (fate.outcome || !fate.tracked) {
    return fail("a second outcome, or one of an untracked message", number);
  }
  check_reason(fate, outcome);
  fate.store_lost = fate.store_lost || outcome.reason == OutcomeReason::kUnknown;
  fate.outcome = outcome;
  fate.outcome->notes = nullptr;  // They are the producer's memory.
  seen[outcome.code] += 1;
}

// An outcome says why; that has to be true.
void Journal::check_reason(const Fate& fate, const Outcome& outcome) {
  const std::uint64_t number = fate.number;
  if (outcome.is_success() && !fate.success_said) {
    fail("a success that no handler answered", number);
  }
  if (never_ran(outcome) && fate.runs > 0) {
    fail("it says that it never ran, but it did", number);
  }
  const bool cancelled =
      outcome.code == OutcomeCode::kCancelled || outcome.code == OutcomeCode::kCancelledMayHaveRun;
  if (cancelled && !fate.cancel_wished) {
    fail("cancelled, and nobody had asked for it", number);
  }
  if (outcome.code == OutcomeCode::kFailed && !fate.failed_said) {
    fail("a failure that no handler answered", number);
  }
  if (outcome.code == OutcomeCode::kSuperseded && !newer_said_success(fate)) {
    fail("superseded, and no newer one of its key had succeeded", number);
  }
  if (outcome.code == OutcomeCode::kClosed && !lost_store_) {
    fail("closed without a lost store", number);
  }
  // Whoever stands still behind its begun word may lose all its attempts before its handler runs.
  if (outcome.reason == OutcomeReason::kRetries && fate.runs == 0 && !consumer_died &&
      !clock_from_commit && !may_stand_still) {
    fail("it says that its attempts are used up, but it never ran", number);
  }
}

bool Journal::newer_said_success(const Fate& fate) const {
  return std::any_of(fates_.begin(), fates_.end(), [&](const auto& entry) {
    const Fate& other = entry.second;
    return fate.key != 0 && other.key == fate.key && other.kind == fate.kind &&
           other.producer == fate.producer && other.number > fate.number && other.success_said;
  });
}

void Journal::producer_ended(std::uint64_t producer) {
  for (auto& [number, fate] : fates_) {
    fate.producer_gone = fate.producer_gone || (fate.producer == producer && !fate.outcome);
  }
}

std::uint64_t Journal::newest_of(std::uint64_t producer) const {
  for (auto fate = fates_.rbegin(); fate != fates_.rend(); ++fate) {
    if (fate->second.producer == producer && fate->second.order != 0) {
      return fate->first;
    }
  }
  return 0;
}

// ---- a consumer ----

std::uint64_t Journal::begun(std::uint64_t life, const Delivery& delivery, std::uint64_t asked_ns) {
  const SimulatorScope simulator;
  std::uint64_t number = 0;
  if (delivery.payload.size() >= sizeof(number)) {
    std::memcpy(&number, delivery.payload.data(), sizeof(number));
  }
  const auto found = fates_.find(number);
  if (found == fates_.end() || found->second.bytes != delivery.payload.size()) {
    fail_("delivered what was never sent: sequence " + std::to_string(delivery.sequence) +
          " of link " + std::to_string(delivery.link));
    return 0;
  }
  Fate& fate = found->second;
  note_("begun " + std::to_string(number) + " attempt " + std::to_string(delivery.attempt) +
        " in life " + std::to_string(life) + (delivery.alone ? " alone" : ""));
  check_payload("the payload is not the one that was sent", number, delivery.payload);
  check_begin(fate, life, delivery);
  fate.runs += 1;
  fate.life = life;
  fate.running = true;
  fate.losses_before = losses_;
  fate.given_back = false;
  fate.died_with = false;
  fate.asked_ns = asked_ns;
  return number;
}

void Journal::check_begin(const Fate& fate, std::uint64_t life, const Delivery& delivery) {
  const std::uint64_t number = fate.number;
  if (fate.refused) {
    fail("ran although send() said that it was not sent", number);
  }
  if (fate.life == life && !fate.given_back) {
    fail("ran twice in one life", number);
  }
  if (fate.outcome && never_ran(*fate.outcome)) {
    fail("ran after an outcome that says it never did", number);
  }
  if (!fate.tracked && fate.runs > 0 && !fate.store_lost) {
    fail("an untracked message ran twice", number);
  }
  if (fate.runs > 0 && !delivery.may_have_run) {
    fail("ran again and was not told so", number);
  }
  if (fate.life == life && fate.given_back && !may_stand_still && clock_() < fate.not_before) {
    fail("given again before its delay was over", number);
  }
  // One that had timed out meanwhile waits for its retry, and counts as that.
  if (fate.tracked && fate.died_with && in_time(fate) && !delivery.alone && !fate.store_lost) {
    fail("a consumer died with it, and it is not to run alone", number);
  }
  check_order(fate, life, delivery);
}

// Whether its attempt cannot have timed out yet: what the daemon then decides is the answer to what
// its consumer does.
bool Journal::in_time(const Fate& fate) const {
  return !clock_from_commit && clock_() < fate.asked_ns + timeout_ns;
}

void Journal::check_order(const Fate& fate, std::uint64_t life, const Delivery& delivery) {
  const bool again = fate.runs > 0 || delivery.may_have_run;
  for (const auto& [number, other] : fates_) {
    if (other.producer != fate.producer || number == fate.number) {
      continue;
    }
    // Keys are a link's own; one that was lost may still have a handler at work.
    const bool same_key = fate.key != 0 && other.key == fate.key && other.kind == fate.kind &&
                          other.store_lost == fate.store_lost;
    // A new link may have the number of the lost one: only what began since is of a link that
    // lives.
    if (same_key && other.running && other.life == life && other.losses_before == losses_) {
      fail("two of one superseding key at once", fate.number);
    }
    if (same_key && again && number > fate.number && other.success_given && !fate.store_lost) {
      fail("ran after a newer one of its key had succeeded", fate.number);
    }
    if (fate.after == number && !again && other.tracked && !other.answered && !other.outcome &&
        !other.store_lost && other.running) {
      fail("ran while the one it was to follow still ran", fate.number);
    }
  }
}

void Journal::check_payload(const char* rule, std::uint64_t number,
                            std::span<const std::byte> payload) {
  for (std::size_t i = sizeof(number); i < payload.size(); ++i) {
    if (payload[i] != pattern(number, i)) {
      return fail(rule, number);
    }
  }
}

void Journal::still_runs(std::uint64_t number, std::span<const std::byte> payload) {
  check_payload("the payload changed under its handler", number, payload);
}

void Journal::answering(std::uint64_t number, AckStatus status) {
  Fate& fate = fates_.at(number);
  fate.success_said = fate.success_said || status != AckStatus::kFailed;
  fate.failed_said = fate.failed_said || status == AckStatus::kFailed;
}

void Journal::answered(std::uint64_t number, AckStatus status) {
  const SimulatorScope simulator;
  Fate& fate = fates_.at(number);
  fate.running = false;
  fate.answered = true;
  fate.success_given = fate.success_given || status != AckStatus::kFailed;
  note_("answered " + std::to_string(number) + " with " + std::to_string(static_cast<int>(status)));
}

void Journal::given_back(std::uint64_t number, std::uint64_t delay_ns) {
  const SimulatorScope simulator;
  Fate& fate = fates_.at(number);
  fate.running = false;
  fate.given_back = true;
  fate.not_before = clock_() + delay_ns - kDelaySlackNs;
  note_("given back " + std::to_string(number));
}

// Only a delay that the daemon read before the attempt had timed out is in force.
void Journal::gave_back(std::uint64_t number) {
  Fate& fate = fates_.at(number);
  fate.not_before = in_time(fate) ? fate.not_before : 0;
}

void Journal::life_ended(std::uint64_t life, bool killed) {
  for (auto& [number, fate] : fates_) {
    fate.died_with = fate.died_with || (killed && fate.running && fate.life == life);
    fate.running = fate.running && fate.life != life;
  }
}

void Journal::store_lost() {
  lost_store_ = true;
  losses_ += 1;
  lost_links_.insert(link_of_.begin(), link_of_.end());
  for (auto& [number, fate] : fates_) {
    // An undelivered message that its life skipped has its outcome before its letter is written.
    const bool owed_a_letter = fate.outcome && fate.outcome->code == OutcomeCode::kExhausted;
    fate.store_lost = fate.store_lost || !fate.outcome || owed_a_letter;
  }
}

void Journal::connected(std::uint64_t producer, std::uint64_t link) {
  const SimulatorScope simulator;
  const auto [entry, first] = link_of_.emplace(producer, link);
  if (entry->second == 0 && lost_links_.contains({producer, 0})) {
    lost_links_.insert({producer, link});  // It may have been granted before the loss.
  }
  entry->second = link;
}

// ---- at the end ----

void Journal::check_outcomes(const std::vector<Letter>& letters) {
  check_letters(letters);
  for (const auto& entry : fates_) {
    const Fate& fate = entry.second;
    const std::string id = fate.ticket.id.to_string();
    const auto found = std::find_if(letters.begin(), letters.end(), [&](const Letter& letter) {
      return fate.order != 0 && letter.id == id;
    });
    check_fate(fate, found != letters.end() ? &*found : nullptr);
  }
}

// One letter a message at most, and none of anything else.
void Journal::check_letters(const std::vector<Letter>& letters) {
  std::set<std::pair<std::uint64_t, std::uint64_t>> messages;
  for (const Letter& letter : letters) {
    // Without its books a bus counts its links anew.
    if (!messages.insert({letter.link, letter.sequence}).second && !lost_store_) {
      fail_("more than one dead letter: sequence " + std::to_string(letter.sequence) + " of link " +
            std::to_string(letter.link));
    }
    const bool known = std::any_of(fates_.begin(), fates_.end(), [&](const auto& entry) {
      // Its producer may have died before send() returned.
      const Fate& fate = entry.second;
      return (fate.order == 0 && !fate.refused) || fate.ticket.id.to_string() == letter.id;
    });
    if (!known) {
      fail_("a dead letter of what was never sent: " + letter.id);
    }
  }
}

void Journal::check_fate(const Fate& fate, const Letter* letter) {
  if (fate.order == 0) {
    return;  // Its producer died within send(), or it was refused: checked when it ran.
  }
  if (fate.tracked && !fate.outcome && !fate.producer_gone) {
    return fail("no outcome", fate.number);
  }
  const bool has_letter = letter != nullptr;
  const bool marked = has_letter && letter->late_success;
  if (fate.producer_gone || !fate.tracked) {
    const bool newer = newer_said_success(fate);
    const bool gone = !fate.tracked && consumer_died;  // Begun, and nobody retries it.
    if (fate.runs == 0 && !has_letter && !fate.cancel_wished && !newer && !gone &&
        !fate.store_lost) {
      fail("its producer is gone and it was never delivered", fate.number);
    }
    return;
  }
  const Outcome& outcome = *fate.outcome;
  if (outcome.code == OutcomeCode::kExhausted && (!has_letter || marked) && !fate.store_lost) {
    fail(marked ? "Exhausted, and its dead letter says late success"
                : "Exhausted without a dead letter",
         fate.number);
  }
  if (outcome.is_success() && has_letter && !marked && !fate.store_lost) {
    fail("a success with a dead letter that does not say so", fate.number);
  }
  if (outcome.code != OutcomeCode::kExhausted && !outcome.is_success() && has_letter &&
      !fate.store_lost) {
    fail("a dead letter of what ended by its answer", fate.number);
  }
}

// Messages whose producer died before it took the outcome, or within send(), may count either way.
void Journal::check_totals(const Totals& daemon) {
  Totals known;
  std::uint64_t unknown = 0;
  for (const auto& [number, fate] : fates_) {
    const bool committed = fate.order != 0;
    known.posted += committed && !fate.tracked ? 1 : 0;
    known.sent += committed && fate.tracked ? 1 : 0;
    unknown +=
        (!committed && !fate.refused) || (committed && fate.tracked && !fate.outcome) ? 1 : 0;
    if (!fate.outcome) {
      continue;
    }
    const OutcomeCode code = fate.outcome->code;
    known.success += code == OutcomeCode::kSuccess ? 1 : 0;
    known.partial += code == OutcomeCode::kPartialSuccess ? 1 : 0;
    known.failed += code == OutcomeCode::kFailed ? 1 : 0;
    known.exhausted += code == OutcomeCode::kExhausted ? 1 : 0;
    known.superseded += code == OutcomeCode::kSuperseded ? 1 : 0;
    known.cancelled +=
        code == OutcomeCode::kCancelled || code == OutcomeCode::kCancelledMayHaveRun ? 1 : 0;
    known.closed += code == OutcomeCode::kClosed ? 1 : 0;
  }
  const std::uint64_t ended = daemon.success + daemon.partial + daemon.failed + daemon.exhausted +
                              daemon.superseded + daemon.cancelled + daemon.closed;
  if (daemon.sent != ended) {
    fail_("sent " + std::to_string(daemon.sent) + " is not the sum of the endings, " +
          std::to_string(ended));
  }
  const auto compare = [&](const char* name, std::uint64_t told, std::uint64_t counted) {
    if (told < counted || told > counted + unknown) {
      fail_(std::string("the daemon counts ") + std::to_string(told) + " " + name +
            ", the journal " + std::to_string(counted) + " and at most " + std::to_string(unknown) +
            " more");
    }
  };
  compare("sent", daemon.sent, known.sent);
  compare("success", daemon.success, known.success);
  compare("partial success", daemon.partial, known.partial);
  compare("failed", daemon.failed, known.failed);
  compare("exhausted", daemon.exhausted, known.exhausted);
  compare("superseded", daemon.superseded, known.superseded);
  compare("cancelled", daemon.cancelled, known.cancelled);
  compare("closed", daemon.closed, known.closed);
  compare("posted", daemon.posted, known.posted);
}

}  // namespace ackbus::sim
